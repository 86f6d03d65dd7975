"""Stacks: made, composed, listed, chosen, deleted. What is stored is complete and checked; a refusal stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clary import config
from clary.control import components as component_rows
from clary.control import stacks as rows
from clary.control.database import Connection, Database, local
from clary.errors import ConflictError, NotFoundError
from clary.stacks import components, entries, keys, rules
from clary.stacks.components import Component, assemble, take_apart
from clary.stacks.entries import Entry
from clary.stacks.model import LOCAL, SANDBOX, Stack

if TYPE_CHECKING:
    from clary.stacks.draft import Draft

Verify = Callable[[Stack], list[str]]
"""Looks at the places that a stack names (``clary.agent.verified.verify``) and returns warnings, or raises."""


@dataclass(frozen=True)
class Listing:
    """What ``list`` shows: every stack, the current one, and whether ``sandbox`` has still to be made."""

    entries: tuple[Entry, ...]
    current: config.Choice
    sandbox_missing: bool


@dataclass(frozen=True)
class Created:
    """A stack that was just made, or would have been."""

    entry: Entry
    current: str
    """The saved current stack now."""
    previous: str | None
    """The saved current stack before, if creating this one changed it."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deleted:
    """A stack that was just deleted."""

    entry: Entry
    new_current: str | None
    """The saved current stack now, if deleting this one changed it."""
    components: tuple[Component, ...] = ()
    """Components that were deleted with it."""
    kept: tuple[Component, ...] = ()
    """Its components that are left and that no other stack has."""
    shared: tuple[Component, ...] = ()
    """Its components that other stacks have."""
    secrets: tuple[str, ...] = ()
    """Local secrets with keys of deleted components, which went with them."""
    warnings: tuple[str, ...] = ()


def create(
    draft: Draft,
    *,
    activate: bool = True,
    dry_run: bool = False,
    verify: Verify | None = None,
    place: rules.Place | None = None,
    database: Database | None = None,
) -> Created:
    """Make a stack with components of its own and, unless told otherwise, the current one.

    ``dry_run`` does all but store it; ``verify`` None looks at nothing; ``place`` is the running sandbox, for
    ``--type sandbox``. Raises the refusals of ``clary.stacks.rules``, ConflictError ``stack.name_taken`` and
    ``component.name_taken``; nothing is stored then.
    """
    database = database or local()
    check_new(draft, database=database)
    parts = rules.build(draft, folder=config.home() / "stacks" / draft.name, place=place)
    stack = assemble(draft.name, parts)
    with database.reading() as connection:
        adopted = _adopted(connection, draft, parts)
    seen = verify(stack) if verify is not None else []
    warnings = (*draft.notes, *rules.judge(stack), *keys.advice(parts), *seen)
    if dry_run:
        shown = [keys.hidden(part) for part in parts]
        entry = Entry("", assemble(draft.name, shown), managed=True, components=tuple(shown))
        return Created(entry, "", None, warnings)
    with database.transaction() as connection:
        entries.refuse_taken(connection, stack.name)
        adopted = _adopted(connection, draft, parts)
        kept = [
            adopted.get(part.kind) or entries.add_component(connection, keys.moved(connection, part)) for part in parts
        ]
        entry, previous = _store(connection, stack.name, kept, managed=not draft.components, activate=activate)
    return Created(entry, stack.name if activate else previous, previous if activate else None, warnings)


def register(
    name: str,
    chosen: Mapping[str, str],
    *,
    activate: bool = False,
    verify: Verify | None = None,
    database: Database | None = None,
) -> Created:
    """Compose a stack of registered components: kind to name or id.

    Raises UsageError ``stack.bad_name``, ``stack.incomplete``, ``stack.mixed``, ``stack.conflict``, NotFoundError
    ``component.not_found``, ConflictError ``stack.name_taken``.
    """
    database = database or local()
    with database.reading() as connection:
        parts = [entries.component(connection, kind, given) for kind, given in chosen.items()]
        stack = assemble(name, parts)
        rules.check_name(name, stack.type)
        entries.refuse_taken(connection, name)
    warnings = (*rules.judge(stack), *(verify(stack) if verify is not None else []))
    with database.transaction() as connection:
        entries.refuse_taken(connection, name)
        parts = [entries.component(connection, kind, given) for kind, given in chosen.items()]
        entry, previous = _store(connection, name, parts, managed=False, activate=activate)
    return Created(entry, name if activate else previous, previous if activate else None, warnings)


def check_new(draft: Draft, *, database: Database | None = None) -> None:
    """Refuse a draft that could not become a stack, whatever a sandbox or AWS would say. See ``create``."""
    rules.check_type(draft.type)
    rules.check_name(draft.name, draft.type)
    rules.check_fields(draft)
    with (database or local()).reading() as connection:
        entries.refuse_taken(connection, draft.name)


def refresh(stack: Stack, *, database: Database | None = None) -> Entry:
    """Keep a whole stack as it is now: replace the one of its name, or add it. Does not change which one is current."""
    database = database or local()
    parts = take_apart(stack)
    with database.transaction() as connection:
        row = rows.get(connection, stack.name)
        before = {} if row is None else {one.kind: one for one in entries.find(connection, stack.name).components}
        kept = []
        for part in parts:
            own = before.get(part.kind)
            if own is not None and own.id is not None:
                entries.replace_component(connection, replace(part, id=own.id))
                kept.append(replace(part, id=own.id))
            else:
                kept.append(entries.add_component(connection, part))
        if row is None:
            _store(connection, stack.name, kept, managed=True, activate=False)
        else:
            rows.replace(
                connection, row.id, name=stack.name, type_=stack.type, components=_ids(kept), managed=row.managed
            )
        return entries.find(connection, stack.name)


def listing(*, database: Database | None = None) -> Listing:
    """Return every stack: ``local`` first, then by name."""
    database = database or local()
    with database.reading() as connection:
        made = entries.every(connection)
        saved = entries.saved(connection)
    current = config.choose_stack(saved=lambda: saved)
    return Listing((entries.local(), *made), current, all(entry.stack.name != SANDBOX for entry in made))


def find(name: str, *, database: Database | None = None) -> Entry:
    """Return the stack of that id, else of that name; raises NotFoundError ``stack.not_found``, with the nearest."""
    if name == LOCAL:
        return entries.local()
    with (database or local()).reading() as connection:
        return entries.find(connection, name)


def current(
    explicit: str | None = None, flow: str | None = None, *, database: Database | None = None
) -> tuple[Entry, config.Choice]:
    """Return the stack that a run would use now, and what decided.

    ``explicit`` is named for the run, ``flow`` by its decorator. The store is not opened when another source decides
    for ``local``. Raises NotFoundError ``stack.not_found``, naming the source that asked for a stack that is not there.
    """

    def saved() -> str | None:
        with (database or local()).reading() as connection:
            return entries.saved(connection)

    choice = config.choose_stack(explicit, flow, saved=saved)
    try:
        return find(choice.value, database=database), choice
    except NotFoundError as error:
        if choice.origin == "run":
            raise
        raise NotFoundError(
            error.code,
            f"{error.summary.rstrip('.')} (asked for by: {choice.source}).",
            next_step=error.next_step,
            details=error.details,
        ) from None


def resolve(explicit: str | None = None, flow: str | None = None) -> Stack:
    """Return the stack that a run uses; see ``current``."""
    return current(explicit, flow)[0].stack


def use(name: str, *, database: Database | None = None) -> tuple[Entry, config.Choice]:
    """Save a stack as the current one; return it and what decides now: a variable or a project file may outrank it."""
    database = database or local()
    entry = find(name, database=database)
    with database.transaction() as connection:
        entries.save(connection, entry.stack.name)
    return entry, config.choose_stack(saved=lambda: entry.stack.name)


def delete(name: str, *, force: bool = False, recursive: bool = False, database: Database | None = None) -> Deleted:
    """Forget a stack; with ``recursive`` its components too, but for those that another stack has, and their keys.

    Nothing in AWS and no stored run is touched. Raises ConflictError ``stack.is_local`` for ``local`` and
    ``stack.is_current`` for the saved current stack without ``force`` (with it, ``local`` becomes current),
    NotFoundError ``stack.not_found``.
    """
    database = database or local()
    if name == LOCAL:
        raise ConflictError(
            "stack.is_local",
            "The stack 'local' is always there and cannot be deleted.",
            next_step="Run `clary stack use NAME` to make another stack the current one.",
        )
    with database.transaction() as connection:
        entry = entries.find(connection, name)
        is_current = entries.saved(connection) == entry.stack.name
        if is_current and not force:
            raise ConflictError(
                "stack.is_current",
                f"The stack {entry.stack.name!r} is the current one.",
                next_step=f"Run `clary stack use local` first, or `clary stack delete {entry.stack.name} --force`.",
            )
        rows.remove(connection, entry.id)
        free = tuple(part for part in entry.components if not entries.users_of(connection, part))
        if recursive:
            for part in free:
                assert part.id is not None
                component_rows.remove(connection, part.id)
        if is_current:
            entries.save(connection, LOCAL)
        secrets, warnings = keys.forget(connection, free) if recursive else ([], [])
    gone, kept = (free, ()) if recursive else ((), free)
    return Deleted(
        entry,
        LOCAL if is_current else None,
        components=gone,
        kept=kept,
        shared=tuple(part for part in entry.components if part not in free),
        secrets=tuple(secrets),
        warnings=tuple(warnings),
    )


def _store(
    connection: Connection, name: str, parts: list[Component], *, managed: bool, activate: bool
) -> tuple[Entry, str]:
    """Keep a stack of stored components; return it and the saved current stack before."""
    stack = assemble(name, parts)
    row = rows.add(connection, name=stack.name, type_=stack.type, components=_ids(parts), managed=managed)
    previous = entries.saved(connection) or LOCAL
    if activate:
        entries.save(connection, stack.name)
    return Entry(row.id, stack, managed, row.created, tuple(parts)), previous


def _ids(parts: list[Component]) -> dict[str, str]:
    return {part.kind: part.id for part in parts if part.id is not None}


def _adopted(connection: Connection, draft: Draft, parts: list[Component]) -> dict[str, Component]:
    """Return the components of an exported stack that are there already, just as the file describes them.

    A stack that is made from plain options never takes a component that is there: its name is taken then.
    """
    found: dict[str, Component] = {}
    for part in parts:
        components.refuse_bad_name(part.kind, part.name)
        kept = next((one for one in entries.components(connection, part.kind) if one.name == part.name), None)
        if kept and draft.components and (kept.flavor, kept.options) == (part.flavor, part.options):
            found[part.kind] = kept
    entries.refuse_taken_components(connection, [(part.kind, part.name) for part in parts if part.kind not in found])
    return found
