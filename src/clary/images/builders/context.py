"""The context of a build: what a Dockerfile may copy from, as one archive whose bytes depend on the files alone."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

from clary.code.archive import HashingReader
from clary.code.select import is_private
from clary.errors import ConfigError
from clary.images.added import changed

if TYPE_CHECKING:
    from clary.images.builders.dockerignore import Ignored

IGNORE_FILE = ".dockerignore"
_LEVEL = 1
"""Of compression: a context travels once, and no level makes much less of the program that most of it may be."""


@dataclass(frozen=True)
class Entry:
    """One file, folder, or link inside the context."""

    path: str
    """Relative to the context, with ``/``."""
    source: Path | bytes = b""
    executable: bool = False
    link: str | None = None
    """Where a symbolic link leads, relative to its folder; None for a file."""
    folder: bool = False
    """Whether it is a folder. Folders above a file need not be named."""
    digest: str = ""
    """SHA-256 that the content has to have, in hex; empty: any."""


@dataclass(frozen=True)
class Selected:
    """The files of a folder that travel."""

    entries: tuple[Entry, ...]
    withheld: tuple[str, ...]
    """Paths left out because they hold secrets by their name."""


def selected(root: Path, ignored: Ignored) -> Selected:
    """Return the files under ``root`` that travel: all but what ``ignored`` leaves out, and files that hold secrets.

    A ``!pattern`` is the one way to send a file that holds secrets by its name.
    Raises ConfigError ``image.link_outside`` for a symbolic link that leaves the folder, ``image.unreadable``.
    """
    withheld: list[str] = []
    entries = tuple(_walked(root.resolve(), "", ignored, withheld))
    return Selected(entries, tuple(sorted(withheld)))


def pack(entries: Iterable[Entry], target: Path, *, compressed: bool) -> str:
    """Write the archive (tar, or tar and gzip) and return the digest of the tar, in hex.

    Entries are sorted, owners and times are zero, modes 644 or 755: the same files give the same bytes, written as they
    are read. Raises ConfigError ``image.unreadable`` for a file that cannot be read, or became shorter,
    ``image.copy_changed`` for one that has not its digest.
    """
    with ExitStack() as closing:
        stream: IO[bytes] = closing.enter_context(target.open("wb"))
        if compressed:
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=_LEVEL, mtime=0)
            stream = cast("IO[bytes]", closing.enter_context(packed))
        return _write(entries, stream)


def digest_of(entries: Iterable[Entry]) -> str:
    """Return the digest that ``pack`` returns, and raise what it raises; nothing is written."""
    with Path(os.devnull).open("wb") as nowhere:
        return _write(entries, nowhere)


def _write(entries: Iterable[Entry], target: IO[bytes]) -> str:
    stream = _Hashing(target)
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="w", format=tarfile.PAX_FORMAT) as archive:
        folders: set[str] = set()
        _add_folder(archive, ".")  # Docker takes an archive for a Dockerfile whose first entry has a long header
        for entry in sorted(entries, key=lambda one: one.path):
            _add_folders(archive, entry, folders)
            if not entry.folder:
                _add(archive, entry)
    return stream.hexdigest()


def _walked(root: Path, folder: str, ignored: Ignored, withheld: list[str]) -> Iterator[Entry]:
    try:
        found = sorted(os.scandir(root / folder), key=lambda one: one.name)
    except OSError as error:
        raise unreadable(folder or str(root), error) from error
    for one in found:
        path = f"{folder}/{one.name}" if folder else one.name
        inner = one.is_dir(follow_symlinks=False)
        out = ignored.verdict(path)
        if out is None and is_private(path, folder=inner):
            withheld.append(path)
        elif inner and (not out or ignored.takes_back):
            if not out:
                yield Entry(path, folder=True)
            yield from _walked(root, path, ignored, withheld)
        elif not inner and not out and (entry := _entry(root, path)) is not None:
            yield entry


def _entry(root: Path, path: str) -> Entry | None:
    """Return the file as it is, or None for sockets and the like, which cannot travel."""
    file = root / path
    try:
        mode = file.lstat().st_mode
    except OSError as error:
        raise unreadable(path, error) from error
    if stat.S_ISLNK(mode):
        return Entry(path, link=_inner_link(root, file))
    return Entry(path, file, executable=bool(mode & 0o100)) if stat.S_ISREG(mode) else None


def _inner_link(root: Path, file: Path) -> str:
    target = file.readlink()
    lexical = Path(os.path.normpath(file.parent / target))
    if lexical.is_relative_to(root) and file.resolve(strict=False).is_relative_to(root):
        return PurePosixPath(os.path.relpath(lexical, file.parent)).as_posix()
    path = file.relative_to(root).as_posix()
    raise ConfigError(
        "image.link_outside",
        f"{path} of the build's context is a symbolic link to {target}, outside of it.",
        next_step=f"Put a copy into the context, or name {path} in {IGNORE_FILE}.",
        field="image.context",
    )


def _add_folders(archive: tarfile.TarFile, entry: Entry, known: set[str]) -> None:
    above = [str(folder) for folder in reversed(PurePosixPath(entry.path).parents[:-1])]
    for name in [*above, entry.path] if entry.folder else above:
        if name not in known:
            known.add(name)
            _add_folder(archive, name)


def _add_folder(archive: tarfile.TarFile, name: str) -> None:
    made = tarfile.TarInfo(name)
    made.type, made.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(made)


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    made = tarfile.TarInfo(entry.path)
    made.mode = 0o755 if entry.executable else 0o644
    if entry.link is not None:
        made.type, made.linkname, made.mode = tarfile.SYMTYPE, entry.link, 0o777
        archive.addfile(made)
    elif isinstance(entry.source, bytes):
        made.size = len(entry.source)
        archive.addfile(made, BytesIO(entry.source))
    else:
        try:
            with entry.source.open("rb") as file:
                made.size = os.fstat(file.fileno()).st_size
                content = HashingReader(file)
                archive.addfile(made, cast("IO[bytes]", content))
        except OSError as error:  # among others: it became shorter
            raise unreadable(entry.path, error) from error
        if entry.digest not in ("", content.hexdigest()):
            raise changed(entry.source)


def unreadable(path: str, error: OSError) -> ConfigError:
    """Return the error for a file that cannot be put into the context."""
    return ConfigError(
        "image.unreadable",
        f"{path} cannot be put into the build's context: {error.strerror or error}.",
        next_step=f"Mend its rights or content, or name it in {IGNORE_FILE}; nothing may write to it meanwhile.",
        field="image.context",
    )


class _Hashing:
    """A file being written, with the digest of what was written."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._sum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._sum.update(data)
        return self._target.write(data)

    def tell(self) -> int:
        return self._target.tell()

    def hexdigest(self) -> str:
        return self._sum.hexdigest()
