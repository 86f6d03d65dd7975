"""Policies with one thing taken away or falsified at a time, for the proof that each thing in them is needed."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Mutation:
    """A policy that allows a little less."""

    change: str
    """What was done, for people."""
    sid: str
    actions: tuple[str, ...]
    """The actions of which at least one is not allowed any more where it was."""
    fragment: str
    """What a refusal must name of the resource; empty where the actions know no resource."""
    document: dict[str, Any]


def mutations(document: dict[str, Any]) -> Iterator[Mutation]:
    """Yield a policy without each single action, with each resource narrowed to another, each condition falsified.

    Dropping a whole statement is dropping all of its actions, each of which is shown to be missed by itself.
    """
    for number, statement in enumerate(document["Statement"]):
        sid, actions = statement["Sid"], tuple(statement["Action"])
        for action in actions:
            left = [other for other in actions if other != action]
            changed = _with(document, number, {**statement, "Action": left} if left else None)
            yield Mutation(f"without {action}", sid, (action,), _fragment(statement["Resource"]), changed)
        for resource in statement["Resource"]:
            others = [_other(one) if one == resource else one for one in statement["Resource"]]
            changed = _with(document, number, {**statement, "Resource": others})
            yield Mutation(f"{resource} narrowed", sid, actions, _fragment([resource]), changed)
        for operator, keys in statement.get("Condition", {}).items():
            for key, values in keys.items():
                false = ELSEWHERE if isinstance(values, str) else [ELSEWHERE]
                condition = {**statement["Condition"], operator: {**keys, key: false}}
                changed = _with(document, number, {**statement, "Condition": condition})
                yield Mutation(f"{key} falsified", sid, actions, _fragment(statement["Resource"]), changed)


def _with(document: dict[str, Any], number: int, statement: dict[str, Any] | None) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    changed["Statement"][number : number + 1] = [statement] if statement else []
    return changed


def _other(resource: str) -> str:
    """Return a resource of the same kind that is not this one."""
    if resource == "*":
        return f"arn:aws:s3:::{ELSEWHERE}"
    head, separator, _ = resource.rpartition("/") if "/" in resource else resource.rpartition(":")
    return f"{head}{separator}{ELSEWHERE}"


def _fragment(resources: list[str]) -> str:
    """Return the last fixed word of the resource's own part, where there is one resource, such as a role's name."""
    if len(resources) != 1 or resources == ["*"]:
        return ""
    fixed = re.split(r"[*:$]", resources[0].split(":", 5)[5])[0]
    return fixed.rstrip("/").rpartition("/")[2]
