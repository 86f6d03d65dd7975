"""The Condition element: every operator of IAM, with IfExists and the set operators.

Source: IAM User Guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys". A key with
several values under an operator without a set operator, which the guide leaves open, is met by any of them.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from clary.sandbox.iam.patterns import Context, Unresolved, arn_like, expand, like

Test = Callable[[str, str], bool]
"""Whether a request's value (second) meets a policy's (first)."""


def _date(text: str) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(float(text), dt.UTC)
    except ValueError:
        parsed = dt.datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)


def _number(text: str) -> Decimal:
    return Decimal(text)


def _within(network: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


def _folded(wanted: str, given: str) -> bool:
    return wanted.lower() == given.lower()


@dataclass(frozen=True)
class _Operator:
    test: Test
    negated: bool = False
    pattern: bool = False
    """Whether the policy's value may hold wildcards."""


def _family(name: str, test: Test, *, pattern: bool = False) -> dict[str, _Operator]:
    """Return an operator and its negation: StringEquals and StringNotEquals, IpAddress and NotIpAddress."""
    head = next((word for word in ("String", "Numeric", "Date", "Arn") if name.startswith(word)), "")
    negation = f"{head}Not{name.removeprefix(head)}"
    return {name: _Operator(test, pattern=pattern), negation: _Operator(test, negated=True, pattern=pattern)}


_OPERATORS: Mapping[str, _Operator] = {
    **_family("StringEquals", lambda wanted, given: wanted == given),
    **_family("StringEqualsIgnoreCase", _folded),
    **_family("StringLike", like, pattern=True),
    **_family("ArnEquals", arn_like, pattern=True),
    **_family("ArnLike", arn_like, pattern=True),
    **_family("NumericEquals", lambda wanted, given: _number(given) == _number(wanted)),
    "NumericLessThan": _Operator(lambda wanted, given: _number(given) < _number(wanted)),
    "NumericLessThanEquals": _Operator(lambda wanted, given: _number(given) <= _number(wanted)),
    "NumericGreaterThan": _Operator(lambda wanted, given: _number(given) > _number(wanted)),
    "NumericGreaterThanEquals": _Operator(lambda wanted, given: _number(given) >= _number(wanted)),
    **_family("DateEquals", lambda wanted, given: _date(given) == _date(wanted)),
    "DateLessThan": _Operator(lambda wanted, given: _date(given) < _date(wanted)),
    "DateLessThanEquals": _Operator(lambda wanted, given: _date(given) <= _date(wanted)),
    "DateGreaterThan": _Operator(lambda wanted, given: _date(given) > _date(wanted)),
    "DateGreaterThanEquals": _Operator(lambda wanted, given: _date(given) >= _date(wanted)),
    "Bool": _Operator(_folded),
    "BinaryEquals": _Operator(lambda wanted, given: wanted == given),
    **_family("IpAddress", _within),
}
_NULL = "Null"
_IF_EXISTS = "IfExists"
_ALL, _ANY = "ForAllValues", "ForAnyValue"


@dataclass(frozen=True)
class Condition:
    """One operator on one key, with the values it may have."""

    operator: str
    """As the policy spells it, e.g. ``ForAllValues:StringLikeIfExists``."""
    key: str
    values: tuple[str, ...]
    variables: bool = True
    """Whether ``${…}`` is a variable (policies of version 2012-10-17)."""

    def met(self, context: Context) -> bool:
        """Return whether a request with this context meets it."""
        quantifier, name, if_exists = _parts(self.operator)
        given = context.get(self.key.lower(), ())
        if name == _NULL:
            return any(_folded(wanted, "false" if given else "true") for wanted in self.values)
        operator = _OPERATORS[name]
        if not given:
            return if_exists or quantifier == _ALL or (operator.negated and quantifier != _ANY)
        meets = [self._meets(operator, value, context) for value in given]
        if operator.negated:
            single = not any(meets)
            meets = [not met for met in meets]
        else:
            single = any(meets)
        return {_ALL: all(meets), _ANY: any(meets)}.get(quantifier, single)

    def _meets(self, operator: _Operator, given: str, context: Context) -> bool:
        return any(self._one(operator, wanted, given, context) for wanted in self.values)

    def _one(self, operator: _Operator, wanted: str, given: str, context: Context) -> bool:
        try:
            value = expand(wanted, context, escape=operator.pattern) if self.variables else wanted
            return operator.test(value, given)
        except (Unresolved, ValueError, InvalidOperation):
            return False


def _parts(operator: str) -> tuple[str, str, bool]:
    quantifier, colon, name = operator.rpartition(":")
    if_exists = name.endswith(_IF_EXISTS)
    return (quantifier if colon else ""), name.removesuffix(_IF_EXISTS), if_exists


def known(operator: str) -> bool:
    """Return whether IAM has such an operator."""
    quantifier, name, if_exists = _parts(operator)
    if name == _NULL:
        return not quantifier and not if_exists
    return quantifier in ("", _ALL, _ANY) and name in _OPERATORS


def all_met(conditions: Sequence[Condition], context: Context) -> bool:
    """Return whether a request meets every condition of a statement."""
    return all(condition.met(context) for condition in conditions)
