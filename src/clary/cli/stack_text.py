"""How stacks are printed: the JSON that programs read, and the lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from clary.cli import output
from clary.cli.output import say
from clary.stacks import describe, flavors
from clary.stacks.model import LOCAL

if TYPE_CHECKING:
    from clary.stacks.components import Component
    from clary.stacks.describe import Difference, Setting, Shown
    from clary.stacks.entries import Entry
    from clary.stacks.service import Created


def identity(entry: Entry) -> dict[str, Any]:
    """Return what every JSON answer about a stack begins with."""
    return {"id": entry.id, "name": entry.stack.name, "is_managed": entry.managed}


def created_item(created: Created) -> dict[str, Any]:
    """Return the JSON of a stack that was made."""
    entry = created.entry
    return {
        **identity(entry),
        "is_active": created.current == entry.stack.name,
        "previous_active_stack": created.previous,
        "stack_type": entry.stack.type,
        "components_created": [part.to_dict() for part in describe.components(entry)],
        "service_connectors_created": [],
        "resources": {
            title.lower().replace(" ", "_"): value for title, value in describe.resources(entry.stack).items()
        },
        "warnings": list(created.warnings),
    }


def print_created(created: Created, verb: str = "Created") -> None:
    """Print a stack that was made."""
    made = created.entry.stack
    say(f"{verb} stack: {made.name}" + ("" if made.type == LOCAL else f" ({made.type})"))
    output.rows(describe.resources(made).items())
    if created.previous is not None:
        say(f"Active stack: {created.previous} → {made.name}")


def print_show(entry: Entry, parts: Sequence[Shown], settings: Sequence[Setting], *, active: bool) -> None:
    """Print one stack: its components, then every setting that holds with its origin."""
    output.rows(
        [
            ("Name", entry.stack.name),
            ("ID", entry.id),
            ("Type", entry.stack.type),
            ("Active", "yes" if active else "no"),
            ("Managed", "yes" if entry.managed else "no"),
            *((part.title, component_line(part)) for part in parts),
        ]
    )
    said = [[one.name, plain(one.value), one.origin] for one in settings if one.value not in (None, {}, [])]
    if said:
        say()
        output.table(["SETTING", "VALUE", "FROM"], said)


def component_line(part: Shown) -> str:
    """Return one component with its details in one line."""
    details = dict(part.details)
    if repository := details.pop("default_repository", None):
        details["location"] = f"{details['location']}/{repository}"
    words = (f"{name.replace('_', ' ')}: {plain(value)}" for name, value in details.items())
    return "; ".join((f"{part.name} ({part.backend})", *words))


def plain(value: Any) -> str:
    """Return a setting's value as people write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    return json.dumps(value, ensure_ascii=False)


def named(parts: Iterable[Component]) -> str:
    """Return components in one line: ``NAME (orchestrator), …``."""
    return ", ".join(f"{part.name} ({flavors.title_of(part.kind)})" for part in parts)


def say_deleted_secrets(secrets: Sequence[str]) -> None:
    """Say which local secrets went with deleted components; nothing where none did."""
    if secrets:
        say(f"Deleted local secrets with their keys: {', '.join(secrets)}")


def difference_items(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    """Return differences as JSON."""
    return [{"setting": one.name, "left": one.left, "right": one.right} for one in differences]


def print_differences(differences: Sequence[Difference], left: str, right: str) -> None:
    """Print a table of differences."""
    body = [[one.name, _side(one.left), _side(one.right)] for one in differences]
    output.table(["SETTING", left, right], body)


def _side(value: Any) -> str:
    return "-" if value is None or value in ({}, []) else plain(value)
