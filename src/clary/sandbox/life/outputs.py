"""Bringing what containers wrote to S3: archives, plain trees, and folders kept in step while the job runs."""

from __future__ import annotations

import gzip
import logging
import stat
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from clary.sandbox.life.beneath import Entry, walk_beneath
from clary.sandbox.life.failures import JobFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clary.sandbox.life.s3 import Address
    from clary.sandbox.model import Clock, ObjectAccess

_log = logging.getLogger(__name__)
_TRIES = 3
_PAUSE = 1.0
"""Sandbox seconds between tries of an upload."""
SYNC_SECONDS = 2.0
"""Sandbox seconds between looks at a folder that is kept in step (AWS publishes none)."""
_SYNC_REAL_SECONDS = 0.25
"""And at least this long in real time, so that a clock at speed does not keep the disk busy."""


class Uploads:
    """Uploads of one job."""

    def __init__(self, objects: ObjectAccess, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock

    def file(self, source: Path, target: Address) -> None:
        """Store a file; tries again when S3 fails, then raises JobFailed."""
        for left in reversed(range(_TRIES)):
            try:
                self._objects.upload(source, target.bucket, target.key)
            except OSError as error:
                if left == 0 or isinstance(error, PermissionError):
                    raise JobFailed(f"ClientError: Artifact upload failed:{error}") from error
                self._clock.wait(_PAUSE)
            else:
                return

    def tree(self, roots: Sequence[Path], relative: str, target: Address) -> bool:
        """Store the regular files below a folder of every host, not what links point to; returns whether any."""
        some = False
        for root in roots:
            for entry in walk_beneath(root, relative):
                if entry.is_file:
                    some = self.entry(entry, target.below(entry.name)) or some
        return some

    def entry(self, entry: Entry, target: Address) -> bool:
        """Store one file that a container wrote; returns whether it was still there."""
        try:
            file = entry.open()
        except OSError:
            return False
        with file:
            # The open file, not its name: nobody can put another in its place.
            self.file(Path(f"/dev/fd/{file.fileno()}"), target)
        return True

    def archive(self, roots: Sequence[Path], relative: str, target: Address, spool: Path, *, empty: bool) -> bool:
        """Store one ``.tar.gz`` of a folder of every host; returns whether it was stored.

        The hosts' files are merged and a later host's file replaces an earlier one's of the same name, as on SageMaker.
        Without files nothing is stored unless ``empty``.
        """
        path = spool / target.key.rpartition("/")[2]
        with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
            count = _pack(roots, relative, packed)
        if count or empty:
            self.file(path, target)
        path.unlink()
        return bool(count or empty)


def _pack(roots: Sequence[Path], relative: str, packed: gzip.GzipFile) -> int:
    last = {entry.name: number for number, root in enumerate(roots) for entry in walk_beneath(root, relative)}
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for number, root in enumerate(roots):
            for entry in walk_beneath(root, relative):
                if last[entry.name] == number:
                    _add(archive, entry)
    return len(last)


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    """Add a file, folder or link without owners, so that equal folders give equal archives."""
    info = tarfile.TarInfo(entry.name)
    info.mode = stat.S_IMODE(entry.status.st_mode)
    info.mtime = int(entry.status.st_mtime)
    if entry.is_file:
        with entry.open() as file:
            info.size = entry.status.st_size
            archive.addfile(info, file)
    elif stat.S_ISDIR(entry.status.st_mode):
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif entry.target:
        info.type, info.linkname = tarfile.SYMTYPE, entry.target
        archive.addfile(info)


class Sync:
    """Keeps an S3 prefix in step with a folder of every host while a job runs. Nothing is deleted there."""

    def __init__(
        self, uploads: Uploads, clock: Clock, roots: Sequence[Path], relative: str, target: Address, *, stored: bool
    ) -> None:
        self._uploads = uploads
        self._clock = clock
        self._roots = roots
        self._relative = relative
        self._target = target
        self._seen: dict[tuple[Path, str], tuple[int, int, int]] = {}
        self._over = threading.Event()
        if stored:
            # What is there before the containers start came from the same place in S3.
            self._look(lambda *_: True)
        self._thread = threading.Thread(target=self._run, name=f"sync-{relative}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Bring the last changes over. Raises JobFailed when S3 refuses them."""
        self.abandon()
        self._look(self._uploads.entry)

    def abandon(self) -> None:
        """Stop without another look."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_SYNC_REAL_SECONDS):
            if self._clock.wait(SYNC_SECONDS, self._over.is_set):
                return
            try:
                self._look(self._uploads.entry)
            except JobFailed as error:
                _log.warning("keeping %s in step failed for now: %s", self._target, error)

    def _look(self, store: Callable[[Entry, Address], bool]) -> None:
        for root in self._roots:
            for entry in walk_beneath(root, self._relative):
                mark = (entry.status.st_ino, entry.status.st_size, entry.status.st_mtime_ns)
                new = entry.is_file and self._seen.get((root, entry.name)) != mark
                if new and store(entry, self._target.below(entry.name)):
                    self._seen[root, entry.name] = mark


def finish_all(syncs: Sequence[Sync]) -> None:
    """Finish several, the others too when one fails; raises the first failure."""
    failures: list[JobFailed] = []
    for sync in syncs:
        try:
            sync.finish()
        except JobFailed as error:
            failures.append(error)
    if failures:
        raise failures[0]
