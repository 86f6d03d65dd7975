"""Runs without a stack, for the tests of the durable core: a real log, a real store, and ways to disturb them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from clary.artifacts import encode
from clary.engine.attempt import Outcome, run_attempt
from clary.journal import records
from clary.journal.log import Log, ObjectLog
from clary.journal.sqlite import SqliteLog
from clary.journal.state import RunState, fold
from clary.journal.writer import append
from clary.objects.folder import FolderStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clary.flows import Flow
    from clary.journal.records import Entry, Record
    from clary.objects import ObjectStore

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
KINDS = ("sqlite", "objects")


def open_log(kind: str, folder: Path) -> tuple[Log, FolderStore]:
    """Open the log of the one run of a test: ``sqlite``, or ``objects`` in a folder that acts like a bucket."""
    store = FolderStore(str(folder / "store"))
    if kind == "sqlite":
        return SqliteLog(folder / "journal.db", RUN), store
    log = ObjectLog(store, RUN)
    log.immediate = False
    return log, store


def begin(log: Log, store: ObjectStore, **inputs: Any) -> None:
    """Record the run and the claim of its first attempt."""
    encoded = {name: encode(value, store) for name, value in inputs.items()}
    made = [
        records.created(RUN, flow="flow", stack="local", spec={}, inputs=encoded, by="somebody"),
        records.attempt(1, job=None, request=None, spec={}),
    ]
    assert append(log, RunState(), lambda _state: made)


def claim(log: Log, number: int, *, on_change: str = "error") -> None:
    """Record the claim of a further attempt."""
    made = [records.attempt(number, job=None, request=None, spec={}, on_change=on_change)]
    assert append(log, RunState(), lambda _state: made)


def attempt(log: Log, store: ObjectStore, flow: Flow[Any, Any], number: int = 1, **options: Any) -> Outcome:
    """Run one attempt of a flow in this process."""
    return run_attempt(log, store, lambda _state: flow, number, host="here", **options)


def first_attempt(kind: str, folder: Path, flow: Flow[Any, Any], **inputs: Any) -> tuple[Outcome, Log, ObjectStore]:
    """Record a run and run its first attempt."""
    log, store = open_log(kind, folder)
    begin(log, store, **inputs)
    return attempt(log, store, flow), log, store


def written(log: Log, *kinds: str) -> list[Record]:
    """Return the records in the order of the log, of these kinds only if any are given."""
    return [one for entry in log.read() for one in entry["records"] if not kinds or one["kind"] in kinds]


def call_paths(log: Log) -> list[str]:
    """Return the paths of all recorded calls in the order of the log, as often as they are recorded."""
    return [record["path"] for record in written(log, records.CALL, records.CALL_FAILED)]


def state_of(log: Log) -> RunState:
    """Return what the log amounts to."""
    return fold(log.read())


def assert_once(log: Log) -> None:
    """Check that no call and no value is recorded twice, and that the numbers have no gap."""
    paths = Counter(
        (record["kind"] == records.VALUE, record["path"])
        for record in written(log, records.CALL, records.CALL_FAILED, records.VALUE)
    )
    assert not [path for path, count in paths.items() if count > 1]
    numbers = [entry["seq"] for entry in log.read()]
    assert numbers == list(range(1, len(numbers) + 1))


class Disturbed:
    """A log whose every write goes through a function that may let it happen, lose its reply, refuse, wait or die."""

    def __init__(self, log: Log, disturb: Callable[[Log, Entry], bool]) -> None:
        self.log = log
        self.immediate = log.immediate
        self._disturb = disturb

    @property
    def snapshotted(self) -> int:
        return self.log.snapshotted

    def read(self, after: int = 0) -> Iterator[Entry]:
        return self.log.read(after)

    def get(self, seq: int) -> Entry | None:
        return self.log.get(seq)

    def create(self, entry: Entry) -> bool:
        return self._disturb(self.log, entry)

    def snapshot(self, entries: list[Entry]) -> None:
        self.log.snapshot(entries)
