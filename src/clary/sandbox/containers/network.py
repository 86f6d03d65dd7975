"""The container's network: listeners inside its namespace, served from outside. Runs in the launcher.

A listening socket belongs to the network namespace it was made in, whoever accepts from it. The launcher makes two
sockets inside the container's namespace and stays outside its mount and process namespaces, where it can reach the
sandbox's unix sockets. It starts no threads: a process that has unshared its process namespace cannot.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from pathlib import Path

from clary.sandbox.containers import syscalls
from clary.sandbox.containers.plan import CREDENTIALS_ADDRESS, CREDENTIALS_SOCKET, SANDBOX_SOCKET, Plan

_CHUNK = 256 * 1024


def prepare(plan: Plan) -> list[tuple[socket.socket, str]]:
    """Switch the loopback on and listen; returns (listener, name of the unix socket that answers)."""
    syscalls.raise_interface("lo")
    _raise_own(plan)
    if not plan.sockets:
        return []
    listeners = []
    if plan.endpoint_port:
        listeners.append((_listen("127.0.0.1", plan.endpoint_port), SANDBOX_SOCKET))
    if plan.credentials_token:
        syscalls.raise_interface("lo:1", CREDENTIALS_ADDRESS)
        listeners.append((_listen(CREDENTIALS_ADDRESS, 80), CREDENTIALS_SOCKET))
    return listeners


def _raise_own(plan: Plan) -> None:
    """Give the host its address. One that is alone has no switch to be plugged into, but an ``eth0`` all the same."""
    if not plan.join:
        try:
            syscalls.add_bridge("eth0")
        except OSError:
            # No bridges in this kernel: the address works all the same, only the interface's name is another.
            syscalls.raise_interface("lo:2", plan.address)
            return
    syscalls.raise_interface("eth0", plan.address, "255.255.0.0")


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(128)
    listener.setblocking(False)  # noqa: FBT003 - the socket's own signature
    return listener


class Forwarder:
    """Carries bytes between the container's connections and the sandbox's unix sockets."""

    def __init__(self, plan: Plan, listeners: list[tuple[socket.socket, str]]) -> None:
        self._plan = plan
        self._selector = selectors.DefaultSelector()
        for listener, name in listeners:
            self._selector.register(listener, selectors.EVENT_READ, name)

    def run_until(self, descriptor: int, check: float) -> bool:
        """Serve until ``descriptor`` is readable (True) or ``check`` seconds have passed (False)."""
        if descriptor not in self._selector.get_map():
            self._selector.register(descriptor, selectors.EVENT_READ, None)
        end = time.monotonic() + check
        while (left := end - time.monotonic()) > 0:
            for key, events in self._selector.select(left):
                if key.data is None:
                    return True
                if isinstance(key.data, str):
                    self._accept(key.fileobj, key.data)
                else:
                    key.data.move(events)
        return False

    def _accept(self, listener: object, name: str) -> None:
        assert isinstance(listener, socket.socket)
        try:
            inner, _ = listener.accept()
        except OSError:
            return
        outer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect(outer, Path(self._plan.sockets), name)
            if name == CREDENTIALS_SOCKET:
                outer.sendall(self._plan.credentials_token.encode() + b"\n")
        except OSError:
            # The sandbox is away for now; the client in the container sees a closed connection and tries again.
            inner.close()
            outer.close()
            return
        there, back = _Way(self._selector, inner, outer), _Way(self._selector, outer, inner)
        there.other, back.other = back, there
        there.watch()
        back.watch()


def _connect(connection: socket.socket, folder: Path, name: str) -> None:
    """Connect through a descriptor of the folder, for a unix socket's path may have 107 bytes at most."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)


class _Way:
    """One direction of a connection: what arrives at ``source`` waits in ``pending`` until ``sink`` takes it."""

    other: _Way

    def __init__(self, selector: selectors.BaseSelector, source: socket.socket, sink: socket.socket) -> None:
        self._selector = selector
        self.source = source
        self.sink = sink
        self.pending = b""
        self.ended = False
        self.closed = False
        source.setblocking(False)  # noqa: FBT003 - the socket's own signature

    def watch(self) -> None:
        """Ask to be told of what this end's socket can do next."""
        events = selectors.EVENT_READ if not self.ended and not self.pending else 0
        if self.other.pending:
            events |= selectors.EVENT_WRITE
        known = self.source in self._selector.get_map()
        if events and known:
            self._selector.modify(self.source, events, self)
        elif events:
            self._selector.register(self.source, events, self)
        elif known:
            self._selector.unregister(self.source)

    def move(self, events: int) -> None:
        """Take what has arrived here, and bring what waits for this end."""
        if self.closed:
            return
        try:
            if events & selectors.EVENT_READ and not self.pending:
                self._take()
            if events & selectors.EVENT_WRITE:
                self.other.bring()
        except OSError:
            self._close()
            return
        if self.ended and self.other.ended and not self.pending and not self.other.pending:
            self._close()
            return
        self.watch()
        self.other.watch()

    def _take(self) -> None:
        self.pending = self.source.recv(_CHUNK)
        if not self.pending:
            self.ended = True
        self.bring()

    def bring(self) -> None:
        """Send what is pending; at the end pass the end on."""
        if self.pending:
            try:
                self.pending = self.pending[self.sink.send(self.pending) :]
            except BlockingIOError:
                return
        if self.ended and not self.pending:
            self.sink.shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        for way in (self, self.other):
            way.closed = True
            if way.source in self._selector.get_map():
                self._selector.unregister(way.source)
            way.source.close()
