"""Whether the places that a stack names exist: its bucket and its roles.

``clary.doctor`` asks by these functions, and through it ``clary stack create`` and the first submit. Each has three
outcomes: what was seen, ``Unseen`` with the reason where it could not be looked at, or an error that says what is
wrong. What the caller may not look at is no refusal: the rights to submit jobs need not include these reads.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError, NotFoundError
from clary.stacks.forms import bucket_of

if TYPE_CHECKING:
    from clary.sagemaker.session import Aws
    from clary.stacks.model import Stack

SAGEMAKER_SERVICE = "sagemaker.amazonaws.com"
"""The service principal that assumes the execution role."""
_ASSUME = "sts:assumerole"
_FORBIDDEN = frozenset({"403", "AccessDenied", "AccessDeniedException", "Forbidden", "UnauthorizedOperation"})
_MISSING = frozenset({"404", "NoSuchBucket", "NoSuchEntity", "NotFound"})


@dataclass(frozen=True)
class Unseen:
    """What could not be looked at."""

    reason: str
    """One sentence for people."""
    permission: str | None = None
    """The IAM action that is missing, if that is why."""


def look_at_bucket(aws: Aws, stack: Stack) -> str | Unseen:
    """Return the region of the artifact store's bucket; an empty text where the store does not tell.

    Raises NotFoundError ``stack.bucket_not_found``, and ConfigError ``stack.bucket_region`` for a bucket of another
    region than the stack. Source: HeadBucket answers 404 for no bucket and 403 without s3:ListBucket, without a body.
    """
    bucket = bucket_of(stack.artifact_store)
    answer, refusal = _ask(aws, "s3:HeadBucket", bucket, lambda s3: s3.head_bucket(Bucket=bucket))
    if refusal in _MISSING:
        raise NotFoundError(
            "stack.bucket_not_found",
            f"There is no bucket {bucket!r}.",
            next_step=f"Make it with `aws s3 mb s3://{bucket} --region {stack.region}`, or correct --artifact-store.",
            field="artifact_store",
        )
    if refusal is not None:
        reason = f"The bucket {bucket!r} could not be looked at (s3:ListBucket is missing); it is taken as it is."
        return Unseen(reason, "s3:ListBucket")
    region = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if region and stack.region and region != stack.region:
        raise ConfigError(
            "stack.bucket_region",
            f"The bucket {bucket!r} is in {region}, the stack in {stack.region}.",
            next_step=f"Use a bucket in {stack.region}, or make the stack with --region {region}: a job reads and "
            "writes buckets of its own region.",
            field="artifact_store",
        )
    return str(region or "")


def look_at_role(
    aws: Aws, role: str, *, service: str = SAGEMAKER_SERVICE, field: str = "execution_role"
) -> Mapping[str, Any] | Unseen:
    """Return the role as IAM describes it (GetRole), if ``service`` may assume it.

    ``role`` is its ARN, ``field`` the field of the stack that names it. Raises NotFoundError ``stack.role_not_found``,
    also for a role whose ARN is another, and ConfigError ``stack.role_not_trusting``.
    """
    account, path = role.split(":", 5)[4:]
    name = path.rpartition("/")[2]
    answer, refusal = _ask(aws, "iam:GetRole", role, lambda iam: iam.get_role(RoleName=name))
    if refusal in _MISSING:
        raise NotFoundError(
            "stack.role_not_found",
            f"There is no role {name!r} in the account of these credentials.",
            next_step=f"Correct --{field.replace('_', '-')}; `aws iam list-roles` shows the roles with their ARNs.",
            field=field,
        )
    if refusal is not None:
        reason = f"The role {name!r} could not be looked at (iam:GetRole is missing); it is taken as it is."
        return Unseen(reason, "iam:GetRole")
    found: Mapping[str, Any] = answer["Role"]
    arn = str(found["Arn"])
    if arn == role:
        _refuse_distrust(role, found.get("AssumeRolePolicyDocument"), service, field)
        return found
    if arn.split(":")[4] != account:
        return Unseen(
            f"The role belongs to the account {account}, the credentials to another: it could not be looked at."
        )
    raise NotFoundError(
        "stack.role_not_found",
        f"The role {name!r} has another ARN than the one given: {arn}.",
        next_step=f"Give --{field.replace('_', '-')} {arn}; the path before the name is part of the ARN.",
        field=field,
    )


def _refuse_distrust(role: str, policy: Any, service: str, field: str) -> None:
    """Refuse a role that no statement lets the service assume. Conditions and denials are left to the service."""
    if not isinstance(policy, Mapping):
        return  # botocore decodes the document; what it cannot read is not for us to judge
    if any(_lets_in(statement, service) for statement in _listed(policy.get("Statement"))):
        return
    name = role.rpartition("/")[2]
    spoken = "SageMaker" if service == SAGEMAKER_SERVICE else service
    raise ConfigError(
        "stack.role_not_trusting",
        f"The role {name!r} does not let {spoken} assume it.",
        next_step=f"Allow sts:AssumeRole to the service {service} in its trust policy (`aws iam "
        f"update-assume-role-policy --role-name {name} …`), or name another role.",
        field=field,
        details={
            "role": name,
            "statement": {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"},
        },
    )


def _lets_in(statement: Any, service: str) -> bool:
    if not isinstance(statement, Mapping) or statement.get("Effect") != "Allow":
        return False
    if "Action" in statement and not any(
        fnmatch.fnmatchcase(_ASSUME, str(action).lower()) for action in _listed(statement["Action"])
    ):
        return False
    principal = statement.get("Principal")
    services = _listed(principal.get("Service")) if isinstance(principal, Mapping) else _listed(principal)
    return "NotPrincipal" in statement or bool({service, "*"} & set(services))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _ask(aws: Aws, action: str, resource: str, request: Any) -> tuple[dict[str, Any], str | None]:
    """Return the answer and no refusal, or nothing and the code of a refusal that the caller understands."""
    from botocore.exceptions import ClientError

    with aws.call(action, resource=resource) as client:
        try:
            return request(client), None
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            if code in _FORBIDDEN | _MISSING:
                return {}, code
            raise
