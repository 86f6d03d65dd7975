"""Amazon SageMaker as the place where flows run: how it is reached, and the defaults of its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.stacks.flavors import Flavor, Option, Problem, flag, mapping
from clary.stacks.forms import credentials_problem, endpoint_problem, region_problem, role_problem
from clary.stacks.model import SAGEMAKER

_PLACE = (
    "region",
    "execution_role",
    "image",
    "scheduler_role",
    "endpoint_url",
    "endpoint_urls",
    "use_fips_endpoint",
    "credentials",
    "assume_role",
    "external_id",
    "synchronous",
)
"""Options that are fields of the stack; every other one is a setting of its jobs."""


def _endpoints(value: Any) -> str | None:
    if problem := mapping(value):
        return problem
    return next((problem for url in value.values() if (problem := endpoint_problem(url))), None)


def _known() -> tuple[str, ...]:
    from clary.sagemaker import aliases

    return aliases.spellings()


def _settings(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the job settings under their own names; only errors count: a warning is for whoever submits."""
    from clary.sagemaker import aliases, settings
    from clary.sagemaker.findings import errors_of

    found = [Problem(one.path, one.message, one.next_step) for one in errors_of(settings.validate(given, at=""))]
    named = aliases.canonical(given, "")[0]
    types = named.get("instance_type")
    if isinstance(types, tuple) and len(types) == 1:
        named["instance_type"] = types[0]  # as people write it
    return named, found


def _problems(options: Mapping[str, Any]) -> list[Problem]:
    found = []
    if "aws_profile" in options and "credentials" in options:
        found.append(Problem("aws_profile", "is given beside credentials", "Give one of the two."))
    if "external_id" in options and "assume_role" not in options:
        found.append(Problem("external_id", "is of use only with assume_role", "Name the role, or leave it out."))
    return found


def _provide(options: Mapping[str, Any]) -> dict[str, Any]:
    provided: dict[str, Any] = {name: options[name] for name in _PLACE if name in options}
    if "aws_profile" in options:
        provided["credentials"] = f"aws-profile:{options['aws_profile']}"
    jobs = {name: value for name, value in options.items() if name not in (*_PLACE, "aws_profile")}
    return {"type": SAGEMAKER, **provided, **({"settings": jobs} if jobs else {})}


_KEYS = "Give credentials=aws-profile:NAME, or keep the keys in a secret and give credentials=aws-secret:NAME."

ORCHESTRATOR = Flavor(
    "orchestrator",
    SAGEMAKER,
    "Runs flows as SageMaker training jobs.",
    (
        Option("region", "The AWS region.", region_problem, required=True, metavar="REGION"),
        Option(
            "execution_role",
            "ARN of the role that jobs run under.",
            role_problem,
            required=True,
            aliases=("processor_role",),
            metavar="ARN",
        ),
        Option("image", "The image of flows that name none.", metavar="IMAGE"),
        Option("scheduler_role", "ARN of the role that wakes suspended runs.", role_problem, metavar="ARN"),
        Option("endpoint_url", "An endpoint in place of AWS's public ones.", endpoint_problem, metavar="URL"),
        Option("endpoint_urls", "Endpoints of single services: {s3: URL}.", _endpoints, metavar="MAPPING"),
        Option("use_fips_endpoint", "Use FIPS endpoints.", flag, metavar="BOOL"),
        Option("credentials", "Where the credentials come from.", credentials_problem, metavar="SOURCE"),
        Option("aws_profile", "The same as credentials=aws-profile:NAME.", metavar="NAME"),
        Option(
            "assume_role",
            "ARN of a role that the credentials assume.",
            role_problem,
            aliases=("aws_auth_role_arn",),
            metavar="ARN",
        ),
        Option("external_id", "What the trust policy of assume_role asks for.", metavar="ID"),
        Option("synchronous", "Whether `clary run` follows a run to its end.", flag, metavar="BOOL"),
    ),
    _provide,
    _problems,
    known=_known,
    rest=_settings,
    refused={"aws_access_key_id": _KEYS, "aws_secret_access_key": _KEYS},
)
