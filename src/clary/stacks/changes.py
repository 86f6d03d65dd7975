"""Changes of stacks that are there: update, rename, copy. A refusal changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from clary.control import stacks as rows
from clary.control.database import Connection, Database, local
from clary.errors import ClaryError, ConflictError, UsageError
from clary.sagemaker.settings_layers import merge
from clary.stacks import components, entries, flavors, keys, rules
from clary.stacks.components import Component, assemble
from clary.stacks.describe import Difference, differences
from clary.stacks.flavors import KINDS
from clary.stacks.model import LOCAL, SANDBOX

if TYPE_CHECKING:
    from clary.stacks.entries import Entry
    from clary.stacks.service import Verify


@dataclass(frozen=True)
class Updated:
    """A stack as it is now, and what is different from before."""

    entry: Entry
    changes: tuple[Difference, ...]
    warnings: tuple[str, ...] = ()


def update(
    name: str,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    unset: Iterable[tuple[str, str]] = (),
    chosen: Mapping[str, str] | None = None,
    removed: Iterable[str] = (),
    verify: Verify | None = None,
    database: Database | None = None,
) -> Updated:
    """Change a stack.

    Args:
        name: of the stack, or its id.
        options: kind of component to options that are laid over those it has.
        unset: (kind, option) pairs that are taken out.
        chosen: kind to the registered component that the stack has from now on.
        removed: kinds of which the stack has none from now on.
        verify: looks at the places that the changed stack names; None looks at nothing.
        database: the store; None is this machine's.

    Raises ConflictError ``stack.is_local``, ``component.shared`` for options of a component that other stacks have
    too, UsageError ``stack.no_component`` for options of one that the stack does not have, and all that making a stack
    refuses.
    """
    database = database or local()
    refuse_local(name, "changed")

    def changed(connection: Connection) -> tuple[Entry, list[Component], list[Component]]:
        entry = entries.find(connection, name)
        parts = {part.kind: part for part in entry.components}
        for kind, given in (chosen or {}).items():
            parts[kind] = entries.component(connection, kind, given)
        for kind in removed:
            if parts.pop(kind, None) is None:
                raise no_component(entry, kind)
        touched = set(options or {}) | {kind for kind, _ in unset}
        remade = []
        for kind in touched:
            if kind not in parts:
                raise no_component(entry, kind)
            _refuse_shared(connection, entry, parts[kind])
            taken_out = [option for of, option in unset if of == kind]
            parts[kind] = mended(parts[kind], (options or {}).get(kind, {}), taken_out)
            remade.append(parts[kind])
        return entry, [parts[kind] for kind in KINDS if kind in parts], remade

    with database.reading() as connection:
        before, parts, remade = changed(connection)
    stack = assemble(before.stack.name, parts)
    warnings = [*rules.judge(stack), *keys.advice(remade), *(verify(stack) if verify is not None else [])]
    with database.transaction() as connection:
        before, parts, remade = changed(connection)
        for part in remade:
            keep(connection, part)
        _recompose(connection, before, stack.name, parts)
        after = entries.find(connection, before.id)
        warnings += keys.forget(connection, remade)[1]
    return Updated(after, tuple(differences(before, after)), tuple(warnings))


def rename(name: str, new: str, *, database: Database | None = None) -> Entry:
    """Give a stack another name, and its own components that have its name too; its id stays.

    Raises ConflictError ``stack.is_local``, ``stack.name_taken``, ``stack.reserved_name``, ``component.name_taken``.
    """
    refuse_local(name, "renamed")
    with (database or local()).transaction() as connection:
        entry = entries.find(connection, name)
        refuse_sandbox(entry, "renamed")
        rules.check_name(new, entry.stack.type)
        entries.refuse_taken(connection, new)
        was_current = entries.saved(connection) == entry.stack.name
        own = [part for part in entry.components if _is_own(connection, entry, part)]
        entries.refuse_taken_components(connection, [(part.kind, new) for part in own])
        for part in own:
            entries.replace_component(connection, replace(part, name=new))
        _recompose(connection, entry, new, list(entry.components))
        if was_current:
            entries.save(connection, new)
        return entries.find(connection, entry.id)


def copy(name: str, new: str, *, database: Database | None = None) -> Entry:
    """Make a stack like another: with copies of its own components, and sharing registered ones.

    Raises ConflictError ``stack.name_taken``, ``stack.reserved_name``, ``component.name_taken``, ``stack.is_local``.
    """
    refuse_local(name, "copied")
    with (database or local()).transaction() as connection:
        entry = entries.find(connection, name)
        rules.check_name(new, entry.stack.type)
        entries.refuse_taken(connection, new)
        if entry.managed:
            entries.refuse_taken_components(connection, [(part.kind, new) for part in entry.components])
        parts = [
            entries.add_component(connection, replace(part, name=new)) if entry.managed else part
            for part in entry.components
        ]
        ids = {part.kind: part.id for part in parts if part.id is not None}
        rows.add(connection, name=new, type_=entry.stack.type, components=ids, managed=entry.managed)
        return entries.find(connection, new)


def refuse_local(name: str, done: str) -> None:
    """Refuse to change the stack ``local``: ConflictError ``stack.is_local``."""
    if name == LOCAL:
        raise ConflictError(
            "stack.is_local",
            f"The stack 'local' is always there as it is; it cannot be {done}.",
            next_step="Make one of your own: clary stack create NAME --artifact-store FOLDER.",
        )


def refuse_sandbox(entry: Entry, done: str) -> None:
    """Refuse to rename the stack that the sandbox keeps up to date: ConflictError ``stack.reserved_name``."""
    if entry.stack.name == SANDBOX:
        raise ConflictError(
            "stack.reserved_name",
            f"The stack 'sandbox' is kept up to date by `clary sandbox start`; it cannot be {done}.",
            next_step="Make another on the sandbox: clary stack create NAME --type sandbox.",
        )


def mended(part: Component, options: Mapping[str, Any], unset: Iterable[str] = ()) -> Component:
    """Return a component with options laid over its own, and some taken out, checked anew.

    Raises ValidationError ``component.bad_options``, UsageError ``component.not_set``.
    """
    given, problems = flavors.find(part.kind, part.flavor).canonical(options, whole=False)
    if problems:
        raise components.bad_options(part.kind, problems)
    together = merge(part.options, given)
    for path in unset:
        _take_out(part, together, path)
    made = components.make(part.kind, part.name, part.flavor, together)
    return replace(made, id=part.id, created=part.created, keys=part.keys)


def keep(connection: Connection, part: Component) -> None:
    """Keep a component that was changed; keys that were written out go into a secret."""
    made = keys.moved(connection, part)
    own = made.keys if made.options.get("credentials") == keys.reference(made.keys) else None
    entries.replace_component(connection, replace(made, keys=own))


def _take_out(part: Component, options: dict[str, Any], path: str) -> None:
    option, *below = path.split(".")
    *above, last = [flavors.find(part.kind, part.flavor).own_name(option), *below]
    holder: Any = options
    for name in above:
        holder = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or last not in holder:
        set_ = ", ".join(sorted(part.options)) or "none"
        raise UsageError(
            "component.not_set",
            f"{path} is not set in the {part.title}.",
            next_step=f"Set are: {set_}.",
            field=f"{part.kind}.{path}",
        )
    holder.pop(last)


def _is_own(connection: Connection, entry: Entry, part: Component) -> bool:
    return entry.managed and part.name == entry.stack.name and len(entries.users_of(connection, part)) == 1


def _recompose(connection: Connection, entry: Entry, name: str, parts: list[Component]) -> None:
    stack = assemble(name, parts)
    ids = {part.kind: part.id for part in parts if part.id is not None}
    rows.replace(connection, entry.id, name=name, type_=stack.type, components=ids, managed=entry.managed)


def _refuse_shared(connection: Connection, entry: Entry, part: Component) -> None:
    others = [user.stack.name for user in entries.users_of(connection, part) if user.id != entry.id]
    if others:
        raise ConflictError(
            "component.shared",
            f"The {part.title} belongs to other stacks too: {', '.join(others)}.",
            next_step=f"Change it for all of them with `clary {KINDS[part.kind].command} update {part.name}`, or give "
            "this stack another one.",
            field=part.kind,
        )


def no_component(entry: Entry, kind: str) -> ClaryError:
    """Return the error for a kind of component that a stack does not have: UsageError ``stack.no_component``."""
    return UsageError(
        "stack.no_component",
        f"The stack {entry.stack.name!r} has no {flavors.title_of(kind)}.",
        next_step=f"Give it one: clary stack update {entry.stack.name} --{KINDS[kind].command} NAME.",
        field=kind,
    )
