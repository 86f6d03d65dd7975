"""Projects on this machine whose requirements only their backend can tell, from whatever files it reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from clary.images.packages import projects, requirement_files
from clary.images.packages.documents import pyproject, strings, table
from clary.images.packages.sources import Kind

if TYPE_CHECKING:
    from clary.images.packages.sources import Source

_COMPUTED = ("dependencies", "optional-dependencies")
_EDITABLE = re.compile(r"(?:-e|--editable)[ =]*")
_BEFORE_URL = re.compile(r"[\w.-]+\s*(?:\[[^\]]*\])?\s*@\s*")
_AFTER_PATH = re.compile(r"\s*(?:#.*|\s;.*|\[[^\]]*\])$")


def deciding_files(folder: Path) -> list[Path]:
    """Return what decides a project's requirements beside its metadata files: nothing where these say it all.

    Else the files that the table of setuptools names; the whole folder where a backend may read anything.
    """
    document = pyproject(folder)
    computed = [field for field in _COMPUTED if projects.is_dynamic(document, field)]
    if table(document, "project") and not computed:
        return []
    dynamic = table(document, "tool", "setuptools", "dynamic")
    named = [folder / name for field in computed for name in _file_names(dynamic.get(field))]
    all_named = all(field in dynamic for field in computed) and not (folder / "setup.py").exists()
    return named if named and all_named and all(file.is_file() for file in named) else [folder]


def refreshing(source: Source) -> list[str]:
    """Return options of uv for projects that are named by a path: it remembers what backends said for too long."""
    options: list[str] = []
    for folder in _folders(source):
        if deciding_files(folder):
            name = table(pyproject(folder), "project").get("name")
            options += ["--refresh-package", name] if isinstance(name, str) else ["--refresh"]
    return options


def _file_names(said: Any) -> Iterator[str]:
    """Yield the files in a table such as ``{file = ["a.in"]}``, or in one of such tables by extra."""
    if not isinstance(said, Mapping):
        return
    if "file" in said:
        yield from [said["file"]] if isinstance(said["file"], str) else strings(said["file"])
        return
    for one in said.values():
        yield from _file_names(one)


def _folders(source: Source) -> Iterator[Path]:
    """Yield the folders of projects that a source names."""
    if source.kind is Kind.PYPROJECT:
        yield source.folder
        lines = []
    elif source.kind is Kind.REQUIREMENTS and source.file is not None:
        lines = requirement_files.read(source.file).lines
    else:
        lines = list(source.listed)
    for line in lines:
        place = _AFTER_PATH.sub("", _BEFORE_URL.sub("", _EDITABLE.sub("", line), count=1))
        path = unquote(urlsplit(place).path) if place.startswith("file:") else place
        if place.startswith((".", "/", "file:")) and (source.folder / path).is_dir():
            yield source.folder / path
