"""A proxy before a registry on loopback that misbehaves as it is told, at the request it is told."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN = ("reset", "reset midway", "half through", "lose reply", "cut reply")
"""Before anything is done; with half of the body read; with half of it passed on; with all done but no answer; with
half of an answer."""
STATUSES = ("429", "500", "502", "503", "504")
_MOUNT = re.compile(r"[?&]mount=")
_UPLOAD = re.compile(r"/v2/(?P<repository>.+)/blobs/uploads/(?P<id>[^/?]*)")
_BLOB = re.compile(r"/v2/.+/blobs/sha256:")
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "server", "date"})


class Seen(NamedTuple):
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def step(self) -> str:
        """What of the protocol it is."""
        if _UPLOAD.match(self.path):
            return {"POST": "mount" if _MOUNT.search(self.path) else "begin", "GET": "status"}.get(
                self.method, "put" if self.method == "PUT" else "patch"
            )
        kind = "blob" if _BLOB.match(self.path) else "manifest" if "/manifests/" in self.path else "other"
        return f"{self.method.lower()} {kind}"


@dataclass
class Manners:
    """How the registry behaves. Changed by tests while it runs."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    """By step, the faults of the next requests."""
    by_number: dict[int, str] = field(default_factory=dict)
    """Faults by the number of the request, counted from the first that came."""
    retry_after: str | None = None
    refusal: tuple[int, str, str] | None = None
    """Status, code and text with which the fault ``refuse`` answers."""
    mount: int | None = None
    """The status that mounts are answered with; None: the registry's own."""
    relative: bool = False
    redirect: str | None = None
    """The origin to which blobs are redirected."""
    redirect_heads: str | None = None
    """The same for HEAD."""
    uploads_at: str | None = None
    """The origin at which uploads go on."""
    remembers: bool = False
    """Uploads are kept here, byte by byte, and can be gone on with."""
    loses_chunks: bool = False
    """As Amazon ECR: what comes with PATCH after the beginning is lost."""
    ranges: bool = True
    page: int = 0
    """Tags of one page; 0: all of them."""
    seen: list[Seen] = field(default_factory=list)
    met: list[tuple[str, str]] = field(default_factory=list)
    """(fault, step) of every request that was disturbed."""
    sessions: dict[str, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def steps(self) -> list[str]:
        return [seen.step for seen in self.seen]

    def fault_for(self, seen: Seen) -> str | None:
        with self.lock:
            number = len(self.seen)
            self.seen.append(seen)
            queue = self.faults.get(seen.step)
            fault = queue.pop(0) if queue else self.by_number.get(number)
            if fault:
                self.met.append((fault, seen.step))
            return fault or None


class Proxy(NamedTuple):
    host: str
    manners: Manners

    @property
    def origin(self) -> str:
        return f"http://{self.host}"


@contextmanager
def proxy_before(target: str) -> Iterator[Proxy]:
    """Run a proxy before the registry at the host ``target``."""
    manners = Manners()
    handler = type("Handler", (_Handler,), {"manners": manners, "target": target})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Proxy(f"127.0.0.1:{server.server_address[1]}", manners)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections are broken here all the time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer with a body waits 40 ms
    manners: Manners
    target: str

    def log_message(self, *_args: Any) -> None:
        pass

    def do_any(self) -> None:
        seen = Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        fault = self.manners.fault_for(seen)
        if fault == "reset":
            self._reset()
            return
        length = int(self.headers.get("Content-Length") or 0)
        if fault == "reset midway":
            self._keep(seen, self.rfile.read(length // 2))
            self._reset()
            return
        body = self.rfile.read(length)
        if fault == "half through":
            self._forward_half(body)
            self._reset()
        elif len(body) < length:
            self._keep(seen, body)
            self.close_connection = True
        elif fault in STATUSES:
            after = [("Retry-After", self.manners.retry_after)] if self.manners.retry_after else []
            self._answer(int(fault), after, _errors("UNKNOWN", "not now"))
        elif fault == "401":
            self._answer(401, [("WWW-Authenticate", 'Basic realm="test"')], _errors("UNAUTHORIZED", "who are you?"))
        elif fault == "refuse":
            assert self.manners.refusal is not None
            status, code, text = self.manners.refusal
            self._answer(status, [], _errors(code, text))
        else:
            self._do(seen, body, fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_PATCH = do_DELETE = do_any  # noqa: N815 - the base class asks for them

    def _do(self, seen: Seen, body: bytes, fault: str | None) -> None:
        manners = self.manners
        if seen.step == "mount" and manners.mount not in (None, 201):
            if manners.mount != 202:
                self._answer(int(manners.mount or 0), [], _errors("DENIED", "no mount"))
                return
            self.path = urlsplit(self.path).path
        moved = {"get blob": manners.redirect, "head blob": manners.redirect_heads}.get(seen.step)
        if moved:
            self._answer(307, [("Location", f"{moved}{self.path}")], b"moved")
            return
        found = _UPLOAD.match(self.path)
        if manners.remembers and found and seen.step != "mount":
            status, headers, data = self._session(seen, found["repository"], found["id"], body)
        else:
            status, headers, data = self._forward(self.command, self.path, body)
        self._tell(seen, status, headers, data, fault)

    def _tell(self, seen: Seen, status: int, headers: list[tuple[str, str]], data: bytes, fault: str | None) -> None:
        if fault == "lose reply":
            self._hang_up()
            return
        if fault == "wrong bytes" and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        if self.manners.page and "/tags/list" in seen.path:
            headers, data = self._page(seen, headers, data)
        headers = [(name, self._place(seen, value) if name == "Location" else value) for name, value in headers]
        self._answer(status, headers, data, cut=fault == "cut reply")

    def _page(self, seen: Seen, headers: list[tuple[str, str]], data: bytes) -> tuple[list[tuple[str, str]], bytes]:
        """Cut a list of tags, in the order of their names."""
        listed = json.loads(data)
        last = parse_qs(urlsplit(seen.path).query).get("last", [""])[0]
        rest = sorted(tag for tag in listed["tags"] if tag > last)
        taken = rest[: self.manners.page]
        if len(rest) > len(taken):
            following = f"{urlsplit(seen.path).path}?last={taken[-1]}&n={self.manners.page}"
            headers = [*headers, ("Link", f'<{following}>; rel="next"')]
        return headers, json.dumps({**listed, "tags": taken}).encode()

    def _place(self, seen: Seen, location: str) -> str:
        if seen.step in ("begin", "mount") and self.manners.uploads_at:
            return f"{self.manners.uploads_at}{urlsplit(location)._replace(scheme='', netloc='').geturl()}"
        return urlsplit(location)._replace(scheme="", netloc="").geturl() if self.manners.relative else location

    def _keep(self, seen: Seen, body: bytes) -> None:
        """Remember what came of a body that broke off."""
        found = _UPLOAD.match(seen.path)
        if self.manners.remembers and found and not self.manners.loses_chunks:
            self.manners.sessions[found["id"]] = self.manners.sessions.get(found["id"], b"") + body

    def _session(self, seen: Seen, repository: str, name: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        sessions = self.manners.sessions
        if seen.step == "begin":
            name = uuid.uuid4().hex
            sessions[name] = b""
            return 202, [("Location", f"http://{self.headers['Host']}/v2/{repository}/blobs/uploads/{name}")], b""
        if name not in sessions:
            return 404, [], _errors("BLOB_UPLOAD_UNKNOWN", "unknown upload")
        location = [("Location", f"http://{self.headers['Host']}/v2/{repository}/blobs/uploads/{name}?state=1")]
        kept = sessions[name]
        if seen.step == "patch":
            if int(self.headers["Content-Range"].split("-")[0]) != len(kept):
                return 416, [], _errors("BLOB_UPLOAD_INVALID", "another place was expected")
            if not self.manners.loses_chunks:
                sessions[name] = kept = kept + body
        if seen.step in ("patch", "status"):
            status = 204 if seen.step == "status" else 201 if self.manners.loses_chunks else 202
            return status, [*location, ("Range", f"0-{max(0, len(kept) - 1)}")], b""
        whole = sessions.pop(name) + body
        digest = parse_qs(urlsplit(seen.path).query)["digest"][0]
        _, headers, _ = self._forward("POST", f"/v2/{repository}/blobs/uploads/", b"")
        place = urlsplit(dict(headers)["Location"])
        return self._forward("PUT", f"{place.path}?{place.query}&digest={digest}", whole)

    def _forward(self, method: str, path: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.target, timeout=30)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("content-length", "range")}
        if self.manners.ranges and "Range" in self.headers:
            kept["Range"] = self.headers["Range"]
        try:
            upstream.request(method, path, body, {**kept, "Content-Length": str(len(body))})
            answer = upstream.getresponse()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OWN_HEADERS]
            if method == "HEAD":
                headers.append(("Content-Length", answer.getheader("Content-Length") or "0"))
            return answer.status, headers, answer.read()
        finally:
            upstream.close()

    def _forward_half(self, body: bytes) -> None:
        upstream = http.client.HTTPConnection(self.target, timeout=30)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body[: len(body) // 2])
        finally:
            upstream.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._hang_up()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()


def _errors(code: str, text: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": text}]}).encode()


def once(step: str, *faults: str) -> dict[str, list[str]]:
    """Return the faults of the next requests of one step."""
    return {step: list(faults)}
