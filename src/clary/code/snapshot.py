"""The digest of a project's files now, quick for a tree that has not changed: known files are not read again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from clary.code import archive, select
from clary.files import write_whole

if TYPE_CHECKING:
    from clary.code.select import Selection, SourceFile

_SETTLED_NS = 2_000_000_000
"""A file changed more recently than this may change again within one tick of a coarse file system's clock, unseen."""
_READERS = 4
_Known: TypeAlias = dict[str, list[int | str]]
"""path → [size, modification time, change time, inode, digest]"""


@dataclass(frozen=True)
class Snapshot:
    """A project's files and what they amount to."""

    selection: Selection
    digest: str
    """The name of its archive."""
    contents: dict[str, str]
    """Content digests by path."""

    @property
    def key(self) -> str:
        """Where the archive lies under the artifact store's root."""
        return f"code/{self.digest}.tar.gz"

    def pack(self, target: Path) -> None:
        """Write the archive."""
        archive.pack(self.selection, target, self.contents)


def take(root: Path, cache: Path, *, limit: int = select.SIZE_LIMIT, below: str = "") -> Snapshot:
    """Select the project's files and return their digest.

    Args:
        root: the project's folder.
        cache: a folder of Clary's own, where content digests of unchanged files are remembered.
        limit: most bytes that may travel.
        below: the one folder of it that is asked for, relative.

    Raises what ``select`` raises.
    """
    selection = select.select(root, limit=limit, below=below)
    memory = cache / f"{hashlib.sha256(os.fsencode(selection.root / below)).hexdigest()[:32]}.json"
    known = _remembered(memory)
    before = time.time_ns()
    contents = {file.path: digest for file in selection.files if (digest := _known_digest(known, file)) is not None}
    missing = [file for file in selection.files if file.path not in contents]
    with ThreadPoolExecutor(_READERS) as pool:
        contents.update(pool.map(lambda file: (file.path, _digest(selection.root, file)), missing))
    if missing or len(known) != len(contents):
        _remember(memory, selection, contents, before)
    rows = ((file.path, _kind(file), contents[file.path]) for file in selection.files)
    return Snapshot(selection, archive.tree_digest(rows), contents)


def _kind(file: SourceFile) -> str:
    return "l" if file.link is not None else "x" if file.executable else "f"


def _digest(root: Path, file: SourceFile) -> str:
    if file.link is not None:
        return hashlib.sha256(os.fsencode(file.link)).hexdigest()
    try:
        return archive.content_digest(root / file.path)
    except OSError as error:
        raise select.unreadable(file.path, error) from error


def _known_digest(known: _Known, file: SourceFile) -> str | None:
    row = known.get(file.path)
    if row is None or row[:4] != [file.size, *file.stamp]:
        return None
    return str(row[4])


def _remembered(memory: Path) -> _Known:
    try:
        known = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(memory: Path, selection: Selection, contents: dict[str, str], before: int) -> None:
    rows = {
        file.path: [file.size, *file.stamp, contents[file.path]]
        for file in selection.files
        if max(file.stamp[:2]) < before - _SETTLED_NS
    }
    try:
        memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(memory, json.dumps(rows))
    except OSError:
        return  # what is not remembered is read again
