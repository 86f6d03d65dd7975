"""Names of files in wheels: which are safe to use. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from clary.images.wheels.problems import Problem

_LONGEST_PART = 255
"""Bytes of a file's name on Linux file systems (NAME_MAX)."""
_LONGEST = 2048
"""Bytes of a path: half of Linux's PATH_MAX, since the environment's own path comes before it."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")


def folders_of(paths: Iterable[str]) -> set[str]:
    """Return every folder that lies above one of these relative paths."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def check_name(name: str) -> None:
    """Raise Problem for a path that is not plainly below the folder that it is meant in."""
    if _CONTROL.search(name):
        raise Problem("its name holds control characters", name)
    if "\\" in name:
        raise Problem("its name holds a backslash", name)
    if name.startswith("/") or _DRIVE.match(name):
        raise Problem("its path is absolute", name)
    parts = name.split("/")
    if ".." in parts:
        raise Problem("its path leads out of the wheel", name)
    if "" in parts or "." in parts:
        raise Problem("its path is not in its plain form", name)
    length = len(name.encode())
    if length > _LONGEST or (length > _LONGEST_PART and max(len(part.encode()) for part in parts) > _LONGEST_PART):
        raise Problem("its name is too long", name[:100])
