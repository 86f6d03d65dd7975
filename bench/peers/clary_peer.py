"""Clary's engine over its local record: ``python clary_peer.py WORK COUNT FOLDER [full]``; ``full`` syncs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from clary import checkpoint, flow
from clary.artifacts import encode
from clary.engine.attempt import run_attempt
from clary.journal import records
from clary.journal.sqlite import SqliteLog
from clary.journal.state import RunState
from clary.journal.writer import append
from clary.objects import open_store

WORK, COUNT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
FULL_SYNC = "full" in sys.argv[4:]


@checkpoint
def add(total: int, number: int) -> int:
    return total + number


@checkpoint
def text(total: int, number: int) -> str:
    return f"{total + number:4096d}"


@flow
def steps(count: int) -> int:
    total = 0
    for number in range(count):
        total = add(total, number)
    if WORK == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return total


@flow
def values(count: int) -> int:
    total = 0
    for number in range(count):
        total = int(text(total, number))
    return total


@flow(workers=8)
def fan(count: int) -> int:
    return sum(add.map(range(count), number=1).results())


def run(body: Any, run_id: str, count: int, attempt: int = 1) -> float:
    """Run an attempt and return its seconds."""
    log = SqliteLog(Path(FOLDER) / "journal.db", run_id, full_sync=FULL_SYNC)
    store = open_store(FOLDER)
    claim = records.attempt(attempt, job=None, request=None, spec={})
    inputs = {"count": encode(count, store)}
    first = [records.created(run_id, flow="loop", stack="bench", spec={}, inputs=inputs, by="bench")]
    started = time.perf_counter()
    append(log, RunState(), lambda state: [claim] if state.attempts else [*first, claim])
    outcome = run_attempt(log, store, lambda _state: body, attempt, host="bench")
    assert outcome.status == "completed", outcome.error
    return time.perf_counter() - started


def main() -> None:
    """Do the work and print its seconds."""
    if WORK in ("die", "resume"):
        took = run(steps, "the-run", COUNT, 1 if WORK == "die" else 2)
    else:
        body = {"steps": steps, "values": values, "fan": fan}[WORK]
        run(body, "first", 10)
        took = run(body, "second", COUNT)
    print(json.dumps({"seconds": took}))


if __name__ == "__main__":
    main()
