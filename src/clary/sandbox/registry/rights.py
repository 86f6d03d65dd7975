"""Who may do what in a registry: IAM policies while they are enforced, and the policies of repositories always.

Without enforcement everybody may do everything in their own account; in another account's registry only what the
repository's policy allows, as on AWS.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from clary.sandbox.iam import EVERYTHING, SESSION_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.sandbox.gateway import Gateway
    from clary.sandbox.iam.guard import Guard
    from clary.sandbox.iam.principals import Principal
    from clary.sandbox.registry.names import Place

_PULL = ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage")
"""What pulling an image needs. Source: ECR user guide, "Repository policy examples", pulls."""


class Rights:
    """Weighs the requests of the registry protocol, and pulls for jobs.

    ``make_guard`` makes what weighs, which is only loaded where it is needed; ``enforced``: it is, by every request.
    """

    def __init__(self, gateway: Gateway, make_guard: Callable[[], Guard], *, enforced: bool) -> None:
        self._gateway = gateway
        self._make_guard = make_guard
        self.enforced = enforced

    @cached_property
    def _guard(self) -> Guard:
        return self._make_guard()

    def refuses(self, access_key: str, operation: str, place: Place) -> str | None:
        """Return the words that refuse an operation on a repository, or None when it is allowed."""
        account = self._gateway.account_of(access_key)
        if not self.enforced and account == place.account:
            return None
        principal = self._guard.principals.find(access_key)
        return self._weigh(principal, account, operation, place)

    def cannot_pull(self, role: str, account: str, place: Place) -> str | None:
        """Return the words that refuse the pull of an image to a job's role, or None when it is allowed."""
        if not self.enforced and account == place.account:
            return None
        from clary.sandbox.iam.sessions import Session

        principal = self._guard.principals.of_session(Session("", account, role, SESSION_NAME))
        if principal is None and self.enforced:
            return f"The role {role} does not exist."
        found = (self._weigh(principal, account, operation, place) for operation in _PULL)
        return next((one for one in found if one is not None), None)

    def _weigh(self, principal: Principal | None, account: str, operation: str, place: Place) -> str | None:
        if not self.enforced:
            principal = _unlimited(principal, account)
        if principal is None:
            return "The security token included in the request is invalid."
        from clary.sandbox.iam.call import Call

        asked = {"repositoryName": place.repository}
        call = Call("ecr", operation, place.account, place.region, self._guard.facts, params=asked)
        return self._guard.first_refusal(principal, call)


def _unlimited(principal: Principal | None, account: str) -> Principal:
    """Return a principal whom nothing of its own account limits."""
    from clary.sandbox.iam.evaluate import Names, Policies
    from clary.sandbox.iam.policy import parse
    from clary.sandbox.iam.principals import Principal

    everything = Policies(identity=(parse(EVERYTHING, "administrator"),))
    if principal is None:
        return Principal(f"arn:aws:iam::{account}:root", account, Names(account), everything)
    return replace(principal, policies=everything)
