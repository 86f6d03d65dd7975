"""S3 on loopback (moto) behind a small proxy that loses replies, refuses, and breaks connections on request."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import uuid
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from clary.objects import ObjectStore, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAULTS = ("lose reply", "409", "503", "500", "reset", "cut reply")
"""``lose reply`` and ``cut reply`` carry the request out and break the connection; the others do nothing."""
_BODIES = {
    "409": ("ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation."),
    "503": ("SlowDown", "Please reduce your request rate."),
    "403": ("AccessDenied", "Access Denied"),
    "500": ("InternalError", "We encountered an internal error. Please try again."),
}


@dataclass
class Plan:
    """Which requests are disturbed."""

    fault: Callable[[str, str, int], str | None] = lambda _method, _key, _number: None
    """Gives the fault, if any, for a method, a path and how often this very request was seen before."""
    seen: dict[tuple[str, str], int] = field(default_factory=dict)
    done: list[tuple[str, str, str]] = field(default_factory=list)
    """(fault, method, path) of every request that was disturbed."""
    requests: list[tuple[str, str]] = field(default_factory=list)


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    plan: Plan
    target: tuple[str, int]

    def log_message(self, *_args: Any) -> None:
        pass

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = self.plan.seen[self.command, self.path] = self.plan.seen.get((self.command, self.path), 0) + 1
        self.plan.requests.append((self.command, self.path))
        fault = self.plan.fault(self.command, self.path, seen - 1)
        if fault is not None:
            self.plan.done.append((fault, self.command, self.path))
        if fault in _BODIES:
            code, message = _BODIES[fault]
            text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
            self._answer(int(fault), [("Content-Type", "application/xml")], text)
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._hang_up()
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_any  # noqa: N815 - the names that the base class asks for

    def _forward(self, body: bytes, fault: str | None) -> None:
        upstream = http.client.HTTPConnection(*self.target, timeout=30)
        try:
            # S3 takes conditional writes of a key one after the other; moto looks and stores in two steps.
            with _WRITES if self.command == "PUT" else nullcontext():
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                data = answer.read()
        finally:
            upstream.close()
        if fault == "lose reply":
            self._hang_up()
            return
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OWN_HEADERS]
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self._answer(answer.status, headers, data, length=length, cut=fault == "cut reply")

    def _answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, *, length: str | None = None, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()


_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "server", "date"})


class S3:
    """A bucket on loopback that can be disturbed."""

    def __init__(self, moto: tuple[str, int], proxy: tuple[str, int], plan: Plan) -> None:
        self.endpoint = f"http://{proxy[0]}:{proxy[1]}"
        self._direct = f"http://{moto[0]}:{moto[1]}"
        self.plan = plan

    def store(self, *, direct: bool = False, bucket: str | None = None) -> ObjectStore:
        """Open a store in a new bucket, or in the one that is named."""
        return open_store(
            f"s3://{bucket or self.new_bucket()}/some/prefix",
            region="us-east-1",
            endpoint=self._direct if direct else self.endpoint,
            credentials=_Credentials(),
        )

    def new_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"bucket-{uuid.uuid4().hex}"  # moto's state is the process's: another server here shows the same buckets
        host, port = self._direct.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("PUT", f"/{name}", headers={"Authorization": _AUTHORIZATION})
        assert connection.getresponse().status == 200
        connection.close()
        return name


_WRITES = threading.Lock()
_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIATEST/20240101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


class _Credentials:
    def __call__(self) -> dict[str, object]:
        expires = datetime.now(UTC) + timedelta(hours=1)
        return {"access_key_id": "AKIATEST", "secret_access_key": "secret", "token": None, "expires_at": expires}

    def renew(self) -> None:
        raise AssertionError("these never expire")


@contextmanager
def s3_on_loopback() -> Iterator[S3]:
    """Run moto and the proxy for as long as the context lasts."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    plan = Plan()
    handler = type("Proxy", (_Proxy,), {"plan": plan, "target": (host, port)})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield S3((host, port), ("127.0.0.1", proxy.server_address[1]), plan)
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        moto.stop()
