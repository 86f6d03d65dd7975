"""Examining a stack: wholly, for ``clary doctor``, or only what a first submit needs to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clary.doctor import bucket, identity, local, logs, network, quotas, registry, rights, roles
from clary.doctor.findings import Report, Result, Status
from clary.doctor.runner import LIMIT, run, side_by_side
from clary.doctor.subject import Subject
from clary.errors import ClaryError
from clary.stacks.model import LOCAL
from clary.stacks.verify import Unseen, look_at_bucket, look_at_role

if TYPE_CHECKING:
    from clary.doctor.findings import Check
    from clary.stacks.model import Stack

AWS_CHECKS: tuple[Check, ...] = (
    *identity.CHECKS,
    *bucket.CHECKS,
    *registry.CHECKS,
    *roles.CHECKS,
    *rights.CHECKS,
    *logs.CHECKS,
    *network.CHECKS,
    *quotas.CHECKS,
)
"""The checks of a sagemaker stack, in the order they are shown."""
LOCAL_CHECKS: tuple[Check, ...] = local.CHECKS
"""The checks of a stack that runs in this process."""


def examine(stack: Stack, *, limit: float = LIMIT, tell: Callable[[Result], None] | None = None) -> Report:
    """Run every check of a stack at once; raises nothing that concerns AWS.

    ``limit`` is the time of each check in seconds, ``tell`` hears of each result as it comes.
    """
    checks = LOCAL_CHECKS if stack.type == LOCAL else AWS_CHECKS
    return Report(stack.name, run(checks, Subject(stack), limit=limit, tell=tell))


def quick(stack: Stack) -> list[str]:
    """Look at once at what a first submit stands on: bucket, role, its trust, PassRole. Return warnings.

    Raises what ``clary.stacks.verify`` raises. A PassRole that IAM says is denied is a warning: its simulation does not
    know the policies of a session, and CreateTrainingJob tells for sure.
    """
    if stack.type == LOCAL:
        return []
    subject = Subject(stack)
    seen = side_by_side(
        [
            lambda: look_at_bucket(subject.aws, stack),
            lambda: look_at_role(subject.aws, subject.role),
            lambda: _pass_role(subject),
        ]
    )
    return [each.reason for each in seen if isinstance(each, Unseen)]


def _pass_role(subject: Subject) -> Unseen | None:
    try:
        finding = roles.pass_role(subject)
    except ClaryError:
        return None  # whatever it is, the other looks or the submit itself say it better
    return Unseen(finding.summary) if finding.status is Status.FAILED else None
