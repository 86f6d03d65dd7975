"""What a stack's least policies are about: its places, roles and keys, as the ARNs of its partition and account."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from clary.errors import UsageError
from clary.stacks.model import LOCAL

if TYPE_CHECKING:
    from clary.sagemaker.permissions import Scope
    from clary.stacks.model import Stack

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[^/]+(?:/(?P<repository>[^:@]*))?.*"
)
_SECRETS_IN_AWS = ("aws", "ssm")
DEFAULT_SECRETS = {"flavor": "aws", "prefix": "clary/"}
"""What a stack means that says nothing of its secrets."""


def scope_of(stack: Stack) -> Scope:
    """Return what the policies of a stack are about; nothing is looked up or called.

    The partition and the account are those of the execution role. Raises UsageError ``iam.local_stack`` for a stack
    that runs in this process.
    """
    from clary.sagemaker.permissions import Scope
    from clary.sagemaker.statements import literal

    if stack.type == LOCAL or stack.execution_role is None:
        raise UsageError(
            "iam.local_stack",
            f"The stack {stack.name!r} runs on this machine: nobody needs rights in AWS for it.",
            next_step="Name a sagemaker stack with --stack; `clary stack list` shows them.",
            field="stack",
        )
    partition, _, _, account = stack.execution_role.split(":")[1:5]
    region = stack.region or ""
    home = (partition, region, account)
    bucket, _, prefix = stack.artifact_store.removeprefix("s3://").partition("/")
    registry = _repository(stack.container_registry, partition)
    images = {found for found in (registry, _repository(stack.image, partition)) if found}
    secrets = {**DEFAULT_SECRETS, **stack.secrets}
    settings = stack.settings
    return Scope(
        partition=partition,
        region=region,
        account=account,
        bucket=bucket,
        prefix=literal(prefix.strip("/")),
        execution_role=stack.execution_role,
        scheduler_role=stack.scheduler_role,
        registry=registry,
        images=tuple(sorted(images)),
        folders=tuple(literal(uri.removeprefix("s3://")) for uri in _texts(settings.get("checkpoint_s3_uri"))),
        secrets=secrets["flavor"] if secrets["flavor"] in _SECRETS_IN_AWS else None,
        secrets_prefix=literal(str(secrets["prefix"])),
        secrets_keys=_keys(secrets.get("kms_key"), home),
        volume_keys=_keys(settings.get("volume_kms_key"), home),
        data_keys=_keys(settings.get("output_kms_key"), home),
        subnets=tuple(_texts(settings.get("subnets"))),
        security_groups=tuple(_texts(settings.get("security_group_ids"))),
    )


def _repository(reference: str | None, partition: str) -> str | None:
    """Return the ARN of an image's or registry's repository; every repository's where it names none.

    None for what is not in ECR: that needs no rights in AWS.
    """
    found = _ECR.fullmatch(reference or "")
    if found is None:
        return None
    repository = (found["repository"] or "").rstrip("/") or "*"
    return f"arn:{partition}:ecr:{found['region']}:{found['account']}:repository/{repository}"


def _keys(given: Any, scope: tuple[str, str, str]) -> tuple[str, ...]:
    """Return KMS keys as ARNs, or as aliases of the account, from ids, aliases and the ARNs of either."""
    partition, region, account = scope
    found = []
    for key in _texts(given):
        if "alias/" in key:
            found.append("alias/" + key.partition("alias/")[2])
        else:
            found.append(key if key.startswith("arn:") else f"arn:{partition}:kms:{region}:{account}:key/{key}")
    return tuple(found)


def _texts(value: Any) -> list[str]:
    """Return a setting's value or values; a stack's settings are checked when jobs are planned, not here."""
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
