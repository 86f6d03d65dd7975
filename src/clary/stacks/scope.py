"""What a stack's least policies are about: its places, roles and keys, as the ARNs of its partition and account."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

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
    that runs in this process, ValidationError ``settings.invalid``.
    """
    from clary.sagemaker.permissions import Scope
    from clary.sagemaker.settings import resolve
    from clary.sagemaker.statements import literal

    if stack.type == LOCAL or stack.execution_role is None:
        raise UsageError(
            "iam.local_stack",
            f"The stack {stack.name!r} runs on this machine: nobody needs rights in AWS for it.",
            next_step="Name a sagemaker stack with --stack; `clary stack list` shows them.",
            field="stack",
        )
    settings = resolve([("the stack", stack.settings)], whole=False).settings
    role = settings.execution_role or stack.execution_role
    partition, account = role.split(":")[1], role.split(":")[4]
    home = (partition, stack.region or "", account)
    bucket, _, prefix = stack.artifact_store.removeprefix("s3://").partition("/")
    registry = _repository(stack.container_registry, partition)
    secrets = {**DEFAULT_SECRETS, **stack.secrets}
    return Scope(
        partition=partition,
        region=stack.region or "",
        account=account,
        bucket=bucket,
        prefix=literal(prefix.strip("/")),
        execution_role=role,
        scheduler_role=stack.scheduler_role,
        registry=registry,
        images=tuple(sorted({found for found in (registry, _repository(stack.image, partition)) if found})),
        inputs=_places(channel.uri for channel in settings.input_data.values()),
        folders=_places((settings.checkpoint_s3_uri, settings.output_data)),
        secrets=secrets["flavor"] if secrets["flavor"] in _SECRETS_IN_AWS else None,
        secrets_prefix=literal(str(secrets["prefix"])),
        secrets_keys=_keys((secrets.get("kms_key"),), home),
        volume_keys=_keys((settings.volume_kms_key,), home),
        data_keys=_keys((settings.output_kms_key,), home),
        subnets=settings.subnets,
        security_groups=settings.security_group_ids,
        registry_lambda=settings.registry_credentials_lambda,
        training_plan=settings.training_plan,
        remote_debug=settings.enable_remote_debug,
    )


def _places(uris: Iterable[str | None]) -> tuple[str, ...]:
    """Return S3 addresses as ``bucket/prefix``, without a slash at the end."""
    from clary.sagemaker.statements import literal

    return tuple(sorted({literal(uri.removeprefix("s3://").rstrip("/")) for uri in uris if uri}))


def _repository(reference: str | None, partition: str) -> str | None:
    """Return the ARN of an image's or registry's repository; every repository's where it names none.

    None for what is not in ECR: that needs no rights in AWS.
    """
    found = _ECR.fullmatch(reference or "")
    if found is None:
        return None
    repository = (found["repository"] or "").rstrip("/") or "*"
    return f"arn:{partition}:ecr:{found['region']}:{found['account']}:repository/{repository}"


def _keys(given: Iterable[str | None], home: tuple[str, str, str]) -> tuple[str, ...]:
    """Return KMS keys as ARNs, or as aliases of the account, from ids, aliases and the ARNs of either."""
    partition, region, account = home
    found = []
    for key in given:
        if key and "alias/" in key:
            found.append("alias/" + key.partition("alias/")[2])
        elif key:
            found.append(key if key.startswith("arn:") else f"arn:{partition}:kms:{region}:{account}:key/{key}")
    return tuple(found)
