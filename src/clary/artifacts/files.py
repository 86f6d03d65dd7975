"""Files and folders, given by their paths: streamed into the store, and back to a place of this process's own.

A file is its bytes, name and mode. A folder is a list of its files, each kept under its own digest, so that what two
folders share is stored once. What comes back lies in a new folder each time, which is removed when the process ends.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from clary.artifacts import paths
from clary.artifacts.content import Memory, OfFile
from clary.artifacts.storing import Source, address, keep

if TYPE_CHECKING:
    from clary.artifacts.content import Content
    from clary.objects import ObjectStore

_INLINE = 1024
"""Bytes of a folder's file that stand in its list itself."""
_AT_ONCE = 8
"""Files of a folder that are stored or read at once."""
_MODES = 0o777
"""Of a mode, what is kept: no set-id bits out of a store."""


class FileCodec:
    """A path at which a file lies."""

    name = "file"
    runs_code = False
    ending = ""

    def takes(self, value: Any) -> bool:
        """Tell whether it is such a path."""
        return isinstance(value, Path) and paths.has_content(value) and value.is_file()

    def write(self, value: Path, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Return the file's bytes."""
        return OfFile(value), {"name": value.resolve().name, "mode": value.stat().st_mode & _MODES}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:
        """Write the file to a place of its own and return its path."""
        target = scratch() / _safe_name(meta["name"])
        source.save(target)
        target.chmod(int(meta["mode"]) & _MODES)
        _originals.remember(target, _file_mark(meta, address(source.kept)))
        return target

    def mark(self, value: Path, kept: dict[str, Any] | None) -> str | None:
        """Return the digest of name, mode and bytes of a file that is kept; of another path that of its text."""
        if kept is not None:
            return _originals.remember(value, _file_mark(kept["m"], address(kept)))
        return _originals.mark(value)


class FolderCodec:
    """A path at which a folder lies."""

    name = "folder"
    runs_code = False
    ending = ""

    def takes(self, value: Any) -> bool:
        """Tell whether it is such a path."""
        return isinstance(value, Path) and paths.has_content(value) and value.is_dir()

    def write(self, value: Path, store: ObjectStore) -> tuple[Content, dict[str, Any]]:
        """Store the folder's files and return their list."""
        found = _walk(value)

        def row(item: tuple[str, Path, int]) -> list[Any]:
            name, path, mode = item
            return [name, mode & _MODES, None if stat.S_ISDIR(mode) else keep(OfFile(path), store, _INLINE)]

        if store.immediate or len(found) < 2:
            rows = [row(item) for item in found]
        else:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="clary-files") as pool:
                rows = list(pool.map(row, found))
        size = sum(path.stat().st_size for _, path, mode in found if not stat.S_ISDIR(mode))
        meta = {"name": value.resolve().name, "mode": value.stat().st_mode & _MODES}
        listed = json.dumps(rows, separators=(",", ":")).encode()
        return Memory(listed), {**meta, "files": sum(row[2] is not None for row in rows), "bytes": size}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:
        """Write the folder to a place of its own and return its path."""
        target = scratch() / _safe_name(meta["name"])
        unpack(source, meta, target)
        _originals.remember(target, _file_mark(meta, address(source.kept)))
        return target

    def mark(self, value: Path, kept: dict[str, Any] | None) -> str | None:
        """Return the digest of a folder that is kept; of another path that of its text."""
        if kept is not None:
            return _originals.remember(value, _file_mark(kept["m"], address(kept)))
        return _originals.mark(value)


FILE, FOLDER = FileCodec(), FolderCodec()
CODECS = (FILE, FOLDER)


def unpack(source: Source, meta: dict[str, Any], target: Path) -> None:
    """Write a kept folder's files below ``target``, which must not exist; raises ValueError for names that lead out."""
    rows = json.loads(source.all())
    target.mkdir()
    modes = [(target, int(meta["mode"]))]
    for name, mode, kept in rows:
        path = target / _inside(name)
        if kept is None:
            path.mkdir()
            modes.append((path, int(mode)))
    files = [(target / _inside(name), int(mode), kept) for name, mode, kept in rows if kept is not None]

    def write(item: tuple[Path, int, dict[str, Any]]) -> None:
        path, mode, kept = item
        Source(kept, source.store).save(path)
        path.chmod(mode & _MODES)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="clary-files") as pool:
        list(pool.map(write, files))
    for path, mode in reversed(modes):  # the innermost first: a folder may be read-only
        path.chmod(mode & _MODES)


def scratch() -> Path:
    """Return a new folder of this process's own, for its owner only; it is removed when the process ends."""
    with _scratch_lock:
        if not _scratch or _scratch[0] != (os.getpid(),):
            base = Path(tempfile.mkdtemp(prefix="clary-values-"))
            atexit.register(_remove, base, os.getpid())
            _scratch[:] = [(os.getpid(),), base]
        return Path(tempfile.mkdtemp(dir=_scratch[1]))


_scratch: list[Any] = []
_scratch_lock = threading.Lock()


def _remove(base: Path, process: int) -> None:
    if os.getpid() != process:
        return
    for folder, _, _ in os.walk(base):
        Path(folder).chmod(0o700)  # one that was kept read-only
    shutil.rmtree(base, ignore_errors=True)


def _walk(top: Path) -> list[tuple[str, Path, int]]:
    """Return (name, path, mode) of all below a folder, folders before what they hold, in order.

    Raises SerializationError (``value.special_file``).
    """
    found: list[tuple[str, Path, int]] = []
    waiting = [top]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise paths.special(path, mode)
            found.append((path.relative_to(top).as_posix(), path, mode))
            if stat.S_ISDIR(mode):
                waiting.append(path)
    return sorted(found)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise ValueError(f"{name!r} leads out of the folder")
    return path


def _safe_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file")
    return name


def _file_mark(meta: dict[str, Any], digest: str) -> str:
    return hashlib.sha256(json.dumps([meta["name"], meta["mode"], digest]).encode()).hexdigest()


class _Originals:
    """Paths whose content this process has kept or read back, as long as nothing there has been touched since."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[str, str]] = {}

    def remember(self, path: Path, mark: str) -> str:
        self._marks[str(path)] = (mark, _stamp(path))
        return mark

    def mark(self, path: Path) -> str:
        known = self._marks.get(str(path))
        if known is not None and known[1] == _stamp(path):
            return known[0]
        return hashlib.sha256(b"path " + os.fsencode(path)).hexdigest()


_originals = _Originals()


def _stamp(path: Path) -> str:
    """Return what changes when something is written there."""
    hashed = hashlib.sha256()
    below = _walk(path) if path.is_dir() else []
    for one in (path, *(item[1] for item in below)):
        seen = one.stat()
        hashed.update(
            f"{one} {seen.st_mode} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}\n".encode("utf-8", "surrogateescape")
        )
    return hashed.hexdigest()
