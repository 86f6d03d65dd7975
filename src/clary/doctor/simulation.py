"""What IAM says that somebody may do, statement by statement of the least policies (SimulatePrincipalPolicy).

The answer has three values. IAM's simulation knows the identity's policies, its permissions boundary and the
organisation's; it knows neither the policies of a session nor, unless they are handed to it, those of resources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from clary.doctor.runner import side_by_side
from clary.errors import ClaryError
from clary.sagemaker.logs import TRAINING_GROUP

if TYPE_CHECKING:
    from clary.doctor.subject import Subject
    from clary.sagemaker.permissions import Statement

SIMULATE = "iam:SimulatePrincipalPolicy"
_EXAMPLE = "clary-doctor"
"""Stands for ``*`` in what is asked: a name like those that jobs and objects have."""
_LOG_GROUPS = "log-group:/aws/sagemaker/*"
_WILDCARD = re.compile(r"\$\{([*?$])\}|[*?]")


@dataclass(frozen=True)
class Verdict:
    """What came of asking for some statements."""

    denied: Sequence[Statement] = ()
    """The statements that do not hold, each narrowed to the actions that are denied."""
    unknown: str | None = None
    """Why it could not be known, where it could not."""
    permission: str | None = None
    """The missing permission, where that is why."""


def ask(subject: Subject, principal: str, statements: Sequence[Statement]) -> Verdict:
    """Ask whether an IAM user or role, by its ARN, may do all that the statements allow.

    What hangs on conditions that only a real request fulfils, such as the address it comes from, is not known.
    """
    try:
        answers = side_by_side([partial(_simulate, subject, principal, statement) for statement in statements])
    except ClaryError as error:
        return Verdict(unknown=error.summary, permission=SIMULATE if error.code == "aws.access_denied" else None)
    denied = [
        {**statement, "Action": sorted(refused)}
        for statement, (refused, _) in zip(statements, answers, strict=True)
        if refused
    ]
    open_ = sorted({action for _, unclear in answers for action in unclear})
    if open_ and not denied:
        return Verdict(unknown=f"Only a real request can tell whether {principal} may: {', '.join(open_)}.")
    return Verdict(denied)


def ask_for_caller(subject: Subject, statements: Sequence[Statement]) -> Verdict:
    """Ask the same for the credentials in use."""
    arn = subject.caller().arn
    if arn.endswith(":root"):
        return Verdict()  # the account's own user: IAM does not restrict it
    kind, _, path = arn.split(":", 5)[5].partition("/")
    if kind == "assumed-role":
        return ask(subject, _role_of(subject, arn, path.split("/")[0]), statements)
    if kind != "user":
        return Verdict(unknown=f"IAM cannot be asked what {arn} may do: it is neither a user nor a role.")
    return ask(subject, arn, statements)


def _role_of(subject: Subject, session: str, name: str) -> str:
    """Return the ARN of a session's role: with its path if IAM may be asked, which the session's ARN lacks."""
    try:
        with subject.aws.call("iam:GetRole") as iam:
            return str(iam.get_role(RoleName=name)["Role"]["Arn"])
    except ClaryError:
        partition, account = session.split(":")[1], session.split(":")[4]
        return f"arn:{partition}:iam::{account}:role/{name}"


def _simulate(subject: Subject, principal: str, statement: Statement) -> tuple[set[str], set[str]]:
    """Return the actions of a statement that are denied, and those that hang on conditions nobody knows here."""
    denied: set[str] = set()
    unclear: set[str] = set()
    with subject.aws.call(SIMULATE, resource=principal) as iam:
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=principal,
            ActionNames=statement["Action"],
            ResourceArns=[_concrete(resource) for resource in statement["Resource"]],
            ContextEntries=_context(statement.get("Condition", {})),
        )
        for result in [result for page in pages for result in page["EvaluationResults"]]:
            if result["EvalDecision"] == "allowed":
                continue
            missing = result["EvalDecision"] == "implicitDeny" and result.get("MissingContextValues")
            (unclear if missing else denied).add(result["EvalActionName"])
    return denied, unclear - denied


def _concrete(pattern: str) -> str:
    """Return a resource that a pattern covers: IAM is asked about one thing, not about a pattern."""
    pattern = pattern.replace(_LOG_GROUPS, f"log-group:{TRAINING_GROUP}:log-stream:{_EXAMPLE}")
    return "*" if pattern == "*" else _WILDCARD.sub(lambda found: found[1] or _EXAMPLE, pattern)


def _context(condition: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what fulfils a statement's own condition. What it takes only if it is there is left out."""
    return [
        {
            "ContextKeyName": key,
            "ContextKeyValues": [_concrete(value) for value in ([wanted] if isinstance(wanted, str) else wanted)],
            "ContextKeyType": _type(operator),
        }
        for operator, keys in condition.items()
        if not operator.endswith("IfExists")
        for key, wanted in keys.items()
    ]


def _type(operator: str) -> str:
    if operator == "Bool":
        return "boolean"
    return "stringList" if operator.startswith(("ForAnyValue:", "ForAllValues:")) else "string"
