"""Policy documents, read once: statements and whether one applies to what is asked.

Source: IAM User Guide, "IAM JSON policy reference" (grammar, and the elements one by one).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from clary.sandbox.iam.conditions import Condition, all_met, known
from clary.sandbox.iam.patterns import Context, Unresolved, arn_like, expand, like

_VARIABLES_SINCE = "2012-10-17"
_ELEMENTS = frozenset(
    {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition"}
)


class MalformedPolicy(ValueError):  # noqa: N818 - the name of the service's own error
    """The document is not a policy; the text says where."""


class Effect(StrEnum):
    """What a statement does."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True)
class Access:
    """What is asked for: one action on one resource, in the circumstances of the request."""

    action: str
    resource: str
    context: Context


@dataclass(frozen=True)
class Statement:
    """One statement."""

    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    all_actions_but: bool = False
    """NotAction: ``actions`` are those that are meant not."""
    all_resources_but: bool = False
    principals: tuple[tuple[str, str], ...] | None = None
    """(kind, name) such as ``("AWS", "arn:…")``; None in identity-based policies."""
    all_principals_but: bool = False
    sid: str = ""
    variables: bool = True

    def applies(self, access: Access) -> bool:
        """Return whether it speaks of this action on this resource in these circumstances, whoever asks."""
        return (
            any(like(pattern, access.action, fold=True) for pattern in self.actions) is not self.all_actions_but
            and self._names(access) is not self.all_resources_but
            and all_met(self.conditions, access.context)
        )

    def _names(self, access: Access) -> bool:
        return any(self._fits(pattern, access) for pattern in self.resources)

    def _fits(self, pattern: str, access: Access) -> bool:
        try:
            expanded = expand(pattern, access.context, escape=True) if self.variables else pattern
        except Unresolved:
            return False
        return arn_like(expanded, access.resource)


@dataclass(frozen=True)
class Policy:
    """A document and where it comes from."""

    statements: tuple[Statement, ...]
    source: str = ""
    """The name of the policy, as a simulation reports it."""

    def matching(self, effect: Effect, access: Access) -> list[Statement]:
        """Return the statements of this effect that apply."""
        return [one for one in self.statements if one.effect is effect and one.applies(access)]


def parse(document: str | Mapping[str, Any], source: str = "") -> Policy:
    """Read a policy, as JSON (also URL-encoded, as IAM answers it) or as data; raises MalformedPolicy."""
    text = document if isinstance(document, str) else json.dumps(document)
    return Policy(_statements(text), source)


@lru_cache(maxsize=1024)
def _statements(text: str) -> tuple[Statement, ...]:
    try:
        data = json.loads(unquote(text) if text.lstrip().startswith("%7B") else text)
    except ValueError as error:
        raise MalformedPolicy(f"The policy is not JSON: {error}") from error
    if not isinstance(data, dict) or "Statement" not in data:
        raise MalformedPolicy("A policy is an object with the member Statement.")
    variables = data.get("Version") == _VARIABLES_SINCE
    return tuple(_statement(one, variables=variables) for one in _listed(data["Statement"]))


def _statement(data: Any, *, variables: bool) -> Statement:
    if not isinstance(data, dict) or data.keys() - _ELEMENTS:
        raise MalformedPolicy(f"Not a statement: {json.dumps(data)[:200]}")
    if data.get("Effect") not in tuple(Effect):
        raise MalformedPolicy(f"Effect is Allow or Deny, not {data.get('Effect')!r}.")
    if ("Action" in data) == ("NotAction" in data):
        raise MalformedPolicy("A statement has either Action or NotAction.")
    if "Resource" in data and "NotResource" in data:
        raise MalformedPolicy("A statement has either Resource or NotResource.")
    return Statement(
        effect=Effect(data["Effect"]),
        actions=_texts(data.get("Action", data.get("NotAction"))),
        # Trust policies have none: they speak of the role that they belong to.
        resources=_texts(data.get("Resource", data.get("NotResource", "*"))),
        conditions=_conditions(data.get("Condition", {}), variables=variables),
        all_actions_but="NotAction" in data,
        all_resources_but="NotResource" in data,
        principals=_principals(data.get("Principal", data.get("NotPrincipal"))),
        all_principals_but="NotPrincipal" in data,
        sid=str(data.get("Sid", "")),
        variables=variables,
    )


def _conditions(data: Any, *, variables: bool) -> tuple[Condition, ...]:
    if not isinstance(data, dict) or not all(isinstance(keys, dict) for keys in data.values()):
        raise MalformedPolicy("Condition is an object of objects.")
    unknown = [operator for operator in data if not known(operator)]
    if unknown:
        raise MalformedPolicy(f"IAM has no condition operator {unknown[0]!r}.")
    return tuple(
        Condition(operator, key, _texts(values), variables)
        for operator, keys in data.items()
        for key, values in keys.items()
    )


def _principals(data: Any) -> tuple[tuple[str, str], ...] | None:
    if data is None:
        return None
    if isinstance(data, str):
        return (("AWS", data),)
    if not isinstance(data, dict):
        raise MalformedPolicy("Principal is '*' or an object.")
    return tuple((kind, name) for kind, names in data.items() for name in _texts(names))


def _texts(value: Any) -> tuple[str, ...]:
    found = []
    for one in _listed(value):
        if not isinstance(one, str | bool | int | float):
            raise MalformedPolicy(f"Expected text, not {json.dumps(one)[:100]}")
        found.append(str(one).lower() if isinstance(one, bool) else str(one))
    return tuple(found)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
