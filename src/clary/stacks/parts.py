"""Components by themselves: registered, listed, shown, changed, deleted; shared by any number of stacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clary.control import components as rows
from clary.control.database import Connection, Database, local
from clary.errors import ConflictError
from clary.stacks import components, entries, keys
from clary.stacks.changes import keep, mended
from clary.stacks.components import Component, assemble
from clary.stacks.flavors import KINDS


@dataclass(frozen=True)
class Part:
    """A component, and the stacks that have it."""

    component: Component
    stacks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gone:
    """A component that was just deleted."""

    component: Component
    secrets: tuple[str, ...] = ()
    """Local secrets with keys of its own that went with it."""
    warnings: tuple[str, ...] = ()


def register(
    kind: str, name: str, flavor: str, options: Mapping[str, Any], *, database: Database | None = None
) -> Part:
    """Make a component that any stack may have.

    Raises UsageError ``component.bad_name``, NotFoundError ``flavor.not_found``, ValidationError
    ``component.bad_options``, ConflictError ``component.name_taken``.
    """
    components.refuse_bad_name(kind, name)
    made = components.make(kind, name, flavor, options)
    with (database or local()).transaction() as connection:
        entries.refuse_taken_components(connection, [(kind, name)])
        warnings = tuple(keys.advice([made]))
        return Part(entries.add_component(connection, keys.moved(connection, made)), (), warnings)


def listing(kind: str, *, database: Database | None = None) -> list[Part]:
    """Return all components of a kind, by name."""
    with (database or local()).reading() as connection:
        users: dict[str | None, list[str]] = {}
        for entry in entries.every(connection):
            for part in entry.components:
                users.setdefault(part.id, []).append(entry.stack.name)
        return [Part(one, tuple(users.get(one.id, ()))) for one in entries.components(connection, kind)]


def find(kind: str, name: str, *, database: Database | None = None) -> Part:
    """Return the component of that id, else of that name; raises NotFoundError ``component.not_found``."""
    with (database or local()).reading() as connection:
        return _part(connection, entries.component(connection, kind, name))


def update(
    kind: str,
    name: str,
    options: Mapping[str, Any],
    *,
    unset: Iterable[str] = (),
    database: Database | None = None,
) -> Part:
    """Lay options over those of a component, for every stack that has it; ``unset`` takes options out.

    Raises ValidationError ``component.bad_options``, UsageError ``component.not_set``, and what makes one of its stacks
    impossible (``stack.conflict``).
    """
    with (database or local()).transaction() as connection:
        made = mended(entries.component(connection, kind, name), options, list(unset))
        warnings = tuple(keys.advice([made]))
        for user in entries.users_of(connection, made):
            assemble(user.stack.name, [made if one.id == made.id else one for one in user.components])
        keep(connection, made)
        warnings += tuple(keys.forget(connection, [made])[1])
        return replace(_part(connection, entries.component(connection, kind, made.name)), warnings=warnings)


def rename(kind: str, name: str, new: str, *, database: Database | None = None) -> Part:
    """Give a component another name; raises as ``register``."""
    components.refuse_bad_name(kind, new)
    with (database or local()).transaction() as connection:
        found = entries.component(connection, kind, name)
        entries.refuse_taken_components(connection, [(kind, new)])
        entries.replace_component(connection, replace(found, name=new))
        return _part(connection, entries.component(connection, kind, new))


def copy(kind: str, name: str, new: str, *, database: Database | None = None) -> Part:
    """Make a component like another; raises as ``register``."""
    components.refuse_bad_name(kind, new)
    with (database or local()).transaction() as connection:
        found = entries.component(connection, kind, name)
        return Part(entries.add_component(connection, replace(found, name=new)))


def delete(kind: str, name: str, *, database: Database | None = None) -> Gone:
    """Forget a component, and the keys that were written out for it.

    Raises ConflictError ``component.in_use`` while a stack has it.
    """
    with (database or local()).transaction() as connection:
        found = entries.component(connection, kind, name)
        users = [entry.stack.name for entry in entries.users_of(connection, found)]
        if users:
            raise ConflictError(
                "component.in_use",
                f"The {found.title} belongs to: {', '.join(users)}.",
                next_step=f"Give those stacks another one (clary stack update {users[0]} --{KINDS[kind].command} NAME) "
                "or delete them first.",
                field=kind,
            )
        assert found.id is not None
        rows.remove(connection, found.id)
        secrets, warnings = keys.forget(connection, [found])
        return Gone(found, tuple(secrets), tuple(warnings))


def _part(connection: Connection, component: Component) -> Part:
    return Part(component, tuple(entry.stack.name for entry in entries.users_of(connection, component)))
