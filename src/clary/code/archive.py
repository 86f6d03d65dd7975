"""The project's files as one archive, named by its content; packed on the laptop, unpacked and checked in the job.

The name is a digest over (kind, mode, content digest, path) of every file, not over the packed bytes: an unchanged tree
is known without packing it, and what comes out of any archive can be checked against its name. Runs inside the job:
standard library only.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, TypeAlias

from clary.errors import JournalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clary.code.select import Selection

_FORM = b"clary-code-1\n"
_CHUNK = 1 << 20
Row: TypeAlias = tuple[str, str, str]
"""(path, kind, content digest); kind is ``f`` file, ``x`` executable file or ``l`` symbolic link."""


def tree_digest(rows: Iterable[Row]) -> str:
    """Return the digest of a tree, in hex, from its rows in any order."""
    total = hashlib.sha256(_FORM)
    for path, kind, content in sorted(rows):
        total.update(f"{kind} {content} ".encode() + os.fsencode(path) + b"\0")
    return total.hexdigest()


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(selection: Selection, target: Path, digests: Mapping[str, str]) -> None:
    """Write the archive (tar, gzip): entries sorted, owners and times zeroed, modes 644 or 755, so that the same tree
    gives the same bytes.

    ``digests`` are the files' content digests by path. Raises UsageError (``code.changed_meanwhile``) for a file whose
    content is no longer the one that was hashed.
    """
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in selection.files:
            entry = tarfile.TarInfo(file.path)
            if file.link is not None:
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, file.link, 0o777
                archive.addfile(entry)
                continue
            entry.size, entry.mode = file.size, 0o755 if file.executable else 0o644
            with (selection.root / file.path).open("rb") as source:
                reading = HashingReader(source)
                try:
                    archive.addfile(entry, reading)
                except OSError as error:  # the file became shorter
                    raise _changed(file.path) from error
            if reading.hexdigest() != digests[file.path]:
                raise _changed(file.path)


def unpack(archive: Path, target: Path, digest: str) -> None:
    """Unpack an archive into the new folder ``target``, which appears whole or not at all.

    Only files and symbolic links inside the tree are taken. Links are made last, and never through one another, so
    nothing is written outside.
    Raises JournalError (``code.damaged``) when the archive holds anything else, or is not the tree of that digest.
    """
    arriving = target.with_name(target.name + ".part")
    shutil.rmtree(arriving, ignore_errors=True)  # of a process that died here
    arriving.mkdir(parents=True)
    rows: list[Row] = []
    links: list[tuple[str, str]] = []
    try:
        with tarfile.open(archive, mode="r:gz") as entries:
            for entry in entries:
                if entry.issym():
                    links.append((_inside(entry.name), entry.linkname))
                elif entry.isreg():
                    rows.append(_write(entries, entry, arriving))
                else:
                    raise ValueError(f"{entry.name} is neither a file nor a link")
        rows += _make_links(arriving, links)
        if tree_digest(rows) != digest:
            raise ValueError("its content does not have the digest of its name")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise JournalError(
            "code.damaged",
            f"The code archive {archive.name} cannot be used: {error}.",
            next_step="Delete that object under code/ of the artifact store; the next submit stores it anew.",
        ) from error
    arriving.rename(target)


def _write(entries: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> Row:
    path = _inside(entry.name)
    source = entries.extractfile(entry)
    assert source is not None  # of a regular file there always is one
    executable = bool(entry.mode & 0o100)
    target = _make_folder(folder, path)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if executable else 0o644)
    reading = HashingReader(source)
    with os.fdopen(handle, "wb") as file:
        while chunk := reading.read(_CHUNK):
            file.write(chunk)
    return path, "x" if executable else "f", reading.hexdigest()


def _make_links(root: Path, links: Iterable[tuple[str, str]]) -> list[Row]:
    """Make the links, then look where each leads: one that seems to stay inside may lead out through another."""
    real, rows = Path(os.path.realpath(root)), []
    for path, link in links:
        if os.path.realpath((root / path).parent) != str((real / path).parent):
            raise ValueError(f"{path!r} lies behind a link")
        _make_folder(root, path).symlink_to(link)
        rows.append((path, "l", hashlib.sha256(os.fsencode(link)).hexdigest()))
    for path, _, _ in rows:
        if not Path(os.path.realpath(root / path)).is_relative_to(real):
            raise ValueError(f"{path!r} leads out of the tree")
    return rows


def _make_folder(root: Path, path: str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} leads out of the tree")
    return path


def _changed(path: str) -> UsageError:
    return UsageError(
        "code.changed_meanwhile",
        f"{path} changed while the project was packed.",
        next_step="Run the command again when nothing writes to the project.",
        field=path,
    )


class HashingReader:
    """A file being read, with the digest of what was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = self._source.read(size)
        self._sum.update(data)
        return data

    def hexdigest(self) -> str:
        """Return the digest of all that was read."""
        return self._sum.hexdigest()
