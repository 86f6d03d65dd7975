"""What a checkpoint costs on this machine: ``python bench/checkpoints.py [--write]``; beside others: ``engines.py``."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from results import report, table

from clary import checkpoint, flow
from clary.artifacts import encode
from clary.engine.attempt import run_attempt
from clary.journal import records
from clary.journal.log import ObjectLog
from clary.journal.sqlite import SqliteLog
from clary.journal.state import RunState
from clary.journal.writer import append
from clary.objects import open_store

if TYPE_CHECKING:
    from clary.engine.attempt import Outcome
    from clary.journal.log import Log

CALLS = 1000
ROUNDS = 7
FAN_OUT = (1_000, 10_000)


def add(total: int, number: int) -> int:
    """Do next to nothing."""
    return total + number


kept = checkpoint(add)


@flow
def loop(count: int) -> int:
    """Call the checkpoint many times, each on the result of the one before."""
    total = 0
    for number in range(count):
        total = kept(total, number)
    return total


@flow
def spread(count: int) -> int:
    """Call the checkpoint for many items at once."""
    return len(kept.map(range(count), number=1).results())


def attempt(log: Log, root: str, number: int) -> tuple[float, Outcome]:
    """Run one attempt and return its seconds."""
    store = open_store(root)

    def claim(state: RunState) -> list[records.Record]:
        first = records.created(
            "01", flow="loop", stack="bench", spec={}, inputs={"count": encode(CALLS, store)}, by="bench"
        )
        claimed = records.attempt(number, job=None, request=None, spec={})
        return [claimed] if state.attempts else [first, claimed]

    append(log, RunState(), claim)
    started = time.perf_counter()
    outcome = run_attempt(log, store, lambda _state: loop, number, host="bench")
    return time.perf_counter() - started, outcome


def per_call(kind: str) -> float:
    """Return the median seconds of a call over the bare function."""
    figures = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            took, outcome = attempt(make_log(kind, folder), folder, 1)
            assert outcome.status == "completed"
            figures.append(took / CALLS)
    return statistics.median(figures) - bare()


def make_log(kind: str, folder: str) -> Log:
    """Return a log of that kind in the folder."""
    if kind == "objects":
        return ObjectLog(open_store(folder), "01")
    return SqliteLog(Path(folder) / "journal.db", "01", full_sync=kind == "full sync")


def bare() -> float:
    """Return the seconds of a plain call."""
    started = time.perf_counter()
    total = 0
    for number in range(CALLS):
        total = add(total, number)
    return (time.perf_counter() - started) / CALLS


def replay() -> float:
    """Return the median seconds in which an attempt gets past all recorded calls."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        log = make_log("sqlite", folder)
        attempt(log, folder, 1)
        entries = [entry for entry in log.read() if all(one["kind"] != "completed" for one in entry["records"])]
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as copy:
                again = make_log("sqlite", copy)
                for entry in entries:
                    again.create(entry)
                took, outcome = attempt(again, copy, 2)
                assert outcome.replayed == CALLS
                figures.append(took)
    return statistics.median(figures)


def fan_out(count: int) -> tuple[float, float]:
    """Return the seconds of a call among ``count`` that are mapped at once, and the memory they took in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        log, store = make_log("sqlite", folder), open_store(folder)
        first = records.created(
            "01", flow="spread", stack="bench", spec={}, inputs={"count": encode(count, store)}, by="bench"
        )
        append(log, RunState(), lambda _: [first, records.attempt(1, job=None, request=None, spec={})])
        started = time.perf_counter()
        outcome = run_attempt(log, store, lambda _state: spread, 1, host="bench")
        took = time.perf_counter() - started
        assert outcome.value == count
    return took / count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Measure and report."""
    quick, full, objects = per_call("sqlite"), per_call("full sync"), per_call("objects")
    again = replay()
    rows = [
        ["a trivial checkpoint, survives kill -9", f"{quick * 1000:.3f} ms", "0.15 ms"],
        ["the same, survives power loss (full sync)", f"{full * 1000:.3f} ms", ""],
        ["the same, log as files of a folder", f"{objects * 1000:.3f} ms", ""],
        [f"replay of {CALLS:,} recorded checkpoints", f"{again:.3f} s", "0.1 s"],
    ]
    for count in FAN_OUT:
        each, memory = fan_out(count)
        what = f"a checkpoint among {count:,} mapped ones (memory: {memory:.0f} MiB more)"
        rows.append([what, f"{each * 1000:.3f} ms", "no growth"])
    report("checkpoints", "python bench/checkpoints.py --write", table(["what", "median", "bar"], rows))


if __name__ == "__main__":
    main()
