"""Where the log of a run is kept: one small protocol, over SQLite on one machine and over objects in a bucket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol, TypeVar

from clary.errors import JournalError, Retry
from clary.journal.records import Entry, from_bytes, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.objects import ObjectStore

T = TypeVar("T")

SNAPSHOT_EVERY = 1000
"""Entries that one snapshot holds, so that a reader fetches few objects and a short tail."""
_READERS = 16
"""Objects of the tail that are fetched at once."""
_DIGITS = 10


class Log(Protocol):
    """The ordered entries of one run. A number is taken once, by whoever stores it first."""

    immediate: bool
    """Whether a write takes microseconds, so that nobody need wait for it elsewhere."""

    @property
    def snapshotted(self) -> int:
        """Number of the last entry that was in a snapshot when the log was read from its beginning."""

    def read(self, after: int = 0) -> Iterator[Entry]:
        """Yield every entry with a number above ``after``, in order, without a gap."""

    def get(self, seq: int) -> Entry | None:
        """Return the entry of that number, or None when the number is free."""

    def create(self, entry: Entry) -> bool:
        """Store the entry if its number is free. False is no proof of losing: read the number (see the writer)."""

    def snapshot(self, entries: list[Entry]) -> None:
        """Keep entries, which follow one another, together where that makes reading quicker; else do nothing."""


class ObjectLog:
    """The log as objects ``runs/<run>/log/<seq>.json``, with snapshots beside it.

    A snapshot ``<seq>.json`` holds the entries from the one before it to ``seq``: so each entry is written twice,
    however long the log becomes.
    """

    def __init__(self, store: ObjectStore, run: str) -> None:
        self.immediate = store.immediate
        self.snapshotted = 0
        self._store = store
        self._log = f"runs/{run}/log"
        self._snapshots = f"runs/{run}/snapshot"

    def read(self, after: int = 0) -> Iterator[Entry]:
        """Yield the entries above ``after``: the snapshots where that helps, then the tail, many at once."""
        if after == 0:
            for entries in self._each(self._snapshot, list(self._store.keys(self._snapshots))):
                fresh = [entry for entry in entries if entry["seq"] > after]
                if fresh and fresh[0]["seq"] > after + 1:  # the snapshot before it was lost
                    yield from self._entries([self._key(seq) for seq in range(after + 1, fresh[0]["seq"])], after)
                yield from fresh
                self.snapshotted = after = fresh[-1]["seq"] if fresh else after
        yield from self._entries(list(self._store.keys(self._log, after=self._key(after))), after)

    def _entries(self, keys: list[str], after: int) -> Iterator[Entry]:
        """Yield the entries of these keys, which follow number ``after``."""
        for number, data in enumerate(self._each(self._store.get, keys), start=after + 1):
            entry = _parsed(data or b"", self._store.url(self._key(number)))
            if entry["seq"] != number:
                raise _broken(self._store.url(self._key(number)), "the entry is missing")
            yield entry

    def _each(self, fetch: Callable[[str], T], keys: list[str]) -> Iterator[T]:
        """Yield what is fetched for each key, in order."""
        if not keys:
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_READERS, len(keys)), thread_name_prefix="clary-log") as pool:
            yield from pool.map(fetch, keys)

    def get(self, seq: int) -> Entry | None:
        """Return the entry of that number, or None when the number is free."""
        data = self._store.get(self._key(seq))
        return None if data is None else _parsed(data, self._store.url(self._key(seq)))

    def create(self, entry: Entry) -> bool:
        """Store the entry if its number is free."""
        return self._store.create(self._key(entry["seq"]), to_bytes(entry))

    def snapshot(self, entries: list[Entry]) -> None:
        """Keep entries, which follow one another, together."""
        seq = entries[-1]["seq"]
        body = json.dumps({"v": 1, "seq": seq, "entries": entries}, separators=(",", ":"))
        self._store.put(f"{self._snapshots}/{seq:0{_DIGITS}}.json", body.encode())

    def _snapshot(self, key: str) -> list[Entry]:
        try:
            entries: list[Entry] = json.loads(self._store.get(key) or b"")["entries"]
        except (ValueError, KeyError, TypeError):
            return []  # gone, or damaged: the log itself says the same, only slower
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
