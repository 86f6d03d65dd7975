"""The door: whether who asks may do what a request asks for."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clary.sandbox.iam import words
from clary.sandbox.iam.call import Call, read_call
from clary.sandbox.iam.deletions import Deletions
from clary.sandbox.iam.evaluate import Decision, decide
from clary.sandbox.iam.platform import check_creation
from clary.sandbox.iam.policy import Access
from clary.sandbox.iam.sessions import Session
from clary.sandbox.iam.table import needs_of
from clary.sandbox.iam.table.s3 import BUCKET, read_s3

if TYPE_CHECKING:
    from clary.sandbox.iam.facts import MotoFacts
    from clary.sandbox.iam.principals import Principal, Principals
    from clary.sandbox.wire import Request, Response

Produce = Callable[[], "Response"]
"""What answers a request."""
_READS = ("GetObject", "HeadObject")


class Guard:
    """Weighs requests. Safe from any thread: it keeps nothing."""

    def __init__(self, principals: Principals, facts: MotoFacts) -> None:
        self.principals = principals
        self.facts = facts

    def identify(self, request: Request) -> Principal:
        """Return who asks; raises ApiError for an access key that nobody has."""
        found = self.principals.find(request.access_key or "")
        if found is None:
            raise words.unknown_key(request)
        return found

    def serve(self, request: Request, document: Any, produce: Produce) -> Response:
        """Answer a request by ``produce`` if it may be answered; raises ApiError with the refusal otherwise.

        ``document`` is the body of a JSON request where it has been read already.
        """
        principal = self.identify(request)
        if request.service == "s3":
            return self._serve_s3(request, principal, produce)
        call = read_call(request, document, principal.account, self.facts)
        if call is None:
            self._unlisted(request, principal, f"{request.service or 'unknown'}:{request.operation}")
        else:
            self._check(request, principal, call)
            if call.service == "cloudformation":
                self._check_stack(request, principal, call)
            elif call.service == "sagemaker" and call.operation.startswith("Create"):
                check_creation(self, call)
        return produce()

    def _serve_s3(self, request: Request, principal: Principal, produce: Produce) -> Response:
        call = read_s3(request, principal.account, self.facts)
        if call.operation == "DeleteObjects":
            return Deletions(self, principal, call).serve(request, produce)
        self._check(request, principal, call)
        response = produce()
        if call.operation in _READS and response.status == 404:
            # Whoever may not list the bucket does not learn that an object is not there.
            message = self.refuses(principal, "s3:ListBucket", BUCKET.arn(call, request.bucket), call.region)
            if message is not None:
                raise words.refusal(request, message)
        return response

    def _check(self, request: Request, principal: Principal, call: Call) -> None:
        if needs_of(call.service, call.operation) is None:
            self._unlisted(request, principal, f"{call.service}:{call.operation}")
            return
        message = self.first_refusal(principal, call)
        if message is not None:
            raise words.refusal(request, message)

    def _check_stack(self, request: Request, principal: Principal, call: Call) -> None:
        """Weigh what CloudFormation does for a stack, with the rights of who asks or of the role that is passed."""
        from clary.sandbox.iam.stacks import UnknownType, calls_of

        role = call.text("RoleARN")
        if role:
            session = Session("", principal.account, role, "AWSCloudFormation")
            principal = self.principals.of_session(session) or principal
        elif principal.is_administrator:
            return
        via = {"aws:calledvia": ("cloudformation.amazonaws.com",), "aws:viaawsservice": ("true",)}
        try:
            found = (self.first_refusal(principal, one, via) for one in calls_of(call))
            message = next((one for one in found if one is not None), None)
        except UnknownType as error:
            message = words.unlisted(principal.arn, f"cloudformation:{call.operation}") + f" (resource {error})"
        if message is not None:
            raise words.refusal(request, message)

    def _unlisted(self, request: Request, principal: Principal, action: str) -> None:
        """Refuse what the table does not know, but to the administrator, who may do all there is."""
        if not principal.is_administrator:
            raise words.refusal(request, words.unlisted(principal.arn, action))

    # -- without a request

    def first_refusal(
        self, principal: Principal, call: Call, circumstances: Mapping[str, Sequence[str]] | None = None
    ) -> str | None:
        """Return the words of the first need of a call that is not allowed, or None when all are."""
        more = dict(circumstances or {})
        if "user-agent" in call.headers:
            more["aws:useragent"] = (call.headers["user-agent"],)
        for action, resource, context in accesses(call):
            message = self.refuses(principal, action, resource, call.region, {**more, **context})
            if message is not None:
                return message
        return None

    def refuses(
        self,
        principal: Principal,
        action: str,
        resource: str,
        region: str,
        context: Mapping[str, Sequence[str]] | None = None,
    ) -> str | None:
        """Return the words that refuse an action on a resource, or None when it is allowed."""
        access, decision = self.weigh(principal, action, resource, region, context)
        return None if decision.allowed else words.denial(principal.arn, access, decision)

    def weigh(
        self,
        principal: Principal,
        action: str,
        resource: str,
        region: str,
        context: Mapping[str, Sequence[str]] | None = None,
    ) -> tuple[Access, Decision]:
        """Return what is asked for, in full, and the decision on it."""
        own = self.facts.policy_of(action, resource, region, principal.account)
        owner = own.account if own is not None else (resource.split(":", 5)[4:5] or [""])[0] or principal.account
        facts = {**_circumstances(region), **principal.facts, "aws:resourceaccount": (owner,), **(context or {})}
        access = Access(action, resource, facts)
        return access, decide(access, principal.names, principal.policies, own)


def accesses(call: Call) -> Iterator[tuple[str, str, Mapping[str, Sequence[str]]]]:
    """Yield (action, resource, condition keys) of everything that a call needs."""
    for need in needs_of(call.service, call.operation) or ():
        for resource, context in need.accesses(call):
            yield need.action, resource, context


def _circumstances(region: str) -> dict[str, Sequence[str]]:
    """Return the condition keys that every request has.

    The loopback interface stands for an encrypted connection, so policies that ask for one can be tried.
    """
    now = time.time()
    return {
        "aws:currenttime": (dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),),
        "aws:epochtime": (str(int(now)),),
        "aws:requestedregion": (region,),
        "aws:securetransport": ("true",),
        "aws:sourceip": ("127.0.0.1",),
        "aws:viaawsservice": ("false",),
        "aws:principalisawsservice": ("false",),
    }
