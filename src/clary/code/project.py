"""Which folder is the project of a flow's file: the tree whose source travels with a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MARKERS = ("pyproject.toml", "setup.py", ".clary", ".git")
"""A folder that holds one of these is a project's root."""


@dataclass(frozen=True)
class Project:
    """A project, and the file in it that holds the flow."""

    root: Path
    entry: str
    """The flow's file, relative to ``root``, with ``/``."""


def find_project(file: Path) -> Project:
    """Return the project of a file: the nearest folder above it with one of ``MARKERS``, else the file's own folder.

    The home folder and the top of the file system are no projects, whatever lies there: a stray marker in them must not
    send everything a person owns.
    """
    file = file.resolve()
    root = next((folder for folder in file.parents if _is_root(folder)), file.parent)
    return Project(root=root, entry=file.relative_to(root).as_posix())


def _is_root(folder: Path) -> bool:
    if folder == folder.parent or folder == _home():
        return False
    return any((folder / marker).exists() for marker in MARKERS)


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except RuntimeError:  # no home is known
        return None
