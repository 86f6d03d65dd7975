"""Looking into a request whose form nobody has promised, and saying what a rule found there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clary.sagemaker.findings import Finding, Severity, shown


def section(request: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return the object under ``names``, or an empty one when there is none of that form."""
    inner: Any = request
    for name in names:
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def items(holder: Mapping[str, Any], name: str) -> Sequence[Any]:
    """Return the list under ``name``, or an empty one."""
    inner = holder.get(name)
    return inner if isinstance(inner, (list, tuple)) else ()


def objects(holder: Mapping[str, Any], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (index, object) for the objects in the list under ``name``."""
    for index, inner in enumerate(items(holder, name)):
        if isinstance(inner, Mapping):
            yield index, inner


def number(holder: Mapping[str, Any], name: str) -> int | None:
    """Return the whole number under ``name``, or None."""
    inner = holder.get(name)
    return inner if isinstance(inner, int) and not isinstance(inner, bool) else None


def text(holder: Mapping[str, Any], name: str) -> str | None:
    """Return the text under ``name``, or None."""
    inner = holder.get(name)
    return inner if isinstance(inner, str) else None


def broken(path: str, value: Any, *, limit: str, message: str, next_step: str) -> Finding:
    """Return the finding of a rule that the service enforces too."""
    name = path.rpartition(".")[2]
    return Finding(path, shown(value, name=name), limit, message, next_step, service_text=message)


def doubtful(path: str, value: Any, *, limit: str, message: str, next_step: str) -> Finding:
    """Return the warning of a rule: allowed, but likely not what is meant."""
    name = path.rpartition(".")[2]
    return Finding(path, shown(value, name=name), limit, message, next_step, severity=Severity.WARNING)


def demanded(path: str, *, why: str, next_step: str) -> Finding:
    """Return the finding for a member that the model calls optional and the service needs all the same."""
    return broken(path, None, limit="required in practice", message=f"{path} is missing: {why}", next_step=next_step)


def repeated(path: str, holder: Mapping[str, Any], name: str, member: str) -> Iterator[Finding]:
    """Yield a finding for every object in the list ``name`` whose ``member`` an earlier one has already."""
    seen: set[str] = set()
    for index, inner in objects(holder, name):
        value = text(inner, member)
        if value is None:
            continue
        if value in seen:
            where = f"{path}[{index}].{member}"
            yield broken(
                where,
                value,
                limit=f"every {member} once",
                message=f"{where} repeats the {member} '{shown(value)}'.",
                next_step=f"Give each entry of {path} a {member} of its own.",
            )
        seen.add(value)
