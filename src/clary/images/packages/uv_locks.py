"""Whether a uv.lock still knows what its project asks for: exported as it is (``--frozen``), an outgrown one is silent.

``uv lock --check`` is no help: it also refuses a lock that was made with another index, such as a company's mirror.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError
from clary.images.packages.documents import FIELD, strings, table, toml
from clary.images.packages.requirement_files import normalized, required_name
from clary.images.packages.sources import Kind, project_file

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from clary.images.packages.sources import Source

_OWN_SOURCES = frozenset({"virtual", "editable", "directory"})


def check(source: Source) -> None:
    """Refuse a lock that lacks a requirement which its project names by now, or names otherwise.

    What the project no longer names is no reason: it does no harm in an image. Markers are not compared, for uv writes
    them anew. Raises ConfigError ``image.lock_outdated``; ``image.bad_toml``.
    """
    assert source.file is not None
    project = replace(source, kind=Kind.PYPROJECT, file=project_file(source))
    document = toml(project_file(source))
    own = _own(toml(source.file), str(table(document, "project").get("name", "")))
    if own is None:
        return
    rows = _rows(table(own, "metadata"), "requires-dist")
    for group in source.groups:
        rows += _rows(table(own, "metadata", "requires-dev"), group)
    free = {normalized(name) for name in table(document, "tool", "uv", "sources")}
    # An extra names others as extras of the project itself.
    missing = [one for one in _missing(project.asked(), rows, free) if required_name(one) != own["name"]]
    if missing:
        raise ConfigError(
            "image.lock_outdated",
            f"{source} is older than pyproject.toml: it does not know {', '.join(dict.fromkeys(missing))}.",
            next_step="Run `uv lock`.",
            field=FIELD,
        )


def _own(lock: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return what a lock says of the project itself."""
    for row in _rows(lock, "package"):
        if row.get("name") == normalized(name) and _OWN_SOURCES & table(row, "source").keys():
            return row
    return None


def _rows(of: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = of.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _missing(named: Iterable[str], rows: Iterable[Mapping[str, Any]], free: set[str]) -> list[str]:
    """Return the requirements that no row has; of names in ``free`` any row is one."""
    from packaging.requirements import InvalidRequirement, Requirement

    known = [one for row in rows if (one := _of_row(row)) is not None]
    missing = []
    for text in named:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue  # uv says what is wrong with it
        any_version = normalized(wanted.name) in free or wanted.url is not None
        if not any(_same(wanted, one, any_version) for one in known):
            missing.append(text)
    return missing


def _of_row(row: Mapping[str, Any]) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    extras = ",".join(strings(row.get("extras")))
    text = f"{row.get('name')}[{extras}]{row.get('specifier', '')}"
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _same(wanted: Requirement, known: Requirement, any_version: bool) -> bool:
    names = normalized(wanted.name) == normalized(known.name)
    extras = {normalized(one) for one in wanted.extras} == {normalized(one) for one in known.extras}
    return names and extras and (any_version or wanted.specifier == known.specifier)
