"""Fetching wheels: streamed, verified on the way, gone on with where a reply broke off, each at most once a machine."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.files import size_text
from clary.images.packages import indexes, store
from clary.images.packages.connections import Connections
from clary.images.packages.documents import FIELD
from clary.images.packages.downloading import Download, Job, WrongFile
from clary.images.together import together

if TYPE_CHECKING:
    from clary.images.building import Progress, Wheel
    from clary.images.packages.sources import Source


def fetch(
    wheels: Iterable[Wheel],
    kept: Path,
    *,
    environment: Mapping[str, str],
    progress: Progress,
    parallel: int = 8,
    source: Source | None = None,
) -> dict[Wheel, Path]:
    """Return where each wheel lies on this machine, fetched if it is not there, its size and digest verified.

    Args:
        wheels: as a lock names them.
        kept: the wheel store (``store.wheel_store``), which several processes may use at once.
        environment: proxies, certificates, indexes and their logins, by the variables that uv reads.
        progress: is told of every transfer.
        parallel: downloads at once.
        source: what the lock was made from; its project names indexes, too.

    Raises ConfigError ``image.hash_mismatch``, ``image.index_unreachable``, ``image.disk_full``,
    ``image.wheel_missing``; NotFoundError ``image.file_not_found``; PermissionDeniedError ``image.index_refused``.
    """
    wanted = list(dict.fromkeys(wheels))
    found = {wheel: path for wheel in wanted if (path := store.kept(kept, wheel)) is not None}
    missing = [wheel for wheel in wanted if wheel not in found]
    if missing:
        amount = sum(wheel.size for wheel in missing)
        packages = f"{len(missing)} package{'s' if len(missing) > 1 else ''}"
        progress.stage(f"fetching {packages}{f', {size_text(amount)}' if amount else ''}")
        credentials = indexes.Credentials(indexes.named(source, environment), environment)
        fetcher = Fetcher(kept, Connections(credentials, environment, parallel), progress)
        found.update(zip(missing, fetcher.all([_job(wheel) for wheel in missing], parallel), strict=True))
    return {wheel: found[wheel] for wheel in wanted}


class Fetcher:
    """Brings files into a store."""

    def __init__(self, kept: Path, connections: Connections, progress: Progress) -> None:
        self._kept = kept
        self._connections = connections
        self._progress = progress
        self._ended = threading.Event()

    def all(self, jobs: list[Job], parallel: int) -> list[Path]:
        """Fetch files, several at once, the largest first; return their places. The first failure ends the others."""
        order = sorted(jobs, key=lambda job: -job.size)
        try:
            found = together([partial(self.one, job) for job in order], parallel, self._ended.set)
        finally:
            self._connections.close()
        places = dict(zip(order, found, strict=True))
        return [places[job] for job in jobs]

    def one(self, job: Job) -> Path:
        """Fetch one file and return its place."""
        path = store.place(self._kept, job.sha256, job.filename)
        with store.disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with store.locked(path.parent):
                if path.is_file() and job.size in (0, path.stat().st_size):
                    return path
                arriving = path.parent / store.PARTIAL
                self._download(job, arriving)
                arriving.replace(path)
        return path

    def _download(self, job: Job, arriving: Path) -> None:
        begun = arriving.exists()
        try:
            Download(job, arriving, self._connections, self._progress, self._ended).run()
        except WrongFile as error:
            if not begun:
                raise error.told() from None
            # What an earlier process had left was damaged: once more, from the beginning.
            try:
                Download(job, arriving, self._connections, self._progress, self._ended).run()
            except WrongFile as again:
                raise again.told() from None


def _job(wheel: Wheel) -> Job:
    if wheel.url is None and wheel.path is None:
        raise ConfigError(
            "image.wheel_missing",
            f"{wheel.filename} was built on a machine, and is not on this one.",
            next_step="Resolve anew with --upgrade, which builds it.",
            field=FIELD,
        )
    url = wheel.url if wheel.url is not None else wheel.path.absolute().as_uri()  # type: ignore[union-attr]  # checked above
    return Job(url, wheel.filename, wheel.sha256, wheel.size)
