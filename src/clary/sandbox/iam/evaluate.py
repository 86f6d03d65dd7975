"""Whether an access is allowed: all policies that apply, as AWS weighs them in one account.

Source: IAM User Guide, "Policy evaluation logic" and "Determining whether a request is allowed or denied within an
account" (the table of resource-based policies by principal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from clary.sandbox.iam.policy import Access, Effect, Policy, Statement


class Kind(StrEnum):
    """The kinds of policy, as AWS names them in a refusal."""

    IDENTITY = "identity-based policy"
    RESOURCE = "resource-based policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"


class Verdict(StrEnum):
    """The outcomes, as the simulation operations name them."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


@dataclass(frozen=True)
class Decision:
    """An outcome and what led to it."""

    verdict: Verdict
    kind: Kind = Kind.IDENTITY
    """The kind of policy that denies, or that is lacking."""
    matched: tuple[tuple[Policy, Statement], ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the access is allowed."""
        return self.verdict is Verdict.ALLOWED


@dataclass(frozen=True)
class Names:
    """By what a resource-based policy may name who asks."""

    account: str
    partition: str = "aws"
    user: str | None = None
    role: str | None = None
    session: str | None = None
    service: str | None = None


@dataclass(frozen=True)
class Policies:
    """The policies of who asks. None: there is no boundary, or no session policy."""

    identity: Sequence[Policy] = ()
    boundary: Policy | None = None
    session: Sequence[Policy] | None = None


class _Grant(IntEnum):
    """How far an allowance of a resource-based policy reaches."""

    NONE = 0
    ACCOUNT = 1
    """To the account: its identity-based policies decide."""
    ROLE = 2
    """To the role: boundaries and session policies still limit."""
    DIRECT = 3
    """To the user, the session or the service itself."""


@dataclass(frozen=True)
class ResourcePolicy:
    """The policy of the resource that an access is about."""

    policy: Policy | None
    account: str
    decides: bool = False
    """Whether nothing is allowed without it: key policies and trust policies."""


def decide(access: Access, names: Names, policies: Policies, resource: ResourcePolicy | None = None) -> Decision:
    """Weigh all policies. An explicit deny wins; what nothing allows is denied."""
    denied = _denial(access, names, policies, resource)
    if denied is not None:
        return denied
    own = resource.policy if resource else None
    grant, granting = _grant(own, access, names) if own else (_Grant.NONE, ())
    foreign = resource is not None and resource.account != names.account
    if resource is not None and (resource.decides or foreign) and grant is _Grant.NONE:
        return Decision(Verdict.IMPLICIT_DENY, Kind.RESOURCE)
    if grant is _Grant.DIRECT and not foreign:
        return Decision(Verdict.ALLOWED, Kind.RESOURCE, granting)
    limit = _limit(access, policies)
    if grant is _Grant.ROLE and not foreign:
        return limit or Decision(Verdict.ALLOWED, Kind.RESOURCE, granting)
    allowing = _matching(policies.identity, Effect.ALLOW, access)
    if not allowing:
        return Decision(Verdict.IMPLICIT_DENY, Kind.IDENTITY)
    return limit or Decision(Verdict.ALLOWED, Kind.IDENTITY, (*allowing, *granting))


def _denial(access: Access, names: Names, policies: Policies, resource: ResourcePolicy | None) -> Decision | None:
    boundary = () if policies.boundary is None else (policies.boundary,)
    for kind, some in (
        (Kind.IDENTITY, policies.identity),
        (Kind.BOUNDARY, boundary),
        (Kind.SESSION, policies.session or ()),
    ):
        denying = _matching(some, Effect.DENY, access)
        if denying:
            return Decision(Verdict.EXPLICIT_DENY, kind, denying)
    if resource is not None and resource.policy is not None:
        found = resource.policy.matching(Effect.DENY, access)
        denying = tuple((resource.policy, one) for one in found if _reach(one, names) is not _Grant.NONE)
        if denying:
            return Decision(Verdict.EXPLICIT_DENY, Kind.RESOURCE, denying)
    return None


def _limit(access: Access, policies: Policies) -> Decision | None:
    """Return the denial by a boundary or a session policy that does not allow, if there is one."""
    if policies.boundary is not None and not policies.boundary.matching(Effect.ALLOW, access):
        return Decision(Verdict.IMPLICIT_DENY, Kind.BOUNDARY)
    if policies.session is not None and not _matching(policies.session, Effect.ALLOW, access):
        return Decision(Verdict.IMPLICIT_DENY, Kind.SESSION)
    return None


def _matching(policies: Sequence[Policy], effect: Effect, access: Access) -> tuple[tuple[Policy, Statement], ...]:
    return tuple((policy, one) for policy in policies for one in policy.matching(effect, access))


def _grant(policy: Policy, access: Access, names: Names) -> tuple[_Grant, tuple[tuple[Policy, Statement], ...]]:
    found = [(one, _reach(one, names)) for one in policy.matching(Effect.ALLOW, access)]
    granting = tuple((policy, one) for one, reach in found if reach is not _Grant.NONE)
    return max((reach for _, reach in found), default=_Grant.NONE), granting


def _reach(statement: Statement, names: Names) -> _Grant:
    """Return how a statement of a resource-based policy names who asks."""
    reach = max((_named(kind, name, names) for kind, name in statement.principals or ()), default=_Grant.NONE)
    if statement.all_principals_but:
        return _Grant.DIRECT if reach is _Grant.NONE else _Grant.NONE
    return reach


def _named(kind: str, name: str, names: Names) -> _Grant:
    if kind == "Service":
        return _Grant.DIRECT if names.service and name in ("*", names.service) else _Grant.NONE
    if kind != "AWS":
        return _Grant.NONE
    if name == "*" or name in (names.user, names.session):
        return _Grant.DIRECT
    if names.role is not None and name == names.role:
        return _Grant.ROLE
    account = (names.account, f"arn:{names.partition}:iam::{names.account}:root")
    return _Grant.ACCOUNT if names.service is None and name in account else _Grant.NONE
