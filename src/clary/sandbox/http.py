"""waitress, fitted to what AWS clients send: TCP and a unix socket at once, and two mended header rules."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import create_server
from waitress.task import ThreadedTaskDispatcher, WSGITask

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.sandbox.wire import Environ

_LARGEST_BODY = 5 * 1024**3 + 1024**2
"""S3 takes 5 GiB in one PUT."""
_THREADS = 32
_METADATA_NAME = re.compile(rb"(?im)^x-amz-meta-[^:\r\n]*_[^:\r\n]*(?=:)")
_ANSWERED_METADATA = re.compile(rb"(?im)^x-amz-meta-[^:\r\n]+(?=:)")
_NAMES = "X_CLARY_METADATA_NAMES"
_MOTO_NAMES = "moto.preserved_header_names"


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """Keeps metadata names with an underscore, which waitress drops, and does not wait for the body of an empty PUT."""

    def parse_header(self, header_plus: bytes) -> None:
        names = [name.decode("latin-1") for name in _METADATA_NAME.findall(header_plus)]
        super().parse_header(_METADATA_NAME.sub(lambda match: match[0].replace(b"_", b"-"), header_plus))
        self.headers.pop(_NAMES, None)
        if names:
            self.headers[_NAMES] = ",".join(names)
        if self.content_length == 0 and not self.chunked:
            # waitress would send "100 Continue" and then wait for a body that never comes.
            self.expect_continue = False


class _Task(WSGITask):  # type: ignore[misc]
    """Leaves metadata names as they are; waitress would write them with capitals, and SDKs give them to the user."""

    def build_response_header(self) -> bytes:
        header: bytes = super().build_response_header()
        return _ANSWERED_METADATA.sub(lambda match: match[0].lower(), header)


class _Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = _Parser
    task_class = _Task


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

    def __init__(self, application: Callable[..., Any], listener: socket.socket, unix_path: Path) -> None:
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
        for server in servers:
            server.channel_class = _Channel
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
