"""What the service looks up before it accepts a job: the role and its trust, the buckets, the input objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from clary.sandbox.model import JobKind
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clary.sandbox.operations.context import Caller, Platform

_PRINCIPAL = "sagemaker.amazonaws.com"
_S3_URI = re.compile(r"(?:s3|https)://([^/]+)/?(.*)", re.DOTALL)


def check_role(arn: str, caller: Caller, job: str) -> None:
    """Refuse a role that does not exist, or that does not trust SageMaker to assume it for that job (an ARN)."""
    from clary.sandbox.iam.trust import trusts

    role = find_role(arn, caller)
    if role is None or not trusts(role.assume_role_policy_document, _PRINCIPAL, arn, source_arn=job):
        # The wording is the service's, e.g. in awslabs/predictive-maintenance-using-machine-learning#3.
        raise ApiError(
            "ValidationException",
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal"
            f" '{_PRINCIPAL}' to assume the role.",
        )


def find_role(arn: str, caller: Caller) -> Any | None:
    """Return moto's role with that ARN, or None."""
    from moto.iam.models import iam_backends

    roles = iam_backends[caller.account][caller.partition].roles
    return next((role for role in list(roles.values()) if role.arn == arn), None)


def check_storage(kind: JobKind, request: Mapping[str, Any], platform: Platform, caller: Caller) -> None:
    """Refuse a job whose output bucket does not exist, or one of whose inputs names no object."""
    for uri in _outputs(kind, request):
        bucket = _split(uri)[0]
        if platform.gateway.objects.bucket(bucket) is None:
            raise ApiError(
                "ValidationException",
                f'The S3 bucket "{bucket}" of the output location "{uri}" does not exist in the selected region'
                f" ({caller.region}), or the role may not access it. Error message from S3: The specified bucket does"
                " not exist",
            )
    for uri in _inputs(kind, request):
        _check_input(uri, request["RoleArn"], platform, caller)


def _check_input(uri: str, role: str, platform: Platform, caller: Caller) -> None:
    bucket, prefix = _split(uri)
    holder = platform.gateway.objects.bucket(bucket)
    if holder is not None and any(key.startswith(prefix) for key in list(holder.keys)):
        return
    # The wording is the service's, e.g. in aws/amazon-sagemaker-examples#2489.
    raise ApiError(
        "ValidationException",
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists in'
        f" the selected region ({caller.region}), that objects exist under that S3 prefix, and that the role"
        f' "{role}" has "s3:ListBucket" permissions on bucket "{bucket}".',
    )


def _split(uri: str) -> tuple[str, str]:
    match = _S3_URI.fullmatch(uri)
    return (match[1], match[2]) if match else ("", "")


def _outputs(kind: JobKind, request: Mapping[str, Any]) -> Iterable[str]:
    if kind is JobKind.TRAINING:
        yield request["OutputDataConfig"]["S3OutputPath"]
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        if "S3Output" in output and output["S3Output"].get("S3Uri"):
            yield output["S3Output"]["S3Uri"]


def _inputs(kind: JobKind, request: Mapping[str, Any]) -> Iterable[str]:
    if kind is JobKind.TRAINING:
        sources = [channel["DataSource"].get("S3DataSource") for channel in request.get("InputDataConfig", [])]
    else:
        sources = [source.get("S3Input") for source in request.get("ProcessingInputs", [])]
    for source in sources:
        if source and source.get("S3Uri", "").startswith(("s3://", "https://")):
            yield source["S3Uri"]
