"""One file on its way to this machine: what is there already counts, and its size and digest are verified."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

from clary.errors import ClaryError, ConfigError, NotFoundError
from clary.images.packages import uv_failures
from clary.images.packages.documents import FIELD
from clary.images.packages.secrecy import scrubbed
from clary.images.packages.store import CHUNK

if TYPE_CHECKING:
    import threading

    from clary.images.building import Progress
    from clary.images.packages.connections import Connections

_PAUSES = (0.1, 0.5, 2.0, 5.0)
"""Seconds before a request that brought nothing is made again; a host may ask for longer ones (Retry-After)."""
_LONGEST_PAUSE = 60.0
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Job:
    """A file to fetch."""

    url: str
    """``https:``, ``http:`` or ``file:``; it may hold a name and a password."""
    filename: str
    sha256: str
    size: int
    """Bytes; 0 when it is not known."""

    @property
    def host(self) -> str:
        """Where it comes from, for people."""
        return urlsplit(self.url).netloc.rpartition("@")[2] or "this machine"


class Ended(Exception):  # noqa: N818 - no error: another download has failed
    """This download ends, for another has failed."""


class WrongFile(Exception):  # noqa: N818 - told as an error when trying again does not help
    """What has arrived is not what was locked."""

    def __init__(self, job: Job, sha256: str, size: int) -> None:
        super().__init__(job.filename)
        self._job, self._sha256, self._size = job, sha256, size

    def told(self) -> ClaryError:
        """Return the error for people."""
        job = self._job
        locked = f"{job.sha256}{f' ({job.size} bytes)' if job.size else ''}"
        return ConfigError(
            "image.hash_mismatch",
            f"{job.filename} from {job.host} is not the file that was locked: its sha256 is {self._sha256} "
            f"({self._size} bytes), and the lock says {locked}.",
            next_step="Do not use it before you know why: a proxy may have changed it, or the index holds another file "
            "now. If that is right, resolve anew with --upgrade.",
            field=FIELD,
            details={"locked": job.sha256, "found": self._sha256},
        )


class Download:
    """Completes one file."""

    def __init__(
        self, job: Job, arriving: Path, connections: Connections, progress: Progress, ended: threading.Event
    ) -> None:
        self._job = job
        self._arriving = arriving
        self._connections = connections
        self._progress = progress
        self._ended = ended
        self._digest = hashlib.sha256()
        self._done = 0

    def run(self) -> None:
        """Bring what is missing of the file. Raises WrongFile, with the file taken away; ``fetch``'s errors; Ended."""
        with self._arriving.open("ab+") as file:
            self._take_up(file)
            if self._job.url.startswith("file:"):
                self._copy(file)
            else:
                self._request(file)
        if self._digest.hexdigest() != self._job.sha256 or self._job.size not in (0, self._done):
            self._arriving.unlink()
            raise WrongFile(self._job, self._digest.hexdigest(), self._done)

    def _take_up(self, file: BinaryIO) -> None:
        file.seek(0)
        while data := file.read(CHUNK):
            self._digest.update(data)
            self._done += len(data)

    def _append(self, file: BinaryIO, data: bytes) -> None:
        if self._ended.is_set():
            raise Ended
        file.write(data)
        self._digest.update(data)
        self._done += len(data)
        self._progress.transfer(self._job.filename, self._done, self._job.size or self._done)

    def _restart(self, file: BinaryIO) -> None:
        file.truncate(0)
        self._digest, self._done = hashlib.sha256(), 0

    def _copy(self, file: BinaryIO) -> None:
        try:
            with Path(unquote(urlsplit(self._job.url).path)).open("rb") as original:
                original.seek(self._done)
                while data := original.read(CHUNK):
                    self._append(file, data)
        except FileNotFoundError:
            raise self._gone() from None

    def _request(self, file: BinaryIO) -> None:
        """Ask until the file is complete. One that breaks off is gone on with; one that brings nothing is a try."""
        failures = 0
        while not (self._job.size and self._done >= self._job.size):
            before = self._done
            pause = self._try(file, last=failures == len(_PAUSES))
            if pause is None:
                return
            failures = 0 if self._done > before else failures + 1
            if self._ended.wait(max(pause, _PAUSES[max(failures - 1, 0)])):
                raise Ended

    def _try(self, file: BinaryIO, *, last: bool) -> float | None:
        """Make one request. Return None when its answer was whole, else the seconds to wait at least."""
        from urllib3.exceptions import HTTPError

        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={self._done}-"} if self._done else {})}
        before = self._done
        try:
            response = self._connections.get(self._job.url, headers)
            with response:  # closed, so what is left of a refused answer is never read
                if response.status in _BUSY and not last:
                    return _asked_pause(response)
                if response.status == 416 and self._done:
                    self._restart(file)  # what is there is longer than the file
                    return 0.0
                self._stream(file, response)
        except HTTPError as error:
            if last and self._done <= before:
                raise uv_failures.unreachable(self._job.host, _reason(error)) from None
            return 0.0
        return None

    def _stream(self, file: BinaryIO, response: Any) -> None:
        self._check(response)
        if self._done and not (response.status == 206 and _start(response) == self._done):
            self._restart(file)
        if response.status == 206 and _start(response) not in (None, self._done):
            raise uv_failures.unreachable(self._job.host, f"it answered with another part of {self._job.filename}")
        for data in response.stream(CHUNK, decode_content=False):
            self._append(file, data)
            if self._job.size and self._done > self._job.size:
                return  # it can only be another file

    def _check(self, response: Any) -> None:
        if response.status in (401, 403):
            raise uv_failures.index_refused(self._job.host, str(response.status))
        if response.status in (404, 410):
            raise self._gone()
        if response.status not in (200, 206):
            raise uv_failures.unreachable(self._job.host, f"it answered {response.status} for {self._job.filename}")

    def _gone(self) -> ClaryError:
        pruned = self._job.url.startswith("file:")
        return NotFoundError(
            "image.file_not_found",
            f"{self._job.filename} is not at {self._job.host} any more.",
            next_step="Build again, which makes it anew: it was pruned meanwhile."
            if pruned
            else "Resolve anew with --upgrade, or lock anew with `uv lock`.",
            field=FIELD,
        )


def _start(response: Any) -> int | None:
    """Return where an answer's part begins, if it says so."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _asked_pause(response: Any) -> float:
    from email.utils import parsedate_to_datetime

    asked = response.headers.get("Retry-After", "")
    if asked.isdigit():
        return min(float(asked), _LONGEST_PAUSE)
    try:
        return min(max(parsedate_to_datetime(asked).timestamp() - time.time(), 0.0), _LONGEST_PAUSE)
    except (ValueError, TypeError):
        return 0.0


def _reason(error: Exception) -> str:
    return scrubbed(str(error)).splitlines()[0][:300].rstrip(".")
