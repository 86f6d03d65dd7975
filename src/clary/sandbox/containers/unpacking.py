"""Unpacking the layers of images, each into a folder that every image with this layer shares.

Nothing a layer names leads out of its folder: links are followed inside of it alone, as a container would follow them.
What a layer removes is kept in two ways: as marks for overlay file systems in the folder, and as a list beside it for
places that have none. Source: the OCI image specification 1.1, "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from clary.files import write_whole
from clary.sandbox.containers.inside import follow
from clary.sandbox.trees import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_CHUNK = 1 << 20
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_NAME_LENGTH = 24
"""Digits of a layer's digest in the name of its folder: all folders of an image must fit into the options of a mount,
which are a page (mount(2))."""
_OPAQUE_MARKS = ("user.overlay.opaque", "trusted.overlay.opaque")
"""Which of the two counts depends on how the file system is mounted (kernel documentation, overlayfs)."""


class BadLayerError(Exception):
    """A layer cannot be used; the text says why."""


@dataclass(frozen=True)
class Layer:
    """An unpacked layer."""

    path: Path
    removed: tuple[str, ...] = ()
    """What it removes of the layers below, as paths in the root."""
    opaque: tuple[str, ...] = ()
    """Folders that show nothing of the layers below."""
    marked: bool = True
    """Whether its folder holds these marks too."""
    skipped: tuple[str, ...] = ()
    """Device nodes, which no container is given."""


def unpacked(layers: Path, diff_id: str) -> Layer | None:
    """Return a layer that has been unpacked, or None."""
    path = layers / diff_id.removeprefix("sha256:")[:_NAME_LENGTH]
    try:
        said = json.loads(path.with_suffix(".json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    if said["diff_id"] != diff_id or not path.is_dir():
        return None
    return Layer(path, tuple(said["removed"]), tuple(said["opaque"]), said["marked"], tuple(said["skipped"]))


def unpack(layers: Path, blob: Path, digest: str, diff_id: str) -> Layer:
    """Unpack a layer into the folder ``layers`` and return it; one that is there already is left as it is.

    Raises BadLayerError for bytes that have not this digest, or that are no archive that can be used.
    """
    known = unpacked(layers, diff_id)
    if known is not None:
        return known
    partial = Path(tempfile.mkdtemp(prefix=".arriving-", dir=layers))
    try:
        tree = _Tree(partial)
        with blob.open("rb") as file:
            _fill(tree, file, digest, diff_id)
        path = layers / diff_id.removeprefix("sha256:")[:_NAME_LENGTH]
        removed, opaque = tuple(sorted(tree.removed)), tuple(sorted(tree.opaque))
        layer = Layer(path, removed, opaque, tree.marked, tuple(tree.skipped))
        said = {name: one for name, one in asdict(layer).items() if name != "path"}
        write_whole(path.with_suffix(".json"), json.dumps({**said, "diff_id": diff_id}))
        partial.rename(path)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadLayerError(f"the layer {digest} is no archive that can be read ({error})") from error
    except OSError:
        known = unpacked(layers, diff_id)  # another thread may have been quicker
        if known is None:
            raise
        return known
    finally:
        remove_tree(partial)
    return layer


def _fill(tree: _Tree, file: IO[bytes], digest: str, diff_id: str) -> None:
    start = file.read(len(_ZSTD))
    if start == _ZSTD:
        raise BadLayerError(f"the layer {digest} is compressed by zstd, which SageMaker's jobs are not known to take")
    file.seek(0)
    raw = _Digesting(file)
    plain = _Digesting(gzip.GzipFile(fileobj=cast("IO[bytes]", raw)) if start.startswith(_GZIP) else raw)
    with tarfile.open(
        fileobj=cast("IO[bytes]", _Ended(plain)), mode="r|", bufsize=1 << 18, errors="surrogateescape"
    ) as archive:
        for member in archive:
            tree.add(archive, member)
    for stream in (plain, raw):
        while stream.read(_CHUNK):
            pass
    tree.finish()
    if raw.digest != digest or plain.digest != diff_id:
        raise BadLayerError(f"the layer {digest} is not what its digest or the image's configuration says")


class _Digesting:
    """A stream whose bytes are digested as they are read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self._hash.update(data)
        return data

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


class _Ended:
    """An archive with zeros at its end, which some tools leave out and others do not miss (umoci 0.4.7 insert)."""

    def __init__(self, file: _Digesting) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size) or bytes(size)


class _Tree:
    """A folder that the entries of one layer are put into."""

    def __init__(self, root: Path) -> None:
        root.chmod(0o755)
        self._root = str(root)
        self._own = os.getuid() == 0
        self._folders: dict[str, str] = {"": self._root}
        self._times: list[tuple[str, tarfile.TarInfo]] = []
        self.removed: set[str] = set()
        self.opaque: set[str] = set()
        self.skipped: list[str] = []
        self.marked = True

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Put one entry into the folder."""
        name = posixpath.normpath(f"/{member.name}").lstrip("/")
        if not name:
            self._times.append((self._root, member))
            return
        folder, _, base = name.rpartition("/")
        parent = self._folder(folder)
        if base.startswith(_WHITEOUT):
            self._remove(parent, base)
            return
        path = f"{parent}/{base}"
        self._make_room(path, keep_folder=member.isdir())
        if self._make(archive, member, path):
            self._describe(member, path)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> bool:
        """Make the entry; returns whether owner, mode and time are to be set."""
        if member.isdir():
            if not os.path.isdir(path):  # noqa: PTH112 - paths are texts here, for the sake of speed
                os.mkdir(path)  # noqa: PTH102
        elif member.issym():
            os.symlink(member.linkname, path)  # noqa: PTH211
        elif member.islnk():
            self._link(member, path)
            return False
        elif member.isfile():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as target:
                shutil.copyfileobj(cast("IO[bytes]", archive.extractfile(member)), target, _CHUNK)
        elif member.isfifo():
            os.mkfifo(path)
        else:
            self.skipped.append(self._inner(path))
            return False
        return True

    def _link(self, member: tarfile.TarInfo, path: str) -> None:
        folder, _, base = posixpath.normpath(f"/{member.linkname}").lstrip("/").rpartition("/")
        try:
            os.link(f"{self._folder(folder)}/{base}", path, follow_symlinks=False)
        except OSError as error:
            text = f"the layer has a hard link {member.name!r} to {member.linkname!r}, which is not in it"
            raise BadLayerError(text) from error

    def _describe(self, member: tarfile.TarInfo, path: str) -> None:
        if self._own:
            try:
                os.lchown(path, member.uid, member.gid)
            except OSError:
                self._own = False  # this place has no such users
        if member.isdir():
            self._times.append((path, member))
        elif not member.issym():
            os.chmod(path, stat.S_IMODE(member.mode))  # noqa: PTH101
        if not member.isdir():
            os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)

    def finish(self) -> None:
        """Set modes and times of folders, which would have been in the way or have changed before."""
        for path, member in reversed(self._times):
            if os.path.isdir(path):  # noqa: PTH112
                os.chmod(path, stat.S_IMODE(member.mode))  # noqa: PTH101
                os.utime(path, (member.mtime, member.mtime))

    # -- what the layers below lose

    def _remove(self, parent: str, base: str) -> None:
        if base == _OPAQUE:
            self._make_opaque(parent)
            return
        if base.startswith(_WHITEOUT * 2):
            return  # notes of another file system (aufs)
        path = f"{parent}/{base.removeprefix(_WHITEOUT)}"
        if os.path.lexists(path):  # of this layer itself, which stays
            if os.path.isdir(path):  # noqa: PTH112
                self._make_opaque(path)
            return
        self.removed.add(self._inner(path))
        try:
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        except OSError:
            self.marked = False

    def _make_opaque(self, path: str) -> None:
        self.opaque.add(self._inner(path))
        marks = 0
        for name in _OPAQUE_MARKS:
            try:
                os.setxattr(path, name, b"y")
                marks += 1
            except OSError:
                continue
        self.marked = self.marked and marks > 0

    def _make_room(self, path: str, *, keep_folder: bool) -> None:
        """Remove what an earlier entry put there."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            if keep_folder:
                return
            remove_tree(Path(path))
        else:
            os.unlink(path)  # noqa: PTH108
            if (inner := self._inner(path)) in self.removed:
                self.removed.discard(inner)
                if keep_folder:
                    os.mkdir(path)  # noqa: PTH102
                    self._make_opaque(path)
        self._folders = {"": self._root}

    # -- paths

    def _inner(self, path: str) -> str:
        return path[len(self._root) + 1 :]

    def _folder(self, name: str) -> str:
        """Return the folder that a path inside leads to, made when missing; links lead nowhere but inside."""
        known = self._folders.get(name)
        if known is None:
            try:
                known = self._folders[name] = follow(self._root, name)
            except NotADirectoryError as error:
                raise BadLayerError(f"the layer has an entry whose path cannot be: {error}") from error
        return known


def lay_over(layer: Layer, root: Path) -> None:
    """Copy a layer over those below it, for places without overlay file systems."""
    for name in layer.opaque:
        folder = Path(follow(str(root), name))
        for entry in folder.iterdir():
            _clear(entry)
    for name in layer.removed:
        folder_name, _, base = name.rpartition("/")
        _clear(Path(follow(str(root), folder_name)) / base)
    _copy(layer.path, root, set(layer.removed), "")


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path, removed: set[str], inner: str) -> None:
    for entry in os.scandir(source):
        name = f"{inner}{entry.name}"
        if name in removed:
            continue
        copy = target / entry.name
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISFIFO(found.st_mode):
            _clear(copy)
            os.mkfifo(copy)
        elif not entry.is_dir(follow_symlinks=False):
            _clear(copy)
            shutil.copy2(entry.path, copy, follow_symlinks=False)
        else:
            if copy.is_symlink() or not copy.is_dir():
                _clear(copy)
                copy.mkdir()
            _copy(Path(entry.path), copy, removed, f"{name}/")
            shutil.copystat(entry.path, copy)
        if os.getuid() == 0:
            os.lchown(copy, found.st_uid, found.st_gid)
            if not entry.is_symlink():
                copy.chmod(stat.S_IMODE(found.st_mode))  # a change of owner takes some bits away


def leftovers(layers: Path, wanted: set[str]) -> Iterator[Path]:
    """Yield what lies in the folder of layers and is no layer of these diff ids."""
    names = {one.removeprefix("sha256:")[:_NAME_LENGTH] for one in wanted}
    for path in layers.iterdir():
        if path.name.startswith(".arriving-") or (len(path.stem) == _NAME_LENGTH and path.stem not in names):
            yield path
