"""Layers that are kept on this machine, under the digest of what decides their content; and the wheels beside them.

``keys/<key>.json`` says what was made for a key, ``blobs/<digest>`` holds it; ``wheels/<digest>/<name>`` is the wheel
store, which ``clary.images.packages`` fills. Any number of processes may use one cache. Files are written beside and
put in place whole, so a kill at any moment leaves nothing half; whoever uses a file holds a shared lock on it, and only
what nobody holds is pruned. When a file was last used is its modification time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clary.code.archive import content_digest
from clary.errors import ConfigError
from clary.files import write_whole
from clary.images.building import Layer
from clary.images.layers.making import Made
from clary.images.packages.store import disk_errors, wheel_store

_ORPHANED = 3600.0
"""Seconds after which an unfinished file was left by a process that died."""
_LOCKS = 64
"""Files that processes lock which make a layer: a few, used again for ever, since deleting a lock is a race."""


@dataclass(frozen=True)
class Holdings:
    """What a cache holds."""

    layers: int
    wheels: int
    size: int
    """Bytes."""
    oldest: float | None
    """When the file was last used that nobody has used for longest, in seconds since the epoch."""


class LocalCache:
    """A folder of layers and wheels."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, made if need be. Raises ConfigError ``image.cache_unusable``, ``image.disk_full``."""
        self._folder = folder
        self._keys, self._blobs, self._wheels = folder / "keys", folder / "blobs", wheel_store(folder)
        with _usable(folder):
            for each in (self._keys, self._blobs, self._wheels, folder / "locks"):
                each.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def use(self) -> Iterator[Use]:
        """Use the cache for one build: what it is given is not pruned until the build is over."""
        with ExitStack() as held:
            yield Use(self._folder, held)

    def info(self) -> Holdings:
        """Return how much is kept."""
        layers, wheels = _found(self._blobs, "*"), _found(self._wheels, "*/*.whl")
        statuses = [status for _, status in (*layers, *wheels)]
        oldest = min((status.st_mtime for status in statuses), default=None)
        return Holdings(len(layers), len(wheels), sum(status.st_size for status in statuses), oldest)

    def verify(self) -> list[str]:
        """Read every file, remove those whose content is not that of their name, and return those names.

        What is removed is made, or fetched, anew when it is next asked for.
        """
        named = [(path, path.name) for path, _ in _found(self._blobs, "*")]
        named += [(path, path.parent.name) for path, _ in _found(self._wheels, "*/*.whl")]
        damaged = []
        for path, digest in named:
            with suppress(FileNotFoundError):  # pruned meanwhile
                if content_digest(path) != digest:
                    path.unlink()
                    damaged.append(digest)
        return damaged

    def prune(self, *, max_bytes: int | None = None, older_than: float | None = None) -> int:
        """Remove what was used least recently, and return how many bytes that were. What is in use stays.

        Args:
            max_bytes: how much may be left.
            older_than: seconds; what was not used for as long goes.
        """
        now = time.time()
        files = [*_found(self._blobs, "*"), *_found(self._wheels, "*/*.whl")]
        left, freed = sum(status.st_size for _, status in files), 0
        for path, status in sorted(files, key=lambda one: (one[1].st_mtime, one[0].name)):
            old = older_than is not None and now - status.st_mtime >= older_than
            over = max_bytes is not None and left > max_bytes
            if (old or over) and _remove_unused(path):
                left, freed = left - status.st_size, freed + status.st_size
        self._sweep(now)
        return freed

    def _sweep(self, now: float) -> None:
        """Remove what dead processes left behind, and keys whose file is gone."""
        unfinished = [*self._blobs.glob(".*"), *self._keys.glob(".*"), *self._wheels.glob("*/.arriving*")]
        for path in unfinished:
            with suppress(FileNotFoundError):
                if now - path.stat().st_mtime > _ORPHANED:
                    path.unlink()
        for path in self._keys.glob("*.json"):
            known = _read(path)
            if known is None or not (self._blobs / _hex(known.layer.digest)).exists():
                path.unlink(missing_ok=True)


class Use:
    """One build's use of a cache. Safe from several threads."""

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self._folder = folder
        self._keys, self._blobs, self._locks = folder / "keys", folder / "blobs", folder / "locks"
        self._held = held

    def find(self, key: str) -> Made | None:
        """Return what is kept under a key, None for nothing or for what has lost its length."""
        made = _read(self._keys / f"{key}.json")
        if made is None:
            return None
        path = self._blobs / _hex(made.layer.digest)
        return Made(replace(made.layer, path=path), made.brought) if self.hold(path, made.layer.size) else None

    def layer(self, key: str, make: Callable[[Path], Made]) -> Made:
        """Return what is kept under a key, made now if need be; other processes that want the same wait for it.

        ``make`` writes a layer to the file that it is given. What it raises is raised, and nothing is kept.
        Raises ConfigError ``image.cache_unusable``, ``image.disk_full``.
        """
        with _usable(self._folder):
            found = self.find(key)
            if found is not None:
                return found
            with self._alone(key):
                return self.find(key) or self._make(key, make)

    def hold(self, path: Path, size: int | None = None) -> bool:
        """Note that a file of the cache is in use until the build is over, and tell whether it is there.

        A file that has not ``size`` bytes is as good as none. One that lies elsewhere is left alone.
        """
        if not path.is_relative_to(self._folder):
            return path.exists()
        try:
            file = _locked(path, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False
        status = os.fstat(file)
        if not status.st_nlink or (size is not None and status.st_size != size):
            os.close(file)
            return False
        self._held.callback(os.close, file)
        with suppress(OSError):  # a cache that may only be read keeps no stamps
            os.utime(file)
        return True

    def _make(self, key: str, make: Callable[[Path], Made]) -> Made:
        arriving = self._blobs / f".{key}.{os.getpid()}-{os.urandom(4).hex()}"
        try:
            made = make(arriving)
            path = self._put(arriving, made.layer)
        finally:
            arriving.unlink(missing_ok=True)
        write_whole(self._keys / f"{key}.json", _written(made))
        return Made(replace(made.layer, path=path), made.brought)

    def _put(self, arriving: Path, layer: Layer) -> Path:
        """Move a layer to its place, held from before it can be seen there.

        One that another key has brought there is used instead: taking its place would let go of it for others.
        """
        path = self._blobs / _hex(layer.digest)
        self._held.callback(os.close, _locked(arriving, fcntl.LOCK_SH))
        while True:
            try:
                os.link(arriving, path)
            except FileExistsError:
                if self.hold(path, layer.size):
                    return path
                path.unlink(missing_ok=True)  # damaged
            else:
                return path

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        name = str(int(hashlib.sha256(key.encode()).hexdigest(), 16) % _LOCKS)
        file = os.open(self._locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        with disk_errors():
            yield
    except OSError as error:
        raise ConfigError(
            "image.cache_unusable",
            f"The folder of built layers, {folder}, cannot be used: {error.strerror or error}.",
            next_step="Mend its rights, or name another home by CLARY_HOME.",
        ) from error


def _found(folder: Path, pattern: str) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            if not path.name.startswith("."):
                found.append((path, path.stat()))
    return found


def _locked(path: Path, kind: int) -> int:
    """Open a file and lock it; raises FileNotFoundError, BlockingIOError for LOCK_NB."""
    writable = kind & fcntl.LOCK_EX  # NFS gives no other right to it
    file = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        fcntl.flock(file, kind)
    except BaseException:
        os.close(file)
        raise
    return file


def _remove_unused(path: Path) -> bool:
    """Remove a file unless somebody uses it, and tell whether it is gone by this."""
    try:
        file = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    try:
        path.unlink()  # whoever has opened it meanwhile finds it without a name
    except FileNotFoundError:
        return False
    finally:
        os.close(file)
    return True


def _read(path: Path) -> Made | None:
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        layer = Layer(str(said["digest"]), str(said["diff_id"]), int(said["size"]), path, str(said["name"]))
        brought = {str(package): dict(files) for package, files in said["brought"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Made(layer, brought)


def _written(made: Made) -> str:
    layer = made.layer
    said = {"digest": layer.digest, "diff_id": layer.diff_id, "size": layer.size, "name": layer.name}
    return json.dumps({**said, "brought": {package: dict(files) for package, files in made.brought.items()}})


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
