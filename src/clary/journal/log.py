"""Where the log of a run is kept: one small protocol, over SQLite on one machine and over objects in a bucket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from clary.errors import JournalError, Retry
from clary.journal.records import Entry, from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.objects import ObjectStore

SNAPSHOT_EVERY = 1000
"""Entries after which a snapshot is written, so that a reader fetches one object and a short tail."""
_READERS = 16
"""Objects of the tail that are fetched at once."""
_DIGITS = 10


class Log(Protocol):
    """The ordered entries of one run. A number is taken once, by whoever stores it first."""

    immediate: bool
    """Whether a write takes microseconds, so that nobody need wait for it elsewhere."""

    def read(self, after: int = 0) -> Iterator[Entry]:
        """Yield every entry with a number above ``after``, in order, without a gap."""

    def get(self, seq: int) -> Entry | None:
        """Return the entry of that number, or None when the number is free."""

    def create(self, entry: Entry) -> bool:
        """Store the entry if its number is free. False is no proof of losing: read the number (see the writer)."""

    def snapshot(self, upto: Callable[[], list[Entry]], seq: int) -> None:
        """Write a snapshot of the entries up to ``seq`` where that makes reading quicker; else do nothing."""


class ObjectLog:
    """The log as objects ``runs/<run>/log/<seq>.json``, with snapshots beside it."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        self.immediate = store.immediate
        self._store = store
        self._log = f"runs/{run}/log"
        self._snapshots = f"runs/{run}/snapshot"

    def read(self, after: int = 0) -> Iterator[Entry]:
        """Yield the entries above ``after``: the newest snapshot where that helps, then the tail, many at once."""
        if after == 0:
            for entry in self._newest_snapshot():
                after = entry["seq"]
                yield entry
        keys = list(self._store.keys(self._log, after=self._key(after)))
        if not keys:
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_READERS, len(keys)), thread_name_prefix="clary-log") as pool:
            for number, data in enumerate(pool.map(self._store.get, keys), start=after + 1):
                entry = _parsed(data or b"", self._store.url(self._key(number)))
                if entry["seq"] != number:
                    raise _broken(self._store.url(self._key(number)), "the entry is missing")
                yield entry

    def get(self, seq: int) -> Entry | None:
        """Return the entry of that number, or None when the number is free."""
        data = self._store.get(self._key(seq))
        return None if data is None else _parsed(data, self._store.url(self._key(seq)))

    def create(self, entry: Entry) -> bool:
        """Store the entry if its number is free."""
        return self._store.create(self._key(entry["seq"]), to_bytes(entry))

    def snapshot(self, upto: Callable[[], list[Entry]], seq: int) -> None:
        """Write a snapshot of the entries up to ``seq``."""
        body = json.dumps({"v": 1, "seq": seq, "entries": upto()}, separators=(",", ":"))
        self._store.put(f"{self._snapshots}/{seq:0{_DIGITS}}.json", body.encode())

    def _newest_snapshot(self) -> list[Entry]:
        keys = list(self._store.keys(self._snapshots))
        data = self._store.get(keys[-1]) if keys else None
        try:
            entries: list[Entry] = json.loads(data or b"")["entries"]
        except (ValueError, KeyError, TypeError):
            return []  # none, or damaged: the log itself says the same, only slower
        return entries

    def _key(self, seq: int) -> str:
        return f"{self._log}/{seq:0{_DIGITS}}.json"


def _parsed(data: bytes, where: str) -> Entry:
    try:
        return from_bytes(data)
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(where, str(error)) from error


def _broken(where: str, reason: str) -> JournalError:
    return JournalError(
        "journal.unreadable",
        f"The record at {where} cannot be read: {reason}.",
        next_step="If a newer Clary wrote it, use that version; else look at the object and restore it from a backup.",
        retry=Retry.NO,
    )
