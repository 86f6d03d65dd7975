"""The execution role and the scheduler's: there, of this account, trusting the right service, passed on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from clary.doctor import simulation
from clary.doctor.findings import Check, Finding, failed, ok, unchecked, warning
from clary.errors import ConfigError
from clary.sagemaker import permissions
from clary.stacks.verify import SAGEMAKER_SERVICE, Unseen, look_at_role

if TYPE_CHECKING:
    from clary.doctor.subject import Subject

SCHEDULER_SERVICE = "scheduler.amazonaws.com"
"""The service principal that assumes the scheduler's role."""
FULL_ACCESS = "AmazonSageMakerFullAccess"
"""The managed policy that the documentation of other tools asks for."""


def _execution_role(subject: Subject) -> Finding:
    return _role(subject, subject.role, SAGEMAKER_SERVICE, "execution_role", "execution")


def _scheduler_role(subject: Subject) -> Finding | None:
    role = subject.stack.scheduler_role
    return _role(subject, role, SCHEDULER_SERVICE, "scheduler_role", "scheduler") if role else None


def _role(subject: Subject, role: str, service: str, field: str, kind: str) -> Finding:
    try:
        seen = look_at_role(subject.aws, role, service=service, field=field)
    except ConfigError as error:
        if error.code != "stack.role_not_trusting":
            raise
        document = json.dumps(permissions.trust(kind, subject.scope()))
        name = role.rpartition("/")[2]
        return failed(
            error.summary,
            f"aws iam update-assume-role-policy --role-name {name} --policy-document '{document}' (this replaces its "
            "trust policy; to keep what is there, add the statement to it)",
            permissions.trust(kind, subject.scope())["Statement"],
        )
    if isinstance(seen, Unseen):
        return unchecked(seen.reason, seen.permission)
    return ok(f"{role} trusts {'SageMaker' if service == SAGEMAKER_SERVICE else service}")


def pass_role(subject: Subject) -> Finding:
    """Ask IAM whether the caller may hand the execution role to SageMaker."""
    scope = subject.scope()
    asked = [permissions.granting("submitter", scope, "iam:PassRole")]
    verdict = simulation.ask_for_caller(subject, [statement for statement in asked if statement])
    if verdict.unknown:
        return unchecked(verdict.unknown, verdict.permission)
    if verdict.denied:
        return failed(
            f"{subject.caller().arn} may not pass the role {subject.role_name} to SageMaker.",
            f"Add to a policy of {subject.caller().arn}:",
            verdict.denied,
        )
    return ok(f"{subject.role_name} may be passed to SageMaker")


def _full_access(subject: Subject) -> Finding | None:
    """Name the trap of the managed policy that other tools ask for.

    Source: its text: objects only in buckets with "sagemaker" or "aws-glue" in their name, or with the tag
    SageMaker=true; pushes only to repositories with "sagemaker" in theirs.
    """
    attached = subject.attached()
    if FULL_ACCESS not in attached.managed:
        return None
    scope = subject.scope()
    if any(word in scope.bucket for word in ("sagemaker", "aws-glue")):
        return ok(f"{FULL_ACCESS} reaches the bucket {scope.bucket}: “sagemaker” is in its name")
    told = f"{FULL_ACCESS} reaches only buckets with “sagemaker” in their name, and {scope.bucket!r} has not."
    statements = [
        statement for statement in permissions.policy("execution", scope)["Statement"] if _about_objects(statement)
    ]
    fix = f"Add to a policy of the role {subject.role_name}:"
    if len(attached.managed) == 1 and not attached.inline:
        return failed(f"{told} It is the role's only policy.", fix, statements)
    verdict = simulation.ask(subject, subject.role, statements)
    if verdict.unknown:
        return warning(f"{told} Whether the role's other policies do could not be checked.", fix, statements)
    if verdict.denied:
        return failed(f"{told} The role's other policies do not either.", fix, verdict.denied)
    return ok(f"{FULL_ACCESS} does not reach the bucket {scope.bucket}; another policy of the role does")


def _about_objects(statement: permissions.Statement) -> bool:
    return any(action.startswith("s3:") for action in statement["Action"])


CHECKS = (
    Check("execution-role", "Execution role", _execution_role, ("iam:GetRole",)),
    Check("pass-role", "PassRole", pass_role, ("sts:GetCallerIdentity", "iam:SimulatePrincipalPolicy", "iam:GetRole")),
    Check(
        "full-access-policy",
        FULL_ACCESS,
        _full_access,
        ("iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:SimulatePrincipalPolicy"),
    ),
    Check("scheduler-role", "Scheduler role", _scheduler_role, ("iam:GetRole",)),
)
