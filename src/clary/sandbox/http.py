"""waitress, fitted to what AWS clients send: TCP and a unix socket at once, and two mended header rules."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import re
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import create_server
from waitress.task import ThreadedTaskDispatcher, WSGITask

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.sandbox.registry.arrivals import Arrivals
    from clary.sandbox.wire import Environ

_LARGEST_BODY = 5 * 1024**3 + 1024**2
"""S3 takes 5 GiB in one PUT."""
_LARGEST_LAYER = 52_000 * 1024**2
"""ECR takes layers of that size."""
_THREADS = 32
_METADATA_NAME = re.compile(rb"(?im)^x-amz-meta-[^:\r\n]*_[^:\r\n]*(?=:)")
_ANSWERED_METADATA = re.compile(rb"(?im)^x-amz-meta-[^:\r\n]+(?=:)")
_TLS = b"\x16\x03"
"""A connection by TLS begins so (RFC 8446, section 5.1)."""
_NAMES = "X_CLARY_METADATA_NAMES"
_MOTO_NAMES = "moto.preserved_header_names"


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """Keeps metadata names with an underscore, which waitress drops, and does not wait for the body of an empty PUT.

    ``arrivals`` says into which file the body of a layer's upload goes.
    """

    def __init__(self, adj: Any, arrivals: Arrivals | None = None) -> None:
        super().__init__(adj)
        self.adj: Any = adj
        self._arrivals = arrivals

    def parse_header(self, header_plus: bytes) -> None:
        names = [name.decode("latin-1") for name in _METADATA_NAME.findall(header_plus)]
        super().parse_header(_METADATA_NAME.sub(lambda match: match[0].replace(b"_", b"-"), header_plus))
        self.headers.pop(_NAMES, None)
        if names:
            self.headers[_NAMES] = ",".join(names)
        if self.content_length == 0 and not self.chunked:
            # waitress would send "100 Continue" and then wait for a body that never comes.
            self.expect_continue = False
        if self._arrivals is not None and self.body_rcv is not None:
            self._receive_layer(self._arrivals)

    def _receive_layer(self, arrivals: Arrivals) -> None:
        arriving = arrivals.open(self.command, self.request_uri, self.content_length or None)
        if arriving is not None:
            self.body_rcv.buf = arriving
            self.adj = copy.copy(self.adj)
            self.adj.max_request_body_size = _LARGEST_LAYER + 1


class _Task(WSGITask):  # type: ignore[misc]
    """Leaves metadata names as they are; waitress would write them with capitals, and SDKs give them to the user."""

    def build_response_header(self) -> bytes:
        header: bytes = super().build_response_header()
        return _ANSWERED_METADATA.sub(lambda match: match[0].lower(), header)


class _Channel(HTTPChannel):  # type: ignore[misc]
    parser_class: Any = _Parser
    task_class = _Task

    def received(self, data: bytes) -> bool:
        if self.request is None and data.startswith(_TLS):
            # Clients of registries try TLS first, and would wait for an answer to their greeting.
            self.will_close = True
            return False
        try:
            return bool(super().received(data))
        except ConnectionResetError:  # planned by a fault
            self.will_close = True
            return False


def drop_connection(environ: Environ) -> None:
    """Close the client's connection, so that the answer about to be written never arrives."""
    disconnected = environ.get("waitress.client_disconnected")
    channel = getattr(disconnected, "__self__", None)
    if channel is not None:
        with contextlib.suppress(OSError):
            channel.socket.shutdown(socket.SHUT_RDWR)


def restore_names(environ: Environ) -> None:
    """Tell moto the metadata names as the client spelled them."""
    names = environ.pop(f"HTTP_{_NAMES}", "")
    if names:
        environ[_MOTO_NAMES] = {f"HTTP_{name.upper().replace('-', '_')}": name for name in names.split(",")}


def _unix_listener(path: Path) -> socket.socket:
    """Bind a unix socket that only this user may use.

    Its address may have 107 bytes at most (unix(7)), which a deep data folder exceeds; so the folder is named by a
    descriptor where there is a /proc.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    before = os.umask(0o177)
    try:
        short = f"/proc/self/fd/{folder}/{path.name}"
        listener.bind(short if sys.platform == "linux" else str(path))
    finally:
        os.umask(before)
        os.close(folder)
    return listener


class HttpServer:
    """HTTP on both sockets. The unix socket serves containers that have a network of their own."""

    def __init__(
        self,
        application: Callable[..., Any],
        listener: socket.socket,
        unix_path: Path,
        arrivals: Arrivals | None = None,
    ) -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._map: dict[int, Any] = {}
        self._dispatcher = ThreadedTaskDispatcher()
        self._dispatcher.set_thread_count(_THREADS)
        common = {
            "map": self._map,
            "_dispatcher": self._dispatcher,
            "max_request_body_size": _LARGEST_BODY,
            "connection_limit": 1000,
            "channel_timeout": 600,
            "recv_bytes": 1 << 18,
            "asyncore_use_poll": True,
            "clear_untrusted_proxy_headers": False,
            "ident": "clary-sandbox",
        }
        unix_path.unlink(missing_ok=True)
        servers = (
            create_server(application, sockets=[listener], **common),
            create_server(application, sockets=[_unix_listener(unix_path)], **common),
        )
        channel = type("_Channel", (_Channel,), {"parser_class": partial(_Parser, arrivals=arrivals)})
        for server in servers:
            server.channel_class = channel
        self._unix_path = unix_path

    def run(self) -> None:
        """Serve until a signal handler raises SystemExit here."""
        try:
            while self._map:
                wasyncore.loop(timeout=1.0, use_poll=True, map=self._map, count=1)
        except (KeyboardInterrupt, SystemExit):
            pass
        self._dispatcher.shutdown(timeout=5)
        wasyncore.close_all(self._map)
        self._unix_path.unlink(missing_ok=True)
