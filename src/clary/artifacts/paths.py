"""Which paths stand for what lies there, and which are only names of places."""

from __future__ import annotations

import stat
import tempfile
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_only_names: ContextVar[bool] = ContextVar("clary_paths_only_names", default=False)


@contextmanager
def only_names() -> Iterator[None]:
    """Keep every path as its text in this block, whatever lies there."""
    token = _only_names.set(True)
    try:
        yield
    finally:
        _only_names.reset(token)


def has_content(path: Path) -> bool:
    """Tell whether a path that is kept as a value is kept with what lies there: a file, or a folder.

    A folder that holds the current one, the home or the temporary files is a place, not a value; so are devices, and
    paths where nothing is. Raises SerializationError (``value.special_file``) for a pipe or a socket.
    """
    if _only_names.get():
        return False
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode):
        return True
    if stat.S_ISDIR(mode):
        return not _is_place(path)
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise special(path, mode)
    return False


def special(path: Path, mode: int) -> SerializationError:
    """Return the error for what lies in the file system and is no file and no folder."""
    kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    kind = kinds.get(stat.S_IFMT(mode), "device")
    return SerializationError(
        "value.special_file",
        f"{path} is a {kind}; only files and folders can be kept.",
        next_step="Remove it from the folder, or put a copy of what it stands for in its place.",
        details={"path": str(path), "kind": kind},
    )


def _is_place(path: Path) -> bool:
    held = path.resolve()
    try:
        inside = [Path.cwd(), Path.home(), Path(tempfile.gettempdir()).resolve()]
    except (OSError, RuntimeError):
        return True  # the current folder is gone, or nobody's home is known: rather the path than the whole disk
    return any(place.is_relative_to(held) for place in inside)
