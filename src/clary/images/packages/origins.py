"""One requirement as a project writes it and as a uv.lock says it: name, extras, and versions or another origin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from clary.images.packages.documents import strings
from clary.images.packages.indexes import split_login
from clary.images.packages.requirement_files import normalized
from clary.images.packages.targets import holds

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.specifiers import SpecifierSet

LOCAL = frozenset({"virtual", "editable", "directory"})
"""The keys by which a uv.lock names a folder."""
_REVISIONS = ("rev", "tag", "branch")


@dataclass(frozen=True)
class Origin:
    """Where a requirement comes from: an index, where the versions count, or one place."""

    kind: str
    """``index``, ``url``, ``git`` or ``path``."""
    place: str | None = None
    """None where it may be any."""


INDEX = Origin("index")


@dataclass(frozen=True)
class Need:
    """One requirement."""

    text: str
    name: str
    extras: frozenset[str]
    versions: SpecifierSet
    origin: Origin | None
    """None where it cannot be told: then any is right."""

    def is_met_by(self, row: Need) -> bool:
        """Tell whether a row of a lock is of this requirement."""
        if (self.name, self.extras) != (row.name, row.extras):
            return False
        if self.origin is None or row.origin is None:
            return True
        if self.origin.kind != row.origin.kind:
            return False
        if self.origin == INDEX:
            return self.versions == row.versions
        return None in (self.origin.place, row.origin.place) or self.origin.place == row.origin.place


class Origins:
    """Where a project's requirements come from, by its ``[tool.uv.sources]``, and by those of its workspace's root."""

    def __init__(self, environment: Mapping[str, Any], *, exact: bool, without_sources: bool) -> None:
        self._environment = environment
        self._exact = exact
        self._without_sources = without_sources
        self._found: dict[str, tuple[Any, Path]] = {}

    def add(self, sources: Mapping[str, Any], folder: Path) -> None:
        """Take in a table of sources, over those before; its paths are meant from ``folder``."""
        self._found |= {normalized(name): (source, folder) for name, source in sources.items()}

    def of(self, name: str) -> Origin | None:
        """Return the origin of what is required by its name alone."""
        source, folder = self._found.get(name, (None, Path()))
        if not self._exact or (source is not None and self._without_sources):
            return None
        if source is None:
            return INDEX
        if isinstance(source, dict) and not _conditions(source):
            return _of_source(source, folder)
        rows = source if isinstance(source, list) else [source]
        return self._of_several([row for row in rows if isinstance(row, dict)], folder)

    def of_url(self, url: str) -> Origin | None:
        """Return the origin of what is required by its URL."""
        if not self._exact or "$" in url:
            return None
        kind, _, rest = url.partition("+")
        if kind == "git":
            before, mark, revision = rest.rpartition("@")
            has_revision = bool(mark) and "/" in before.partition("://")[2]
            return Origin("git", _repository(before if has_revision else rest, revision if has_revision else None))
        parts = urlsplit(url)
        if parts.scheme == "file":
            return Origin("path", _real(Path(unquote(parts.path))))
        return Origin("url", _bare(url)) if parts.scheme in ("http", "https") else None

    def _of_several(self, rows: list[dict[str, Any]], folder: Path) -> Origin | None:
        """Return the origin by the row whose marker holds; none is certain where extras and groups choose."""
        if any("extra" in row or "group" in row for row in rows):
            return None
        fitting = [row for row in rows if holds(_marker(row.get("marker")), self._environment, doubtful=True)]
        if len(fitting) > 1:
            return None
        return _of_source(fitting[0], folder) if fitting else INDEX


def of_text(text: str, environment: Mapping[str, Any], origins: Origins) -> Need | None:
    """Return a requirement as it is written; None where its marker rules it out, or only uv can tell what it says."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        read = Requirement(text)
    except InvalidRequirement:
        return None
    if not holds(read.marker, environment, doubtful=False):
        return None
    name = normalized(read.name)
    origin = origins.of_url(read.url) if read.url else origins.of(name)
    return Need(text, name, frozenset(map(normalized, read.extras)), read.specifier, origin)


def of_row(row: Mapping[str, Any], environment: Mapping[str, Any], root: Path) -> Need | None:
    """Return a requirement as a lock in the folder ``root`` says it; None where its marker rules it out."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    name, extras = normalized(str(row.get("name"))), frozenset(map(normalized, strings(row.get("extras"))))
    if not holds(_marker(row.get("marker")), environment, doubtful=True):
        return None
    try:
        versions = SpecifierSet(str(row.get("specifier", "")))
    except InvalidSpecifier:
        return Need(name, name, extras, SpecifierSet(), None)
    return Need(name, name, extras, versions, _of_row(row, root))


def _of_row(row: Mapping[str, Any], root: Path) -> Origin:
    if "git" in row:
        parts = urlsplit(str(row["git"]))
        queried = parse_qs(parts.query)
        revision = next((queried[one][0] for one in _REVISIONS if one in queried), None)
        return Origin("git", _repository(str(row["git"]), revision))
    if "url" in row:
        return Origin("url", _bare(str(row["url"])))
    place = next((str(row[key]) for key in (*LOCAL, "path") if key in row), None)
    return INDEX if place is None else Origin("path", _real(root / place))


def _of_source(source: Mapping[str, Any], folder: Path) -> Origin | None:
    """Return the origin that one row of ``[tool.uv.sources]`` gives."""
    if "index" in source:
        return INDEX
    if source.get("workspace"):
        return Origin("path")
    if "path" in source:
        path = str(source["path"])
        return Origin("path", None if "$" in path else _real(folder / path))
    if "git" in source:
        revision = next((str(source[one]) for one in _REVISIONS if one in source), None)
        return Origin("git", _repository(str(source["git"]), revision))
    return Origin("url", _bare(str(source["url"]))) if "url" in source else None


def _conditions(source: Mapping[str, Any]) -> set[str]:
    return {"marker", "extra", "group"} & source.keys()


def _marker(text: Any) -> Marker | None:
    from packaging.markers import InvalidMarker, Marker

    try:
        return Marker(str(text)) if text else None
    except InvalidMarker:
        return None


def _bare(url: str) -> str:
    """Return a URL as it is compared: without a login and what stands behind the path."""
    return unquote(urlunsplit((*urlsplit(split_login(url)[0])[:3], "", "")))


def _repository(url: str, revision: str | None) -> str:
    return f"{_bare(url).removesuffix('.git').rstrip('/')}@{revision or ''}"


def _real(path: Path) -> str:
    return os.path.realpath(path)
