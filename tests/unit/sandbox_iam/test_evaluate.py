"""How policies are weighed: examples from the IAM User Guide, and what holds of all policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.sandbox.iam.evaluate import Kind, Names, Policies, ResourcePolicy, Verdict, decide
from clary.sandbox.iam.policy import Access, MalformedPolicy, Policy, parse

ACCOUNT = "123456789012"
USER = f"arn:aws:iam::{ACCOUNT}:user/ann"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/worker"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/s"
ANN = Names(ACCOUNT, user=USER)
WORKER = Names(ACCOUNT, role=ROLE, session=SESSION)
READ = Access("s3:GetObject", "arn:aws:s3:::b/k", {})


def policy(*statements: Mapping[str, Any]) -> Policy:
    return parse({"Version": "2012-10-17", "Statement": list(statements)})


def says(effect: str, action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


EVERYTHING, NOTHING = policy(says("Allow")), policy(says("Deny"))


def verdict(access: Access, *identity: Policy, names: Names = ANN, **more: Any) -> tuple[Verdict, Kind]:
    own = more.pop("own", None)
    found = decide(access, names, Policies(identity, **more), own)
    return found.verdict, found.kind


def bucket(*statements: Mapping[str, Any], account: str = ACCOUNT, decides: bool = False) -> ResourcePolicy:
    return ResourcePolicy(policy(*statements), account, decides)


def test_nothing_is_allowed_by_nothing() -> None:
    assert verdict(READ) == (Verdict.IMPLICIT_DENY, Kind.IDENTITY)


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        (says("Allow", "S3:getobject"), True),
        (says("Allow", "s3:Get*", "arn:aws:s3:::b/*"), True),
        (says("Allow", "s3:Get?bject", ["arn:aws:s3:::other/*", "arn:aws:s3:::b/?"]), True),
        (says("Allow", "s3:PutObject"), False),
        (says("Allow", "s3:*", "arn:aws:s3:::b"), False),
        (says("Allow", "s3:*", "arn:aws:s3"), True),
        (says("Allow", "s3:*", "arn:*:b/k"), False),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, True),
        ({"Effect": "Allow", "NotAction": ["iam:*", "s3:Get*"], "Resource": "*"}, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/*"}, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::c/*"}, True),
    ],
)
def test_actions_and_resources(statement: Mapping[str, Any], allowed: bool) -> None:
    assert (verdict(READ, policy(statement))[0] is Verdict.ALLOWED) is allowed


def test_an_operation_without_resources_needs_the_asterisk() -> None:
    listing = Access("sagemaker:ListTrainingJobs", "*", {})
    assert verdict(listing, policy(says("Allow", resource="*")))[0] is Verdict.ALLOWED
    assert verdict(listing, policy(says("Allow", resource="arn:aws:sagemaker:*:*:*")))[0] is Verdict.IMPLICIT_DENY


def test_variables_count_in_policies_of_the_newer_version_only() -> None:
    mine = Access("s3:GetObject", "arn:aws:s3:::b/ann/x", {"aws:username": ("ann",)})
    newer = policy(says("Allow", resource="arn:aws:s3:::b/${aws:username}/*"))
    older = parse({"Statement": says("Allow", resource="arn:aws:s3:::b/${aws:username}/*")})
    assert verdict(mine, newer)[0] is Verdict.ALLOWED
    assert verdict(mine, older)[0] is Verdict.IMPLICIT_DENY
    assert verdict(READ, newer)[0] is Verdict.IMPLICIT_DENY


def test_a_boundary_limits_and_does_not_grant() -> None:
    reads = policy(says("Allow", "s3:Get*"))
    assert verdict(READ, EVERYTHING, boundary=reads)[0] is Verdict.ALLOWED
    assert verdict(READ, boundary=EVERYTHING) == (Verdict.IMPLICIT_DENY, Kind.IDENTITY)
    assert verdict(READ, EVERYTHING, boundary=policy(says("Allow", "ec2:*"))) == (Verdict.IMPLICIT_DENY, Kind.BOUNDARY)
    assert verdict(READ, EVERYTHING, boundary=NOTHING) == (Verdict.EXPLICIT_DENY, Kind.BOUNDARY)


def test_a_session_policy_limits() -> None:
    lacking = policy(says("Allow", "ec2:*"))
    assert verdict(READ, EVERYTHING, session=(lacking,)) == (Verdict.IMPLICIT_DENY, Kind.SESSION)
    assert verdict(READ, EVERYTHING, session=(lacking, EVERYTHING))[0] is Verdict.ALLOWED


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": [USER]}])
def test_a_resource_based_policy_allows_a_user_by_itself(principal: Any) -> None:
    assert verdict(READ, own=bucket(says("Allow", Principal=principal)))[0] is Verdict.ALLOWED


@pytest.mark.parametrize("principal", [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root"])
def test_the_account_as_principal_leaves_it_to_identity_based_policies(principal: str) -> None:
    own = bucket(says("Allow", Principal={"AWS": principal}))
    assert verdict(READ, own=own) == (Verdict.IMPLICIT_DENY, Kind.IDENTITY)
    assert verdict(READ, EVERYTHING, own=own)[0] is Verdict.ALLOWED


def test_a_role_named_by_a_resource_stays_within_its_boundary_but_its_session_does_not() -> None:
    limited: Any = {"names": WORKER, "boundary": policy(says("Allow", "ec2:*"))}
    assert verdict(READ, own=bucket(says("Allow", Principal={"AWS": ROLE})), **limited)[1] is Kind.BOUNDARY
    by_session = bucket(says("Allow", Principal={"AWS": SESSION}))
    assert verdict(READ, own=by_session, **limited)[0] is Verdict.ALLOWED


def test_a_denial_of_the_resource_wins_for_whom_it_names() -> None:
    own = bucket(says("Deny", Principal={"AWS": ROLE}))
    assert verdict(READ, EVERYTHING, names=WORKER, own=own) == (Verdict.EXPLICIT_DENY, Kind.RESOURCE)
    assert verdict(READ, EVERYTHING, names=ANN, own=own)[0] is Verdict.ALLOWED
    but = bucket({"Effect": "Deny", "NotPrincipal": {"AWS": USER}, "Action": "*", "Resource": "*"})
    assert verdict(READ, EVERYTHING, names=WORKER, own=but)[0] is Verdict.EXPLICIT_DENY
    assert verdict(READ, EVERYTHING, names=ANN, own=but)[0] is Verdict.ALLOWED


def test_another_accounts_resource_needs_both_sides() -> None:
    open_to_us = bucket(says("Allow", Principal={"AWS": ACCOUNT}), account="999999999999")
    closed = bucket(account="999999999999")
    assert verdict(READ, EVERYTHING, own=open_to_us)[0] is Verdict.ALLOWED
    assert verdict(READ, own=open_to_us)[1] is Kind.IDENTITY
    assert verdict(READ, EVERYTHING, own=closed) == (Verdict.IMPLICIT_DENY, Kind.RESOURCE)


def test_key_and_trust_policies_decide() -> None:
    assert verdict(READ, EVERYTHING, own=bucket(decides=True)) == (Verdict.IMPLICIT_DENY, Kind.RESOURCE)
    delegated = bucket(says("Allow", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}), decides=True)
    assert verdict(READ, EVERYTHING, own=delegated)[0] is Verdict.ALLOWED
    assert verdict(READ, own=delegated)[0] is Verdict.IMPLICIT_DENY
    assert verdict(READ, own=bucket(says("Allow", Principal={"AWS": USER}), decides=True))[0] is Verdict.ALLOWED


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        {"Statement": [{"Effect": "Maybe", "Action": "*", "Resource": "*"}]},
        {"Statement": [{"Effect": "Allow", "Resource": "*"}]},
        {"Statement": [{"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}]},
        {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "NotResource": "*"}]},
        {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Conditions": {}}]},
        {"Statement": [says("Allow", Condition={"StringIs": {"a:b": "c"}})]},
        {"Statement": [says("Allow", action=[{"a": 1}])]},
    ],
)
def test_what_is_not_a_policy_is_refused(document: Any) -> None:
    with pytest.raises(MalformedPolicy):
        parse(document)


# -- what holds of all policies

_ACTIONS = ["s3:GetObject", "s3:PutObject", "sagemaker:CreateTrainingJob", "iam:PassRole"]
_ARNS = ["arn:aws:s3:::b/k", "arn:aws:s3:::b/a/k", "arn:aws:iam::1:role/r", "*"]
_patterns = st.sampled_from(["*", "s3:*", "s3:Get*", "iam:PassRole", "sagemaker:Create?rainingJob"])
_resources = st.sampled_from(
    ["*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/k", "arn:aws:iam::1:role/?", "arn:aws:s3:::${x:a}/k"]
)
_values = st.sampled_from(["b", "c", "*"])
_conditions: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "Condition": st.dictionaries(
                st.sampled_from(["StringEquals", "StringNotLike", "StringEqualsIfExists", "ForAllValues:StringLike"]),
                st.dictionaries(st.sampled_from(["x:a", "x:b"]), st.lists(_values, min_size=1, max_size=2), min_size=1),
                max_size=2,
            )
        }
    ),
)


@st.composite
def statements(draw: st.DrawFn, effect: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"Effect": effect or draw(st.sampled_from(["Allow", "Deny"]))}
    found[draw(st.sampled_from(["Action", "NotAction"]))] = draw(st.lists(_patterns, min_size=1, max_size=2))
    found[draw(st.sampled_from(["Resource", "NotResource"]))] = draw(st.lists(_resources, min_size=1, max_size=2))
    return {**found, **draw(_conditions)}


_lists = st.lists(statements(), max_size=4)
_accesses = st.builds(
    Access,
    st.sampled_from(_ACTIONS),
    st.sampled_from(_ARNS),
    st.dictionaries(st.sampled_from(["x:a", "x:b"]), st.lists(_values, min_size=1, max_size=2).map(tuple)),
)


def allowed(access: Access, given_statements: Sequence[Mapping[str, Any]]) -> bool:
    return verdict(access, policy(*given_statements))[0] is Verdict.ALLOWED


@given(_lists, _accesses)
def test_a_denial_always_wins(some: list[dict[str, Any]], access: Access) -> None:
    for at in range(len(some) + 1):
        assert verdict(access, policy(*some[:at], says("Deny"), *some[at:]))[0] is Verdict.EXPLICIT_DENY
    assert verdict(access, policy(*some), NOTHING)[0] is Verdict.EXPLICIT_DENY


@given(_lists, statements(effect="Allow"), _accesses)
def test_one_more_allowance_never_takes_away(some: list[dict[str, Any]], more: dict[str, Any], access: Access) -> None:
    if allowed(access, some):
        assert allowed(access, [*some, more])


@given(_lists, statements(effect="Deny"), _accesses)
def test_one_more_denial_never_gives(some: list[dict[str, Any]], more: dict[str, Any], access: Access) -> None:
    if allowed(access, [*some, more]):
        assert allowed(access, some)


@given(_lists, _accesses, st.randoms(use_true_random=False))
def test_the_order_of_statements_does_not_matter(some: list[dict[str, Any]], access: Access, order: Any) -> None:
    shuffled = list(some)
    order.shuffle(shuffled)
    assert verdict(access, policy(*some)) == verdict(access, policy(*shuffled))


@given(statements(effect="Allow"), _accesses, st.data())
def test_narrowing_never_widens(statement: dict[str, Any], access: Access, data: st.DataObject) -> None:
    narrowed = dict(statement)
    for name, reverse in (("Action", False), ("NotAction", True), ("Resource", False), ("NotResource", True)):
        if name in narrowed and reverse:
            narrowed[name] = [*narrowed[name], data.draw(_resources if "Res" in name else _patterns)]
        elif name in narrowed:
            narrowed[name] = narrowed[name][:1]
    narrowed["Condition"] = {**narrowed.get("Condition", {}), "Null": {"x:b": "false"}}
    if allowed(access, [narrowed]):
        assert allowed(access, [statement])


@given(_lists, _lists, _accesses)
def test_a_boundary_never_widens(some: list[dict[str, Any]], limit: list[dict[str, Any]], access: Access) -> None:
    if verdict(access, policy(*some), boundary=policy(*limit))[0] is Verdict.ALLOWED:
        assert allowed(access, some)
        assert allowed(access, limit)
