"""Stacks and components as they are read from the store, with what every service on them needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary import config
from clary.control import components as component_rows
from clary.control import settings as saved_settings
from clary.control import stacks as rows
from clary.errors import ClaryError, ConflictError, NotFoundError, nearest
from clary.stacks import flavors
from clary.stacks.components import Component, assemble
from clary.stacks.flavors import KINDS
from clary.stacks.model import LOCAL, SANDBOX, Stack, local_stack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.control.components import ComponentRow
    from clary.control.database import Connection


@dataclass(frozen=True)
class Entry:
    """One stack of this machine."""

    id: str
    stack: Stack
    managed: bool
    """Whether Clary made it whole on request, with components of its own; ``local`` is simply there."""
    created: float | None = None
    """Epoch seconds; None for ``local``."""
    components: tuple[Component, ...] = ()

    def component(self, kind: str) -> Component | None:
        """Return the component of a kind, or None."""
        return next((one for one in self.components if one.kind == kind), None)


def local() -> Entry:
    """Return the stack ``local``, which is in no table."""
    stack = local_stack(str(config.home() / "local"))
    parts = (
        Component("orchestrator", LOCAL, LOCAL, {}, {"type": LOCAL}),
        Component(
            "artifact_store", LOCAL, LOCAL, {"path": stack.artifact_store}, {"artifact_store": stack.artifact_store}
        ),
    )
    return Entry(LOCAL, stack, managed=False, components=parts)


def every(connection: Connection) -> list[Entry]:
    """Return all kept stacks, by name."""
    known = {row.id: _component(row) for row in component_rows.every(connection)}
    return [_entry(row, known) for row in rows.every(connection)]


def find(connection: Connection, name: str) -> Entry:
    """Return the stack of that id, else of that name; raises NotFoundError ``stack.not_found`` with the nearest."""
    if name == LOCAL:
        return local()
    row = rows.by_id(connection, name) or rows.get(connection, name)
    if row is None:
        raise not_found(name, [LOCAL, *(each.name for each in rows.every(connection))])
    known = {each.id: _component(each) for each in component_rows.every(connection)}
    return _entry(row, known)


def component(connection: Connection, kind: str, name: str) -> Component:
    """Return the component of that kind and id, else name; raises NotFoundError ``component.not_found``."""
    kept = component_rows.every(connection, kind)
    found = next((row for row in kept if row.id == name), None) or next((row for row in kept if row.name == name), None)
    if found is not None:
        return _component(found)
    meant = nearest(name, [row.name for row in kept])
    command = KINDS[kind].command
    raise NotFoundError(
        "component.not_found",
        f"There is no {flavors.title_of(kind)} {name!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"`clary {command} list` shows those there are.",
        field=kind,
    )


def components(connection: Connection, kind: str) -> list[Component]:
    """Return all components of a kind, by name."""
    return [_component(row) for row in component_rows.every(connection, kind)]


def add_component(connection: Connection, made: Component) -> Component:
    """Keep a new component; raises ConflictError ``component.name_taken``."""
    refuse_taken_components(connection, [(made.kind, made.name)])
    return _component(
        component_rows.add(connection, kind=made.kind, name=made.name, flavor=made.flavor, document=_document(made))
    )


def replace_component(connection: Connection, made: Component) -> None:
    """Keep a component that has an id as it is now."""
    assert made.id is not None
    component_rows.replace(connection, made.id, name=made.name, flavor=made.flavor, document=_document(made))


def users_of(connection: Connection, made: Component) -> list[Entry]:
    """Return the stacks that have a component."""
    return [entry for entry in every(connection) if any(one.id == made.id for one in entry.components)]


def saved(connection: Connection) -> str | None:
    """Return the name of the saved current stack."""
    return saved_settings.get(connection, saved_settings.CURRENT_STACK)


def save(connection: Connection, name: str) -> None:
    """Save a stack as the current one."""
    saved_settings.put(connection, saved_settings.CURRENT_STACK, name)


def refuse_taken(connection: Connection, name: str) -> None:
    """Refuse the name of a stack that is there already: ConflictError ``stack.name_taken``."""
    if name == LOCAL or rows.get(connection, name) is not None:
        raise ConflictError(
            "stack.name_taken",
            f"There is a stack {name!r} already.",
            next_step=f"Run `clary stack use {name}` to use it, `clary stack delete {name}` to drop it, or choose "
            "another name.",
            field="name",
        )


def refuse_taken_components(connection: Connection, wanted: Iterable[tuple[str, str]]) -> None:
    """Refuse the (kind, name) of components that are there, all at once: ConflictError ``component.name_taken``.

    Whoever makes a stack gets components of its own: one that is there is never taken without being named.
    """
    taken = [(kind, name) for kind, name in wanted if component_rows.get(connection, kind, name) is not None]
    if not taken:
        return
    shown = ", ".join(f"{flavors.title_of(kind)} {name!r}" for kind, name in taken)
    commands = " && ".join(f"clary {KINDS[kind].command} delete {name}" for kind, name in taken)
    raise ConflictError(
        "component.name_taken",
        f"There is already: {shown}.",
        next_step=f"Choose another name, or, if no stack needs what is there: {commands}",
        field=taken[0][0],
    )


def not_found(name: str, names: list[str]) -> ClaryError:
    """Return the error for a stack that is not there, with the nearest of ``names``."""
    if name == SANDBOX:
        step = "Run `clary sandbox start --detach`: it starts the local SageMaker and makes this stack."
    elif meant := nearest(name, names):
        step = f"Did you mean {meant!r}? `clary stack list` shows every stack."
    else:
        step = "`clary stack list` shows every stack, `clary stack create` makes one."
    return NotFoundError("stack.not_found", f"There is no stack {name!r}.", next_step=step, details={"stack": name})


def _component(row: ComponentRow) -> Component:
    options, provides = row.document["options"], row.document["provides"]
    return Component(row.kind, row.name, row.flavor, options, provides, row.id, row.created, row.document.get("keys"))


def _document(made: Component) -> dict[str, Any]:
    document: dict[str, Any] = {"options": made.options, "provides": made.provides}
    return document | ({"keys": made.keys} if made.keys else {})


def _entry(row: rows.StackRow, known: dict[str, Component]) -> Entry:
    parts = tuple(known[row.components[kind]] for kind in KINDS if kind in row.components)
    return Entry(row.id, assemble(row.name, parts), row.managed, row.created, parts)
