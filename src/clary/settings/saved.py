"""What a person has saved on this machine by ``clary config set``; the saved stack is ``clary.stacks.service``'s."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from clary.control import settings as rows
from clary.control.database import Database, local
from clary.errors import NotFoundError, UsageError, nearest
from clary.settings.options import OPTIONS, checked

if TYPE_CHECKING:
    from clary.control.database import Connection

_ROW = "config"


def load(database: Database | None = None) -> dict[str, Any]:
    """Return the saved options by name, and the job settings under ``settings``."""
    with (database or local()).reading() as connection:
        return _read(connection)


def put(name: str, value: Any, *, database: Database | None = None) -> str:
    """Save an option, or a job setting by its path (``instance_type``, ``tags.team``), and return the name it goes by.

    Raises UsageError ``config.unknown_name``, ConfigError ``config.wrong_type``, ValidationError ``settings.invalid``;
    nothing is saved then.
    """
    if name in OPTIONS:
        path, value = [name], checked(name, value, f"`clary config set {name}`")
    else:
        path, value = _setting(name, value)
        path = ["settings", *path]
    with (database or local()).transaction() as connection:
        kept = _read(connection)
        inside = kept
        for step in path[:-1]:
            below = inside.get(step)
            inside[step] = inside = below if isinstance(below, dict) else {}
        inside[path[-1]] = value
        rows.put(connection, _ROW, json.dumps(kept))
    return ".".join(path[1:] or path)


def remove(name: str, *, database: Database | None = None) -> None:
    """Forget a saved option or job setting; raises NotFoundError ``config.not_saved``, with the nearest that is."""
    with (database or local()).transaction() as connection:
        kept = _read(connection)
        path = [name] if name in OPTIONS else ["settings", *name.split(".")]
        if not _drop(kept, path):
            names = list(flat(kept))
            meant = nearest(name, names)
            step = f"Did you mean {meant}?" if meant else f"Saved are: {', '.join(names) or 'none'}."
            raise NotFoundError("config.not_saved", f"Nothing is saved for {name!r}.", next_step=step, field="name")
        rows.put(connection, _ROW, json.dumps(kept))


def flat(kept: dict[str, Any]) -> dict[str, Any]:
    """Return saved values by the names that people give them: ``image``, ``tags.team``."""
    found = {name: value for name, value in kept.items() if name != "settings"}
    for name, value in kept.get("settings", {}).items():
        found.update(_leaves(name, value))
    return found


def _leaves(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {name: value}
    return {key: one for member, below in value.items() for key, one in _leaves(f"{name}.{member}", below).items()}


def _setting(name: str, value: Any) -> tuple[list[str], Any]:
    """Return the path of a job setting, under its canonical name, and its value, checked as far as it can be alone."""
    from clary.sagemaker import aliases, settings
    from clary.sagemaker.findings import errors_of

    first, *rest = name.split(".")
    known = (*OPTIONS, *aliases.spellings())
    if first.replace("-", "_") not in known or not all((first, *rest)):
        meant = nearest(first, known)
        raise UsageError(
            "config.unknown_name",
            f"{name!r} is neither an option nor a job setting.",
            next_step=f"Did you mean {meant!r}?" if meant else "`clary config show` lists all names.",
            field="name",
        )
    nested = value
    for step in reversed(rest):
        nested = {step: nested}
    if errors := errors_of(settings.validate({first: nested})):
        raise settings.refusal(errors)
    if not rest:
        ours, _ = aliases.canonical({first: value}, "")
        if len(ours) == 1:
            first, value = next(iter(ours.items()))
    return [first.replace("-", "_"), *rest], value


def _drop(kept: dict[str, Any], path: list[str]) -> bool:
    inside: Any = kept
    for step in path[:-1]:
        inside = inside.get(step) if isinstance(inside, dict) else None
    if not isinstance(inside, dict) or path[-1] not in inside:
        return False
    del inside[path[-1]]
    if not inside and len(path) > 1:
        _drop(kept, path[:-1])
    return True


def _read(connection: Connection) -> dict[str, Any]:
    text = rows.get(connection, _ROW)
    kept: dict[str, Any] = json.loads(text) if text else {}
    return kept
