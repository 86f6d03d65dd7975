"""All else that moto holds survives by its requests: each that changed something is written down and done again.

A request is recorded with the seed of moto's random numbers at that moment, so that the ids, ARNs and keys it makes
are the same when it is done again. Requests that are recorded run one at a time. What moto stamps with the current
time (the creation date of a role, for one) shows the time of the last start.
"""

from __future__ import annotations

import json
import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.sandbox.database import Database
    from clary.sandbox.wire import Environ, Request

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, service TEXT NOT NULL, operation TEXT NOT NULL,
    method TEXT NOT NULL, uri TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL, seed INTEGER NOT NULL
);
"""
TRANSIENT_SERVICES = frozenset({"sts"})
"""Services whose state is not kept."""

_READING = (
    "Describe", "List", "Get", "Search", "Filter", "Lookup", "Head", "Batch", "Test", "Simulate", "Validate",
    "Generate", "Encrypt", "Decrypt", "ReEncrypt", "Sign", "Verify", "StartQuery", "StopQuery", "StartLiveTail",
    "Detect", "Estimate",
)  # fmt: skip
_MESSAGES = ("SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "PurgeQueue")
_MAKES = {"s3": "PUT", "scheduler": "POST"}
"""The method that makes a thing, for the services where things come and go all the time."""
_KEPT_HEADERS = ("CONTENT_TYPE", "HTTP_X_AMZ_TARGET", "HTTP_HOST")


class Records:
    """The written-down requests, and moto's random numbers under control."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._lock = threading.RLock()
        self._source = _take_over_random()

    def wants(self, request: Request) -> bool:
        """Return whether a request, if it succeeds, changes something that only this record keeps."""
        if request.service in TRANSIENT_SERVICES:
            return False
        if not request.target and not request.action:
            return request.mutating
        operation = request.operation
        if request.service == "sqs" and operation.startswith(_MESSAGES):
            return False
        if request.service == "events" and operation == "PutEvents":
            return False
        return not operation.startswith(_READING)

    @contextmanager
    def one_at_a_time(self) -> Iterator[int]:
        """Hold the lock of recorded requests and give moto a fresh seed, which is returned."""
        with self._lock:
            seed = random.SystemRandom().getrandbits(62)
            with self._source.seeded(seed):
                yield seed

    @staticmethod
    def prepare(service: str) -> None:
        """Bring under control what a service draws from elsewhere: KMS takes its master keys from the system."""
        if service in ("kms", "cloudformation"):
            from moto.kms import models
            from moto.moto_api._internal import mock_random

            vars(models)["generate_master_key"] = lambda: mock_random.getrandbits(256).to_bytes(32, "big")

    def add(self, request: Request, account: str, body: bytes, seed: int) -> None:
        """Write a successful request down; call it before its reply is sent.

        The deletion of what a recorded request made is not written: the requests about it are forgotten instead.
        """
        if request.method == "DELETE" and not _deletes_aspect(request) and self._forget(request, account, body):
            return
        environ = request.environ
        headers = {name: environ[name] for name in _KEPT_HEADERS if name in environ}
        headers |= {name: value for name, value in environ.items() if name.startswith("HTTP_X_AMZ_") and _kept(name)}
        headers["HTTP_AUTHORIZATION"] = (
            "AWS4-HMAC-SHA256"
            f" Credential={request.access_key}/20200101/{request.region}/{request.service}/aws4_request,"
            " SignedHeaders=host, Signature=0"
        )
        self._db.execute(
            "INSERT INTO records (account, service, operation, method, uri, headers, body, seed)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (
                account,
                request.service,
                request.operation,
                request.method,
                str(environ.get("REQUEST_URI") or environ["PATH_INFO"]),
                json.dumps(headers),
                body,
                seed,
            ),
        )

    def _forget(self, request: Request, account: str, body: bytes) -> bool:
        """Forget the requests about a deleted thing; returns whether the one that made it was among them."""
        uri = str(request.environ.get("REQUEST_URI") or request.environ["PATH_INFO"])
        subject = _subject(request.service, uri, body)
        if subject is None:
            return False
        rows = self._db.rows(
            "SELECT id, method, uri, body FROM records WHERE account=? AND service=? AND substr(uri, 1, ?)=?",
            (account, request.service, len(request.path), request.path),
        )
        rows = [row for row in rows if _subject(request.service, row["uri"], row["body"]) == subject]
        with self._db.transaction():
            self._db.many("DELETE FROM records WHERE id=?", [(row["id"],) for row in rows])
        return any(row["method"] == _MAKES[request.service] and not _aspect(row["uri"]) for row in rows)

    def replay(self, run: Callable[[Environ, str, str], int]) -> list[str]:
        """Do every recorded request again, in order; returns a line for each that did not succeed this time."""
        failed = []
        for row in self._db.rows("SELECT * FROM records ORDER BY id"):
            environ = make_environ(row["method"], row["uri"], json.loads(row["headers"]), row["body"])
            self.prepare(row["service"])
            with self._lock, self._source.seeded(row["seed"]):
                status = run(environ, row["account"], row["service"])
            if status >= 400:
                failed.append(f"{row['service']} {row['operation']}: answered {status} when done again")
        return failed


def _deletes_aspect(request: Request) -> bool:
    return request.service == "s3" and bool(request.query)


def _aspect(uri: str) -> str:
    """Return the S3 subresource that a request is about, such as ``versioning``; empty for the thing itself."""
    return uri.partition("?")[2].partition("=")[0]


def _subject(service: str, uri: str, body: bytes) -> tuple[str, str] | None:
    """Return what a request is about: a bucket, or a schedule in its group. None: not known here."""
    path, _, query = uri.partition("?")
    path = path.rstrip("/")
    if service == "s3":
        return path, ""
    if service == "scheduler" and path.startswith("/schedules/"):
        group = parse_qs(query).get("groupName", [None])[0]
        if group is None and body:
            group = json.loads(body).get("GroupName")
        return path, group or "default"
    return None


def _kept(name: str) -> bool:
    return not name.endswith(("SECURITY_TOKEN", "CONTENT_SHA256", "_DATE"))


def make_environ(method: str, uri: str, headers: dict[str, Any], body: bytes) -> Environ:
    """Return a WSGI environment for a request that no client sent."""
    import io
    from urllib.parse import unquote_to_bytes

    path, _, query = uri.partition("?")
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": uri,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **headers,
    }


class _ThreadSeeded:
    """A source of random numbers that a thread can fix for a while; other threads keep the ordinary one."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._ordinary = random.Random()

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Let this thread draw from a generator with that seed."""
        self._local.generator = random.Random(seed)
        try:
            yield
        finally:
            del self._local.generator

    def current(self) -> random.Random:
        """Return the generator of this thread."""
        generator: random.Random = getattr(self._local, "generator", self._ordinary)
        return generator


def _take_over_random() -> _ThreadSeeded:
    """Let moto's one generator, which every module of it has imported by name, draw from ours."""
    from moto.moto_api._internal import mock_random

    source = _ThreadSeeded()

    class Controlled(type(mock_random)):  # type: ignore[misc]
        """moto's generator, drawing from the thread's own."""

        def random(self) -> float:
            return source.current().random()

        def getrandbits(self, k: int) -> int:
            return source.current().getrandbits(k)

    mock_random.__class__ = Controlled
    return source
