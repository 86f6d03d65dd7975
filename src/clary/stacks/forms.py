"""What the values of a stack may look like. Pure; nothing here touches the store or the network.

Sources: the S3 naming rules for general purpose buckets, the ``RoleArn`` pattern of CreateTrainingJob, the ECR URI and
repository name patterns of the ECR API.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

NAME_RULE = "Use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or a digit."
REGISTRY_FORM = "ACCOUNT.dkr.ecr.REGION.amazonaws.com[/REPOSITORY] or the repository's ARN"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_BUCKET = re.compile(r"(?!xn--|sthree-)(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}")
_REPOSITORY = r"[a-z0-9]+([._/-]+[a-z0-9]+)*"
_REGISTRY = re.compile(
    r"(?P<host>(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)(\.[a-z0-9-]+){2,})"
    rf"(/(?P<repository>{_REPOSITORY}))?/?"
)
_REGISTRY_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):ecr:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    rf":repository/(?P<repository>{_REPOSITORY})"
)
_ENDPOINT = re.compile(r"https?://[^/\s?#@]+(/[^\s?#]*)?")
_DNS_SUFFIXES = {
    "aws": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-us-gov": "amazonaws.com",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}
"""Of the partitions. Source: botocore's partitions.json; held against it by a test."""


@dataclass(frozen=True)
class Registry:
    """A container registry, taken apart."""

    host: str
    account: str
    region: str
    repository: str | None


def is_name(value: str) -> bool:
    """Tell whether a text can name a stack or a component: 1 to 63 characters, see ``NAME_RULE``."""
    return _NAME.fullmatch(value) is not None


def parse_registry(value: str) -> Registry | None:
    """Take a registry apart that is written as host, host with repository, or the ARN of a repository; None if none."""
    if found := _REGISTRY.fullmatch(value):
        return Registry(found["host"], found["account"], found["region"], found["repository"])
    if found := _REGISTRY_ARN.fullmatch(value):
        suffix = _DNS_SUFFIXES.get(found["partition"])
        host = f"{found['account']}.dkr.ecr.{found['region']}.{suffix}"
        return Registry(host, found["account"], found["region"], found["repository"]) if suffix else None
    return None


def repository_problem(value: str) -> str | None:
    """Say why a text cannot name a repository, or return None."""
    fine = re.fullmatch(_REPOSITORY, value) and 2 <= len(value) <= 256
    return None if fine else "expected a repository's name: 2 to 256 of a-z, 0-9 and . _ - /"


def store_problem(value: Any) -> str | None:
    """Say why a value is no ``s3://bucket/prefix``, or return None."""
    if not isinstance(value, str) or not value.startswith("s3://"):
        return "a sagemaker stack keeps its runs in S3: expected s3://BUCKET/PREFIX"
    bucket = bucket_of(value)
    return None if _BUCKET.fullmatch(bucket) else f"{bucket!r} is not a bucket name (3 to 63 of a-z, 0-9, '.', '-')"


def bucket_of(artifact_store: str) -> str:
    """Return the bucket of an ``s3://bucket/prefix`` location."""
    return artifact_store.removeprefix("s3://").split("/", 1)[0]


def role_problem(value: Any) -> str | None:
    """Say why a value is no role's ARN, or return None."""
    return _matches(_ROLE, value, "arn:aws:iam::ACCOUNT:role/NAME (the role's ARN, not its name)")


def region_problem(value: Any) -> str | None:
    """Say why a value is no region, or return None. What AWS may have tomorrow is accepted."""
    return _matches(_REGION, value, "a region such as eu-central-1")


def endpoint_problem(value: Any) -> str | None:
    """Say why a value is no endpoint, or return None."""
    return _matches(_ENDPOINT, value, "http://HOST:PORT or https://HOST")


def credentials_problem(value: Any) -> str | None:
    """Say why a value is no source of credentials, or return None. A secret in it is not repeated."""
    from clary.errors import ClaryError
    from clary.sagemaker import credentials

    if not isinstance(value, str):
        return "expected a source of credentials, such as aws-profile:NAME"
    try:
        credentials.parse(value)
    except ClaryError as error:
        return f"{error.summary} {error.next_step}"
    return None


def _matches(form: re.Pattern[str], value: Any, expected: str) -> str | None:
    return None if isinstance(value, str) and form.fullmatch(value) else f"expected {expected}"
