"""``SimulatePrincipalPolicy`` and ``SimulateCustomPolicy``, which moto lacks, by the evaluator that also enforces.

Source: IAM API reference of the two operations. Circumstances that a request would have (time, address) are unknown
here unless ContextEntries gives them; a key that a policy asks about and nobody gave is in MissingContextValues.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from clary.sandbox.iam.evaluate import Decision, Kind, Names, Policies, ResourcePolicy, decide
from clary.sandbox.iam.policy import Access, Effect, MalformedPolicy, Policy, Statement, parse
from clary.sandbox.iam.principals import Principals
from clary.sandbox.wire import ApiError, Response, read_body

if TYPE_CHECKING:
    from clary.sandbox.gateway import Gateway
    from clary.sandbox.wire import Request

_ACTION = re.compile(r"[\w-]+:\w+")
_ENTRY = re.compile(r"ContextEntries\.member\.(\d+)\.ContextKeyName")
_PAGE = 100
"""MaxItems when a request does not say."""
_TYPES = {
    Kind.IDENTITY: "IAM Policy",
    Kind.RESOURCE: "Resource Policy",
    Kind.BOUNDARY: "Permissions Boundary Policy",
    Kind.SESSION: "Session Policy",
}


@dataclass(frozen=True)
class _Wish:
    """What is to be simulated."""

    names: Names
    policies: Policies
    context: Mapping[str, Sequence[str]]
    resource_policy: Policy | None
    owner: str


def simulate(request: Request, gateway: Gateway) -> Response:
    """Answer one of the two operations; raises ApiError for what cannot be simulated."""
    principals = Principals(gateway.sessions, gateway.account)
    account = gateway.account_of(request.access_key)
    form = dict(parse_qsl(read_body(request.environ).decode("utf-8", "replace"), keep_blank_values=True))
    operation = str(request.action)
    try:
        wish = _wish(form, operation, principals, account)
    except MalformedPolicy as error:
        raise ApiError("InvalidInput", str(error)) from None
    actions = _members(form, "ActionNames")
    unknown = next((action for action in actions if not _ACTION.fullmatch(action)), None)
    if unknown is not None or not actions:
        raise ApiError("InvalidInput", f"Invalid input: ActionNames must be given as service:Action, not {unknown!r}.")
    pairs = [(action, arn) for action in actions for arn in _members(form, "ResourceArns") or ["*"]]
    start, size = int(form.get("Marker") or 0), int(form.get("MaxItems") or _PAGE)
    results = "".join(_result(wish, action, arn) for action, arn in pairs[start : start + size])
    following = start + size
    more = following < len(pairs)
    marker = f"<Marker>{following}</Marker>" if more else ""
    return _answer(operation, f"<IsTruncated>{str(more).lower()}</IsTruncated>{marker}", results)


def _wish(form: Mapping[str, str], operation: str, principals: Principals, account: str) -> _Wish:
    extra = [parse(text, f"PolicyInputList.{n}") for n, text in enumerate(_members(form, "PolicyInputList"), 1)]
    boundaries = [parse(text, "boundary") for text in _members(form, "PermissionsBoundaryPolicyInputList")]
    caller = form.get("CallerArn", "")
    if operation == "SimulatePrincipalPolicy":
        found = principals.of_entity(form.get("PolicySourceArn", ""))
        if found is None:
            raise ApiError("NoSuchEntity", f"Entity {form.get('PolicySourceArn')} not found.", status=404)
        policies = replace(found.policies, identity=(*found.policies.identity, *extra))
        names, facts = found.names, dict(found.facts)
    else:
        policies, names, facts = Policies(identity=tuple(extra)), Names(account), {}
    if caller:
        names, facts = _caller(caller, facts)
    if boundaries:
        policies = replace(policies, boundary=boundaries[0])
    own = form.get("ResourcePolicy")
    return _Wish(
        names=names,
        policies=policies,
        context={**facts, **dict(_entries(form))},
        resource_policy=parse(own, "ResourcePolicy") if own else None,
        owner=(form.get("ResourceOwner", "").split(":")[4:5] or [names.account])[0],
    )


def _caller(arn: str, facts: Mapping[str, Sequence[str]]) -> tuple[Names, dict[str, Sequence[str]]]:
    """Return names and condition keys of the user that a simulation is to be seen from."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or not parts[5].startswith("user/"):
        raise ApiError("InvalidInput", f"Invalid input: CallerArn must be the ARN of a user, not {arn!r}.")
    known = {"aws:username": (parts[5].rpartition("/")[2],), "aws:principalarn": (arn,)}
    return Names(parts[4], parts[1], user=arn), {**facts, **known, "aws:principalaccount": (parts[4],)}


def _entries(form: Mapping[str, str]) -> Iterator[tuple[str, Sequence[str]]]:
    for name, value in form.items():
        match = _ENTRY.fullmatch(name)
        if match:
            yield value.lower(), tuple(_members(form, f"ContextEntries.member.{match[1]}.ContextKeyValues"))


def _members(form: Mapping[str, str], name: str) -> list[str]:
    pattern = re.compile(rf"{re.escape(name)}\.member\.(\d+)")
    found = [(int(match[1]), value) for key, value in form.items() if (match := pattern.fullmatch(key))]
    return [value for _, value in sorted(found)]


def _result(wish: _Wish, action: str, arn: str) -> str:
    access = Access(action, arn, wish.context)
    own = ResourcePolicy(wish.resource_policy, wish.owner) if wish.resource_policy else None
    decision = decide(access, wish.names, wish.policies, own)
    boundary = ""
    if wish.policies.boundary is not None:
        within = bool(wish.policies.boundary.matching(Effect.ALLOW, access))
        within = within and not wish.policies.boundary.matching(Effect.DENY, access)
        boundary = (
            "<PermissionsBoundaryDecisionDetail><AllowedByPermissionsBoundary>"
            f"{str(within).lower()}</AllowedByPermissionsBoundary></PermissionsBoundaryDecisionDetail>"
        )
    matched = "".join(_matched(decision, policy) for policy, _ in decision.matched)
    missing = "".join(f"<member>{escape(key)}</member>" for key in sorted(_missing(wish, access)))
    return (
        f"<member><EvalActionName>{escape(action)}</EvalActionName><EvalResourceName>{escape(arn)}</EvalResourceName>"
        f"<EvalDecision>{decision.verdict}</EvalDecision><MatchedStatements>{matched}</MatchedStatements>"
        f"<MissingContextValues>{missing}</MissingContextValues>{boundary}</member>"
    )


def _matched(decision: Decision, policy: Policy) -> str:
    kind = _TYPES[Kind.RESOURCE] if policy.source == "ResourcePolicy" else _TYPES[decision.kind]
    return (
        f"<member><SourcePolicyId>{escape(policy.source)}</SourcePolicyId>"
        f"<SourcePolicyType>{kind}</SourcePolicyType></member>"
    )


def _missing(wish: _Wish, access: Access) -> set[str]:
    """Return the condition keys that statements on this action and resource ask about and that are not known."""
    given = [*wish.policies.identity, wish.policies.boundary, wish.resource_policy]
    statements: Iterable[Statement] = [one for policy in given if policy is not None for one in policy.statements]
    bare = [one for one in statements if replace(one, conditions=()).applies(access)]
    asked = {condition.key for one in bare for condition in one.conditions}
    return {key for key in asked if key.lower() not in wish.context}


def _answer(operation: str, head: str, results: str) -> Response:
    body = (
        f'<{operation}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{operation}Result>{head}'
        f"<EvaluationResults>{results}</EvaluationResults></{operation}Result>"
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{operation}Response>"
    ).encode()
    return Response(200, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))], [body])
