"""Answers the container credentials endpoint: a small HTTP server on a unix socket in the sandbox's process.

A container's launcher forwards connections to 169.254.170.2:80 here and says first, in a line of its own, which
container asks. The path is random, so a process that was not given it learns nothing even in the right container.
Source of the protocol: the SDKs' container provider (GET AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, a JSON answer).
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socketserver
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from clary.sandbox.containers.plan import CREDENTIALS_SOCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grant:
    """One container's right to ask."""

    token: str
    path: str
    answer: Callable[[], Mapping[str, str]]


class CredentialsServer:
    """Serves the credentials of every container of one sandbox."""

    def __init__(self, folder: Path) -> None:
        self._grants: dict[str, Grant] = {}
        self._closed = False
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        (folder / CREDENTIALS_SOCKET).unlink(missing_ok=True)
        # Through the descriptor, for a unix socket's path may have 107 bytes at most.
        self._server = _Server(f"/proc/self/fd/{self._folder}/{CREDENTIALS_SOCKET}", _Handler)
        (folder / CREDENTIALS_SOCKET).chmod(0o600)
        self._server.grants = self._grants
        self._thread = threading.Thread(target=self._server.serve_forever, name="credentials", daemon=True)
        self._thread.start()

    def grant(self, answer: Callable[[], Mapping[str, str]]) -> Grant:
        """Let a new container ask; returns what its launcher and the container must know."""
        return self.restore(Grant(secrets.token_urlsafe(24), f"/v2/credentials/{secrets.token_urlsafe(24)}", answer))

    def restore(self, grant: Grant) -> Grant:
        """Let a container ask that was started by an earlier process of this sandbox."""
        self._grants[grant.token] = grant
        return grant

    def revoke(self, token: str) -> None:
        """Forget a container that has ended."""
        self._grants.pop(token, None)

    def close(self) -> None:
        """Stop serving; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        os.close(self._folder)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    grants: dict[str, Grant]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature of the base
        _log.debug("a connection to the credentials endpoint broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def handle(self) -> None:
        self.token = self.rfile.readline(256).strip().decode("ascii", "replace")
        super().handle()

    def do_GET(self) -> None:
        grant = self.server.grants.get(self.token)
        if grant is None or not secrets.compare_digest(grant.path.encode(), self.path.encode()):
            self._answer(404, {"code": "NotFound", "message": "no credentials here"})
            return
        try:
            self._answer(200, grant.answer())
        except Exception:  # noqa: BLE001 - the container gets an answer whatever went wrong
            _log.exception("the role's credentials could not be made")
            self._answer(500, {"code": "InternalError", "message": "the sandbox could not make credentials"})

    def _answer(self, status: int, body: Mapping[str, str]) -> None:
        data = json.dumps(dict(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "container"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the base
        _log.debug(format, *args)
