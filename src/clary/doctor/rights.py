"""What the execution role and the caller may do, asked of IAM against the least policies."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clary.doctor import simulation
from clary.doctor.findings import Check, Finding, failed, ok, unchecked, warning
from clary.errors import ClaryError
from clary.sagemaker import permissions

if TYPE_CHECKING:
    from clary.doctor.simulation import Verdict
    from clary.doctor.subject import Subject


def _role_rights(subject: Subject) -> Finding:
    statements = permissions.policy("execution", subject.scope())["Statement"]
    verdict = simulation.ask(subject, subject.role, statements)
    finding = _told(verdict, f"The role {subject.role_name}", f"the role {subject.role_name}")
    if verdict.denied and _only_s3(verdict.denied) and _bucket_has_policy(subject):
        return warning(
            f"{finding.summary} The bucket has a policy of its own, which may allow it: that was not asked.",
            finding.fix,
            finding.statements,
        )
    return finding


def _caller_rights(subject: Subject) -> Finding:
    """Leave out PassRole and the looks: each has a check of its own, which says what it could not look at."""
    statements = permissions.policy("submitter", subject.scope())["Statement"]
    rest = [one for one in statements if one["Sid"] != "PassExecutionRole" and not permissions.optional(one)]
    arn = subject.caller().arn
    return _told(simulation.ask_for_caller(subject, rest), arn, arn)


def _told(verdict: Verdict, who: str, whose: str) -> Finding:
    if verdict.unknown:
        return unchecked(verdict.unknown, verdict.permission)
    actions = sorted({action for statement in verdict.denied for action in statement["Action"]})
    if actions:
        say = failed if any(not permissions.optional(statement) for statement in verdict.denied) else warning
        return say(f"{who} may not: {', '.join(actions)}.", f"Add to a policy of {whose}:", verdict.denied)
    return ok(f"{who} may do all that runs need")


def _only_s3(denied: Sequence[permissions.Statement]) -> bool:
    return all(action.startswith("s3:") for statement in denied for action in statement["Action"])


def _bucket_has_policy(subject: Subject) -> bool:
    """Tell whether the bucket has a policy; where that may not be read, it is taken to have none."""
    with contextlib.suppress(ClaryError), subject.aws.call("s3:GetBucketPolicy") as s3:
        s3.get_bucket_policy(Bucket=subject.scope().bucket)
        return True
    return False


CHECKS = (
    Check(
        "role-permissions",
        "Role's permissions",
        _role_rights,
        ("iam:SimulatePrincipalPolicy", "s3:GetBucketPolicy"),
    ),
    Check(
        "caller-permissions",
        "Caller's permissions",
        _caller_rights,
        ("sts:GetCallerIdentity", "iam:SimulatePrincipalPolicy", "iam:GetRole"),
    ),
)
