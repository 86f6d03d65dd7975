"""Whether a uv.lock still knows what its project asks for: exported as it is (``--frozen``), an outgrown one is silent.

``uv lock --check`` is no help: it also refuses a lock that was made with another index, such as a company's mirror.
What counts is that the image would lack something: a requirement that no row of the lock is of. Wherever uv might see
it otherwise, the lock is taken to be fresh.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.images.packages import projects, targets
from clary.images.packages.documents import pyproject, strings, table, toml
from clary.images.packages.origins import LOCAL, Need, Origins, of_row, of_text
from clary.images.packages.requirement_files import normalized
from clary.images.packages.sources import project_file
from clary.images.packages.uv_failures import lock_outdated

if TYPE_CHECKING:
    from clary.errors import ClaryError
    from clary.images.building import Python
    from clary.images.packages.sources import Source

NO_SOURCES = frozenset({"UV_NO_SOURCES", "UV_NO_SOURCES_PACKAGE"})
"""Variables by which uv leaves ``[tool.uv.sources]`` out of account."""
_OUTGROWN = re.compile(
    r"--frozen` was provided: Missing workspace (?P<member>member `[^`]+`)|"
    r"(?P<choice>(?:Extra|Group) `[^`]+`) is not defined in the "
)


def check(source: Source, python: Python, environment: Mapping[str, str]) -> None:
    """Refuse a lock that lacks a requirement which its project, or a local package of it, names by now.

    What nothing names any more is no reason: it does no harm in an image. Raises ConfigError ``image.lock_outdated``;
    ``image.bad_toml``.
    """
    assert source.file is not None
    lock, file = toml(source.file), project_file(source)
    if _allows(lock.get("requires-python"), python):  # of others, which the export is refused for, it may know less
        _Comparison(source, lock, python, environment).project(toml(file), file)


def outgrown(stderr: str, source: Source) -> ClaryError | None:
    """Return the error for an export that failed because the lock lacks an extra, a group or a member; else None."""
    found = _OUTGROWN.search(stderr)
    if found is None:
        return None
    lacking = found["member"] or f"the {found['choice'][0].lower()}{found['choice'][1:]}"
    return lock_outdated(str(source), "pyproject.toml", lacking.replace("`", ""))


def _allows(required: Any, python: Python) -> bool:
    """Tell whether a ``requires-python`` allows a Python; one that cannot be read does not."""
    from packaging.specifiers import InvalidSpecifier

    try:
        return targets.is_allowed(python, str(required or ""))
    except InvalidSpecifier:
        return False


class _Comparison:
    """Holds what projects ask for against a lock."""

    def __init__(self, source: Source, lock: Mapping[str, Any], python: Python, environment: Mapping[str, str]) -> None:
        self._source = source
        self._root = source.folder
        self._python = python
        self._environment = targets.marker_environment(python)
        self._settings = table(toml(self._root / "pyproject.toml"), "tool", "uv")
        self._without_sources = bool(NO_SOURCES & environment.keys()) or bool(
            {"no-sources", "no-sources-package"} & self._settings.keys()
        )
        self._manifest = table(lock, "manifest")
        self._packages = {str(row.get("name")): row for row in _rows(lock, "package") if _folder(row) is not None}
        self._seen: set[tuple[str, frozenset[str]]] = set()

    def project(self, document: Mapping[str, Any], file: Path) -> None:
        """Compare the project with its extras and groups, and the local packages that it needs."""
        name = normalized(str(table(document, "project").get("name", "")))
        if not name:
            self._workspace(document, file)
            return
        if name not in self._packages:
            raise lock_outdated(str(self._source), file.name, f"the project {name}")
        self._package(name, document, file, self._source.extras, self._groups(document))

    def _workspace(self, document: Mapping[str, Any], file: Path) -> None:
        """Compare the groups of a root that is no project itself, and all members."""
        groups = self._groups(document)
        asked = [one for group in groups for one in projects.of_group(document, group)]
        rows = [row for group in groups for row in _rows(table(self._manifest, "dependency-groups"), normalized(group))]
        wanted = self._named(asked, "", self._origins(document, file.parent, exact=True))
        self._hold(wanted, self._locked(rows, ""), file)
        for member in strings(self._manifest.get("members")):
            self._local(member, frozenset())

    def _groups(self, document: Mapping[str, Any]) -> Sequence[str]:
        """Return the groups that are compared: none where some are for other Pythons than this one."""
        settings = table(document, "tool", "uv", "dependency-groups")
        required = [table(settings, name).get("requires-python") for name in settings]
        return self._source.groups if all(_allows(one, self._python) for one in required) else ()

    def _package(
        self, name: str, document: Mapping[str, Any], file: Path, extras: Iterable[str], groups: Iterable[str]
    ) -> None:
        row = self._packages[name]
        members = strings(self._manifest.get("members"))
        origins = self._origins(document, file.parent, exact=name in members or file == project_file(self._source))
        listed = _rows(table(row, "metadata"), "requires-dist")
        grouped = [one for group in groups for one in _rows(table(row, "metadata", "requires-dev"), normalized(group))]

        def written(extra: str) -> Iterator[Need]:
            if not projects.is_dynamic(document, "optional-dependencies" if extra else "dependencies"):
                texts = projects.of_extra(document, extra) if extra else projects.required(document)
                yield from self._named(texts, extra, origins)
            for group in () if extra else groups:
                yield from self._named(projects.of_group(document, group), "", origins)

        def locked(extra: str) -> Iterator[Need]:
            yield from self._locked(listed, extra)
            yield from self._locked(grouped, "")

        wanted = _with_extras(name, extras, written)
        self._hold(wanted, _with_extras(name, extras, locked), file)
        for one in wanted:
            self._local(one.name, one.extras)

    def _local(self, name: str, extras: frozenset[str]) -> None:
        """Compare a package of the lock whose project lies on this machine, and those that it needs in turn."""
        folder = _folder(self._packages.get(name, {}))
        told = {normalized(str(row.get("name"))) for row in _rows(self._settings, "dependency-metadata")}
        if folder is None or name in told or (name, extras) in self._seen:
            return
        self._seen.add((name, extras))
        file = self._root / folder / "pyproject.toml"
        document = pyproject(file.parent)
        if normalized(str(table(document, "project").get("name", ""))) == name:
            self._package(name, document, file, extras, ())

    def _origins(self, document: Mapping[str, Any], folder: Path, *, exact: bool) -> Origins:
        """Return where requirements of a project come from. ``exact`` is one of the lock's own workspace."""
        origins = Origins(self._environment, exact=exact, without_sources=self._without_sources)
        origins.add(table(self._settings, "sources") if exact else {}, self._root)
        origins.add(table(document, "tool", "uv", "sources"), folder)
        return origins

    def _named(self, texts: Iterable[str], extra: str, origins: Origins) -> Iterator[Need]:
        for text in texts:
            if (need := of_text(text, {**self._environment, "extra": extra}, origins)) is not None:
                yield need

    def _locked(self, rows: Iterable[Mapping[str, Any]], extra: str) -> Iterator[Need]:
        for row in rows:
            if (need := of_row(row, {**self._environment, "extra": extra}, self._root)) is not None:
                yield need

    def _hold(self, wanted: Iterable[Need], known: Iterable[Need], file: Path) -> None:
        rows = list(known)
        missing = [one.text for one in wanted if not any(one.is_met_by(row) for row in rows)]
        if missing:
            inside = file.is_relative_to(self._root)
            shown = file.relative_to(self._root).as_posix() if inside else str(file)
            raise lock_outdated(str(self._source), shown, ", ".join(dict.fromkeys(missing)))


def _with_extras(own: str, extras: Iterable[str], named: Callable[[str], Iterable[Need]]) -> list[Need]:
    """Return what a package needs with extras, and with those which it asks of itself (``mine[all]``)."""
    found: list[Need] = []
    left, done = ["", *map(normalized, extras)], set()
    while left:
        extra = left.pop()
        if extra in done:
            continue
        done.add(extra)
        for one in named(extra):
            if one.name == own:
                left += one.extras
            else:
                found.append(one)
    return found


def _folder(package: Mapping[str, Any]) -> str | None:
    """Return the folder of a lock's package, meant from the lock's; None for what comes from elsewhere."""
    return next((str(place) for kind, place in table(package, "source").items() if kind in LOCAL), None)


def _rows(of: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = of.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
