"""Stacks: made, listed, shown, chosen, deleted. What is stored is complete and checked; a refusal stores nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from clary import config
from clary.control import settings as saved_settings
from clary.control import stacks as rows
from clary.control.database import Connection, Database, local
from clary.errors import ClaryError, ConflictError, NotFoundError, nearest
from clary.stacks import rules
from clary.stacks.model import LOCAL, SANDBOX, Stack, local_stack

_FIELDS = frozenset(field.name for field in fields(Stack))


@dataclass(frozen=True)
class Entry:
    """One stack of this machine."""

    id: str
    stack: Stack
    managed: bool
    """Whether Clary made it on request; ``local`` is simply there."""
    created: float | None = None
    """Epoch seconds; None for ``local``."""


@dataclass(frozen=True)
class Listing:
    """What ``list`` shows: every stack, the current one, and whether ``sandbox`` has still to be made."""

    entries: tuple[Entry, ...]
    current: config.Choice
    sandbox_missing: bool


@dataclass(frozen=True)
class Created:
    """A stack that was just made."""

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


def create(
    draft: rules.Draft,
    *,
    activate: bool = True,
    verify: Callable[[Stack], list[str]] | None = None,
    place: rules.Place | None = None,
    database: Database | None = None,
) -> Created:
    """Make a stack and, unless told otherwise, the current one.

    ``verify`` looks at the places the stack names (``clary.stacks.verify.verify``) and returns warnings, or raises;
    None looks at nothing. ``place`` is the running sandbox, for ``--type sandbox``. Raises the refusals of
    ``clary.stacks.rules`` and ConflictError ``stack.name_taken``; nothing is stored then.
    """
    database = database or local()
    check_new(draft, database=database)
    stack = rules.build(draft, folder=config.home() / "stacks" / draft.name, place=place)
    warnings = rules.warnings(stack) + (verify(stack) if verify is not None else [])
    with database.transaction() as connection:
        _refuse_taken(connection, stack.name)
        row = rows.add(connection, name=stack.name, type_=stack.type, document=stack.to_dict())
        previous = _saved(connection) or LOCAL
        if activate:
            saved_settings.put(connection, saved_settings.CURRENT_STACK, stack.name)
    current = stack.name if activate else previous
    return Created(_entry(row), current, previous if activate else None, tuple(warnings))


def check_new(draft: rules.Draft, *, database: Database | None = None) -> None:
    """Refuse a draft that could not become a stack, whatever a sandbox or AWS would say. See ``create``."""
    rules.check_type(draft.type)
    rules.check_name(draft.name, draft.type)
    rules.check_fields(draft)
    with (database or local()).reading() as connection:
        _refuse_taken(connection, draft.name)


def refresh(stack: Stack, *, database: Database | None = None) -> Entry:
    """Keep a stack as it is now: replace the one of its name, or add it. Does not change which one is current."""
    database = database or local()
    with database.transaction() as connection:
        if not rows.replace(connection, stack.name, stack.to_dict()):
            rows.add(connection, name=stack.name, type_=stack.type, document=stack.to_dict())
        row = rows.get(connection, stack.name)
    assert row is not None
    return _entry(row)


def listing(*, database: Database | None = None) -> Listing:
    """Return every stack: ``local`` first, then by name."""
    database = database or local()
    with database.reading() as connection:
        made = [_entry(row) for row in rows.every(connection)]
        saved = _saved(connection)
    current = config.choose_stack(saved=lambda: saved)
    return Listing((_local(), *made), current, all(entry.stack.name != SANDBOX for entry in made))


def find(name: str, *, database: Database | None = None) -> Entry:
    """Return the stack of that id, else of that name.

    Raises NotFoundError ``stack.not_found``, with the nearest name.
    """
    if name == LOCAL:
        return _local()
    with (database or local()).reading() as connection:
        row = rows.by_id(connection, name) or rows.get(connection, name)
        if row is None:
            raise _not_found(name, [LOCAL, *(each.name for each in rows.every(connection))])
    return _entry(row)


def current(
    explicit: str | None = None, flow: str | None = None, *, database: Database | None = None
) -> tuple[Entry, config.Choice]:
    """Return the stack that a run would use now, and what decided.

    ``explicit`` is named for the run, ``flow`` by its decorator. The store is not opened when another source decides
    for ``local``. Raises NotFoundError ``stack.not_found``, naming the source that asked for a stack that is not there.
    """

    def saved() -> str | None:
        with (database or local()).reading() as connection:
            return _saved(connection)

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
        saved_settings.put(connection, saved_settings.CURRENT_STACK, entry.stack.name)
    return entry, config.choose_stack(saved=lambda: entry.stack.name)


def delete(name: str, *, force: bool = False, database: Database | None = None) -> Deleted:
    """Forget a stack; nothing in AWS and no stored run is touched.

    Raises ConflictError ``stack.is_local`` for ``local`` and ``stack.is_current`` for the saved current stack without
    ``force`` (with it, ``local`` becomes current), NotFoundError ``stack.not_found``.
    """
    database = database or local()
    entry = find(name, database=database)
    if entry.stack.name == LOCAL:
        raise ConflictError(
            "stack.is_local",
            "The stack 'local' is always there and cannot be deleted.",
            next_step="Run `clary stack use NAME` to make another stack the current one.",
        )
    with database.transaction() as connection:
        is_current = _saved(connection) == entry.stack.name
        if is_current and not force:
            raise ConflictError(
                "stack.is_current",
                f"The stack {entry.stack.name!r} is the current one.",
                next_step=f"Run `clary stack use local` first, or `clary stack delete {entry.stack.name} --force`.",
            )
        if not rows.remove(connection, entry.stack.name):
            raise _not_found(name, [LOCAL])
        if is_current:
            saved_settings.put(connection, saved_settings.CURRENT_STACK, LOCAL)
    return Deleted(entry, LOCAL if is_current else None)


def _local() -> Entry:
    return Entry(LOCAL, local_stack(str(_local_folder())), managed=False)


def _local_folder() -> Path:
    return config.home() / "local"


def _entry(row: rows.StackRow) -> Entry:
    known = {name: value for name, value in row.document.items() if name in _FIELDS}
    return Entry(row.id, Stack(**known), managed=True, created=row.created)


def _saved(connection: Connection) -> str | None:
    return saved_settings.get(connection, saved_settings.CURRENT_STACK)


def _refuse_taken(connection: Connection, name: str) -> None:
    if rows.get(connection, name) is not None:
        raise ConflictError(
            "stack.name_taken",
            f"There is a stack {name!r} already.",
            next_step=f"Run `clary stack use {name}` to use it, `clary stack delete {name}` to drop it, or choose "
            "another name.",
            field="name",
        )


def _not_found(name: str, names: list[str]) -> ClaryError:
    if name == SANDBOX:
        step = "Run `clary sandbox start --detach`: it starts the local SageMaker and makes this stack."
    elif meant := nearest(name, names):
        step = f"Did you mean {meant!r}? `clary stack list` shows every stack."
    else:
        step = "`clary stack list` shows every stack, `clary stack create` makes one."
    return NotFoundError("stack.not_found", f"There is no stack {name!r}.", next_step=step, details={"stack": name})
