"""Every condition operator of IAM, with and without the key, IfExists and the set operators."""

from __future__ import annotations

import pytest

from clary.sandbox.iam.conditions import Condition, known


def met(operator: str, policy: str | list[str], *given: str, **context: str) -> bool:
    wanted = (policy,) if isinstance(policy, str) else tuple(policy)
    facts = {name.replace("_", ":", 1).lower(): (value,) for name, value in context.items()}
    return Condition(operator, "x:Key", wanted).met({**facts, **({"x:key": given} if given else {})})


@pytest.mark.parametrize(
    ("operator", "policy", "fits", "does_not"),
    [
        ("StringEquals", "a", "a", "A"),
        ("StringEqualsIgnoreCase", "a", "A", "b"),
        ("StringLike", "runs/?/*", "runs/1/x/y", "runs//x"),
        ("ArnEquals", "arn:aws:iam::1:role/*", "arn:aws:iam::1:role/a/b", "arn:aws:iam::2:role/a"),
        ("ArnLike", "arn:aws:*:*:1:role/a", "arn:aws:iam::1:role/a", "arn:aws:iam::1:x:role/a"),
        ("NumericEquals", "10", "10.0", "11"),
        ("NumericLessThan", "10", "9", "10"),
        ("NumericLessThanEquals", "10", "10", "10.5"),
        ("NumericGreaterThan", "10", "100", "9"),
        ("NumericGreaterThanEquals", "10", "10", "9.99"),
        ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", "1767225601"),
        ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"),
        ("DateLessThanEquals", "2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
        ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z"),
        ("DateGreaterThanEquals", "2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z", "2025-12-31T22:59:59Z"),
        ("Bool", "true", "True", "false"),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", "qmluYXJ5"),
        ("IpAddress", "203.0.113.0/24", "203.0.113.9", "203.0.114.9"),
        ("IpAddress", "2001:db8::/32", "2001:db8::1", "203.0.113.9"),
    ],
)
def test_an_operator_and_its_negation(operator: str, policy: str, fits: str, does_not: str) -> None:
    assert met(operator, policy, fits)
    assert not met(operator, policy, does_not)
    assert not met(operator, policy)
    assert met(operator + "IfExists", policy)
    assert not met(operator + "IfExists", policy, does_not)
    head = next((word for word in ("String", "Numeric", "Date", "Arn") if operator.startswith(word)), "")
    negation = f"{head}Not{operator.removeprefix(head)}"
    if known(negation):
        assert not met(negation, policy, fits)
        assert met(negation, policy, does_not)
        assert met(negation, policy)


def test_a_value_that_is_of_another_kind_does_not_meet() -> None:
    for operator in ("NumericEquals", "DateLessThan", "IpAddress"):
        assert not met(operator, "1", "nonsense")


def test_null_asks_whether_the_key_is_there() -> None:
    assert met("Null", "true")
    assert not met("Null", "true", "x")
    assert met("Null", "false", "x")
    assert not met("Null", "false")


def test_for_all_values_wants_every_value_and_is_met_by_none() -> None:
    allowed = ["team", "cost"]
    assert met("ForAllValues:StringEquals", allowed, "team", "cost")
    assert not met("ForAllValues:StringEquals", allowed, "team", "other")
    assert met("ForAllValues:StringEquals", allowed)
    assert met("ForAllValues:StringNotEquals", allowed, "other")
    assert not met("ForAllValues:StringNotEquals", allowed, "other", "team")


def test_for_any_value_wants_one_value_and_is_not_met_by_none() -> None:
    assert met("ForAnyValue:StringLike", ["t*"], "x", "team")
    assert not met("ForAnyValue:StringLike", ["t*"], "x")
    assert not met("ForAnyValue:StringLike", ["t*"])
    assert met("ForAnyValue:StringNotLike", ["t*"], "x", "team")
    assert not met("ForAnyValue:StringNotLike", ["t*"], "team")


def test_variables_take_the_requests_value_and_hold_no_wildcards() -> None:
    assert met("StringEquals", "${aws:username}", "ann", aws_username="ann")
    assert met("StringLike", "home/${aws:username}/*", "home/ann/x", aws_username="ann")
    assert not met("StringLike", "home/${aws:username}/*", "home/ann/x", aws_username="*")
    assert not met("StringLike", "home/${aws:username}/*", "home/ann/x")
    assert met("StringLike", "home/${aws:username, 'nobody'}/*", "home/nobody/x")
    assert met("StringLike", "a${*}b", "a*b")
    assert not met("StringLike", "a${*}b", "axb")


def test_operators_that_iam_does_not_have_are_unknown() -> None:
    assert known("ForAnyValue:StringLikeIfExists")
    assert not any(map(known, ("StringIs", "NullIfExists", "Some:StringLike", "NotBool", "NumericNotLessThan")))
