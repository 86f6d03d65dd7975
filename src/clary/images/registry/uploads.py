"""One blob on its way into a registry: mounted, or uploaded and gone on with after whatever broke.

A blob is sent in one request (POST, then PUT with all bytes): Amazon ECR loses what comes in the second and later of
several chunks (aws/containers-roadmap#2831). Chunks are for going on with a broken upload, where a registry can.
Source: the OCI distribution specification 1.1, "Pushing blobs".
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

from clary.errors import ClaryError, Retry
from clary.images.building import Progress, Quiet
from clary.images.registry import refusals
from clary.images.registry.asking import COMMIT_TIMEOUT, Answer, Request
from clary.images.registry.blobs import Blob, Source, changed, scope, size_of
from clary.images.registry.retrying import Tries
from clary.images.registry.wire import CHUNK

if TYPE_CHECKING:
    import threading

    from clary.images.registry.http import Http

_NOT_MOUNTED = (400, 401, 403, 404, 405)
"""Answers to a mount that mean "upload it": registries refuse for want of the blob, of rights, or of the feature."""
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_TELLING = 0.1
"""Seconds between two words of progress."""


class Outcome(StrEnum):
    """How a blob came to be in the repository."""

    EXISTED = "existed"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


class Meter:
    """Tells somebody of a blob's progress, at most ten times a second."""

    def __init__(self, progress: Progress, blob: Blob) -> None:
        self._progress = progress
        self._blob = blob
        self._told = 0.0

    def at(self, done: int) -> None:
        """Tell that ``done`` bytes are through, if it is time; the last byte is always told."""
        now = time.monotonic()
        if done == self._blob.size or now - self._told >= _TELLING:
            self._told = now
            self._progress.transfer(self._blob.name, done, self._blob.size)


class Upload:
    """Brings one blob into one repository."""

    def __init__(
        self,
        http: Http,
        repository: str,
        blob: Blob,
        *,
        resumes: bool = True,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Note what goes where.

        Args:
            http: the registry.
            repository: its repository.
            blob: what is pushed.
            resumes: whether a broken upload can be gone on with.
            progress: who is told.
            stop: gives it up with ``Abandoned`` when it is set.
        """
        self._http = http
        self._repository = repository
        self._blob = blob
        self._resumes = resumes
        self._meter = Meter(progress or Quiet(), blob)
        self._stop = stop
        self._scopes = (scope(repository, "pull", "push"),)
        self._tries = Tries(http.patience, stop=stop, reached=True)
        self._furthest = 0
        self._answered = False

    def run(self, mount_from: Sequence[str] = ()) -> Outcome:
        """Bring the blob there; of the repositories ``mount_from`` the first that has it lends it.

        Raises NotFoundError ``registry.unknown_repository``, ConfigError ``image.layer_changed``, and what ``Http``
        raises.
        """
        if self._there():
            self._meter.at(self._blob.size)
            return Outcome.EXISTED
        self._answered = True  # so from now on it is waited for, should it go away
        location = None
        for source in mount_from:
            mounted, given = self._mount(source)
            if mounted:
                self._meter.at(self._blob.size)
                return Outcome.MOUNTED
            location = given or location
        self._send(location or self._begin())
        return Outcome.UPLOADED

    def _there(self) -> bool:
        found = size_of(self._http, self._repository, self._blob.digest, tries=self._new_tries())
        return found == self._blob.size

    def _mount(self, source: str) -> tuple[bool, str | None]:
        """Ask for the blob of another repository; else return the place to upload to, if the registry gave one."""
        query = f"?mount={quote(self._blob.digest)}&from={quote(source, safe='')}"
        scopes = () if source == self._repository else (scope(source, "pull"),)
        try:
            answer = self._http.ask(self._start(query, *scopes), 201, 202, *_NOT_MOUNTED, tries=self._new_tries())
        except ClaryError as error:
            if error.retry is not Retry.NO:
                raise
            return False, None  # such as a token service that gives nothing for the other repository
        if answer.status == 201:
            return True, None
        return False, self._http.located(answer) if answer.status == 202 else None

    def _begin(self) -> str:
        """Begin an upload and return where its bytes go."""
        return self._http.located(self._http.ask(self._start(""), 202, tries=self._new_tries()))

    def _start(self, query: str, *scopes: str) -> Request:
        url = self._http.url(f"{self._repository}/blobs/uploads/{query}")
        return Request("POST", url, self._repository, (*self._scopes, *scopes), {"Content-Length": "0"})

    def _new_tries(self) -> Tries:
        return Tries(self._http.patience, stop=self._stop, reached=self._answered)

    def _send(self, location: str) -> None:
        offset = 0
        while True:
            try:
                self._rest(location, offset)
                return
            except ClaryError as error:
                if error.details.get("registry_code") == "DIGEST_INVALID":
                    self._resumes = self._resumes and offset == 0
                    self._verify()
                self._tries.met(error)
            if self._there():  # the answer alone was lost
                self._meter.at(self._blob.size)
                return
            location, offset = self._reached(location) or (self._begin(), 0)
            if offset > self._furthest:
                self._furthest = offset
                self._tries.progressed()

    def _rest(self, location: str, offset: int) -> None:
        """Send what is missing from ``offset`` on, and have the registry take it for the blob."""
        if offset == 0:
            self._check(self._http.once(self._sending("PUT", self._closing(location), 0), 201))
            return
        if offset < self._blob.size:
            answer = self._http.once(self._sending("PATCH", location, offset), 201, 202, 204)
            location = self._http.located(answer)
            if _received(answer) != self._blob.size:
                self._resumes = False
        last = Request(
            "PUT",
            self._closing(location),
            self._repository,
            self._scopes,
            {"Content-Length": "0"},
            timeout=COMMIT_TIMEOUT,
            upload=True,
        )
        self._check(self._http.once(last, 201))

    def _sending(self, method: str, url: str, offset: int) -> Request:
        left = self._blob.size - offset
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(left)}
        if method == "PATCH":
            headers["Content-Range"] = f"{offset}-{self._blob.size - 1}"
        return Request(
            method,
            url,
            self._repository,
            self._scopes,
            headers,
            body=lambda: self._bytes(offset),
            timeout=COMMIT_TIMEOUT,
            upload=True,
        )

    def _bytes(self, offset: int) -> Iterator[bytes]:
        try:
            with closing(self._blob.open()) as source:
                if offset:
                    source.seek(offset)
                yield from self._left(source, offset)
        except OSError as error:  # else urllib3 would take it for the connection's
            raise changed(self._blob, error.strerror or "it cannot be read") from error

    def _left(self, source: Source, offset: int) -> Iterator[bytes]:
        while offset < self._blob.size:
            self._tries.check()
            chunk = source.read(min(CHUNK, self._blob.size - offset))
            if not chunk:
                raise changed(self._blob, f"it has {offset} bytes, not {self._blob.size}")
            yield chunk
            offset += len(chunk)
            self._meter.at(offset)

    def _closing(self, location: str) -> str:
        return f"{location}{'&' if '?' in location else '?'}digest={quote(self._blob.digest)}"

    def _check(self, answer: Answer) -> None:
        said = answer.headers.get("Docker-Content-Digest")
        if said and said != self._blob.digest:
            raise refusals.wrong_digest(self._http.host, self._repository, f"it stored {said}")

    def _reached(self, location: str) -> tuple[str, int] | None:
        """Return where a broken upload goes on, and from which byte; None where it has to begin anew."""
        if not self._resumes:
            return None
        request = Request("GET", location, self._repository, self._scopes)
        try:
            answer = self._http.ask(request, 204, tries=self._tries)
        except ClaryError as error:
            if error.retry is Retry.LATER:
                raise
            return None
        received = _received(answer)
        if not 0 < received <= self._blob.size:
            return None
        return (self._http.located(answer) if "Location" in answer.headers else location), received

    def _verify(self) -> None:
        """Raise ConfigError ``image.layer_changed`` if the bytes here are not those of the digest any more."""
        seen = hashlib.sha256()
        for chunk in self._bytes(0):
            seen.update(chunk)
        if f"sha256:{seen.hexdigest()}" != self._blob.digest:
            raise changed(self._blob, "its bytes are not those of its digest")


def _received(answer: Answer) -> int:
    """Return how many bytes the registry holds, by the header Range; it tells 0-0 for none as for one."""
    found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
    last = int(found[1]) if found else 0
    return last + 1 if last else 0
