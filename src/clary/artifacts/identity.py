"""Objects that this process has kept or read back, and the addresses of what was kept.

An argument that has no digest of its own kind, because it is pickled, is compared by the address of the output that it
came from. Objects are known by identity: most by a weak reference; those that take none (lists, dictionaries) are held,
the latest ones, up to a bound.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import Any

_HELD_BYTES = 64 << 20
"""Kept bytes of all objects together that are held here, so that their identity stays theirs."""


class Known:
    """Addresses by identity. Safe from any thread."""

    def __init__(self, held_bytes: int = _HELD_BYTES) -> None:
        self._most = held_bytes
        self._weak: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._held: OrderedDict[int, tuple[Any, str, int]] = OrderedDict()
        self._bytes = 0
        self.renew_lock()

    def renew_lock(self) -> None:
        """Make a lock that nobody holds, in a forked child."""
        self._lock = threading.RLock()  # a weak reference may end while it is held

    def remember(self, value: Any, address: str, size: int) -> None:
        """Know this very object by what was kept of it."""
        key = id(value)
        try:
            reference = weakref.ref(value, lambda gone: self._forget(key, gone))
        except TypeError:
            self._hold(key, value, address, size)
            return
        with self._lock:
            self._weak[key] = (reference, address)

    def address(self, value: Any) -> str | None:
        """Return the address of this very object, if it is known."""
        key = id(value)
        with self._lock:
            if key in self._held:
                return self._held[key][1]
            found = self._weak.get(key)
        return found[1] if found is not None and found[0]() is value else None

    def _forget(self, key: int, gone: weakref.ref[Any]) -> None:
        with self._lock:
            if key in self._weak and self._weak[key][0] is gone:
                del self._weak[key]

    def _hold(self, key: int, value: Any, address: str, size: int) -> None:
        if size > self._most:
            return
        with self._lock:
            if key in self._held:
                self._bytes -= self._held.pop(key)[2]
            self._held[key] = (value, address, size)
            self._bytes += size
            while self._bytes > self._most:
                self._bytes -= self._held.popitem(last=False)[1][2]


known = Known()
os.register_at_fork(after_in_child=known.renew_lock)
