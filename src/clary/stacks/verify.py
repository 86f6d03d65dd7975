"""Whether the places that a stack names exist: its bucket and its execution role. Used when a stack is made.

What the caller may not look at is a warning, not a refusal: the rights to submit jobs need not include these reads.
"""

from __future__ import annotations

from typing import Any

from clary.errors import ConfigError, NotFoundError
from clary.stacks.access import open_aws
from clary.stacks.model import LOCAL, Stack
from clary.stacks.rules import bucket_of

_FORBIDDEN = frozenset({"403", "AccessDenied", "AccessDeniedException", "Forbidden", "UnauthorizedOperation"})
_SAGEMAKER = "sagemaker.amazonaws.com"
_MISSING = frozenset({"404", "NoSuchBucket", "NoSuchEntity", "NotFound"})


def verify(stack: Stack) -> list[str]:
    """Look at the bucket and the role of a stack; return warnings.

    Raises NotFoundError ``stack.bucket_not_found`` or ``stack.role_not_found``, ConfigError ``stack.bucket_region`` for
    a bucket of another region and ``stack.role_not_trusting`` for a role that SageMaker may not assume, and the errors
    of ``clary.sagemaker`` when AWS cannot be asked at all.
    """
    if stack.type == LOCAL:
        return []
    aws = open_aws(stack)
    return [*_check_bucket(aws, stack), *_check_role(aws, stack)]


def _check_bucket(aws: Any, stack: Stack) -> list[str]:
    """Source: HeadBucket answers 404 for no bucket and 403 without s3:ListBucket, both without an error body."""
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
        return [f"The bucket {bucket!r} could not be looked at (s3:ListBucket is missing); it is taken as it is."]
    region = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if region and stack.region and region != stack.region:
        raise ConfigError(
            "stack.bucket_region",
            f"The bucket {bucket!r} is in {region}, the stack in {stack.region}.",
            next_step=f"Use a bucket in {stack.region}, or make the stack with --region {region}: a job reads and "
            "writes buckets of its own region.",
            field="artifact_store",
        )
    return []


def _check_role(aws: Any, stack: Stack) -> list[str]:
    role = stack.execution_role or ""
    account, path = role.split(":", 5)[4:]
    name = path.rpartition("/")[2]
    answer, refusal = _ask(aws, "iam:GetRole", role, lambda iam: iam.get_role(RoleName=name))
    if refusal in _MISSING:
        raise NotFoundError(
            "stack.role_not_found",
            f"There is no role {name!r} in the account of these credentials.",
            next_step="Correct --execution-role; `aws iam list-roles` shows the roles with their ARNs.",
            field="execution_role",
        )
    if refusal is not None:
        return [f"The role {name!r} could not be looked at (iam:GetRole is missing); it is taken as it is."]
    found = str(answer["Role"]["Arn"])
    if found == role:
        _check_trust(role, answer["Role"].get("AssumeRolePolicyDocument"))
        return []
    if found.split(":")[4] != account:
        return [f"The role belongs to the account {account}, the credentials to another: it could not be looked at."]
    raise NotFoundError(
        "stack.role_not_found",
        f"The role {name!r} has another ARN than the one given: {found}.",
        next_step=f"Give --execution-role {found}; the path before the name is part of the ARN.",
        field="execution_role",
    )


def _check_trust(role: str, policy: Any) -> None:
    """Refuse a role that no statement lets SageMaker assume. Conditions and denials are left to the service."""
    if not isinstance(policy, dict):
        return  # botocore decodes the document; what it cannot read is not for us to judge
    if any(_lets_sagemaker_in(statement) for statement in _listed(policy.get("Statement"))):
        return
    name = role.rpartition("/")[2]
    raise ConfigError(
        "stack.role_not_trusting",
        f"The role {name!r} does not let SageMaker assume it.",
        next_step=f"Allow sts:AssumeRole to the service {_SAGEMAKER} in its trust policy (`aws iam "
        f"update-assume-role-policy --role-name {name} …`), or name another role.",
        field="execution_role",
    )


def _lets_sagemaker_in(statement: Any) -> bool:
    if not isinstance(statement, dict) or statement.get("Effect") != "Allow":
        return False
    principal = statement.get("Principal")
    services = _listed(principal.get("Service")) if isinstance(principal, dict) else _listed(principal)
    return "NotPrincipal" in statement or bool({_SAGEMAKER, "*"} & set(services))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _ask(aws: Any, action: str, resource: str, request: Any) -> tuple[dict[str, Any], str | None]:
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
