"""Runs that are killed at chosen points, in forked processes: flows, points of death, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import faulthandler
import mmap
import os
import random
import signal
import threading
import time
import traceback
import warnings
from collections import Counter
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from clary import as_completed, checkpoint, current_run, flow, load, save, sleep, sleep_async, wait, wait_async
from clary import log as note
from clary.artifacts import decode
from clary.engine import suspension
from clary.engine.retry import Retries
from clary.journal import records
from clary.journal.sqlite import SqliteLog
from clary.journal.state import RunState
from clary.journal.writer import append
from clary.runtime import stopping
from durable import Disturbed, assert_once, attempt, begin, claim, open_log, state_of, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clary.flows import Flow
    from clary.journal.log import Log
    from clary.journal.records import Entry
    from clary.objects import ObjectStore
    from clary.objects.folder import FolderStore

POINTS = ("enter", "leave", "before put", "after put", "before value", "after value")
"""Where a process may die: in a body before and after its effect, and about each write of the log and the store."""
PATIENCE = 60.0
"""Seconds after which a process that hangs shows where, and ends."""
_EFFECTS = "effects.txt"
_FAILURES = "failures.txt"
_COUNT = slice(0, 8)


class Death:
    """Sends a signal to the process of an attempt when a point is reached for the n-th time.

    The count is shared with forked processes: a death can wait for a later attempt of the run, and a body that runs in
    a process of its own counts too.
    """

    def __init__(self, point: str = "", number: int = 0, by: signal.Signals = signal.SIGKILL) -> None:
        self.point = point
        self.by = by
        self.process = 0
        """Whom it hits."""
        self.quiet: AbstractContextManager[Any] = nullcontext()
        """Held while the process is paused: a process within a write of SQLite's would keep the whole file locked."""
        self._left = mmap.mmap(-1, mmap.PAGESIZE)
        self._left[_COUNT] = number.to_bytes(8, "little", signed=True)

    @property
    def has_struck(self) -> bool:
        """Whether it has come."""
        return bool(self.point) and int.from_bytes(self._left[_COUNT], "little", signed=True) <= 0

    def reach(self, point: str) -> None:
        """Die here, if this is where."""
        if point != self.point:
            return
        left = int.from_bytes(self._left[_COUNT], "little", signed=True) - 1
        self._left[_COUNT] = left.to_bytes(8, "little", signed=True)
        if left != 0:
            return
        if os.getpid() == self.process:
            with self.quiet:  # to this thread: it does not go on, and let the lock go, before the others have stopped
                signal.pthread_kill(threading.get_ident(), self.by)
        elif self.by is not signal.SIGSTOP:
            os.kill(self.process, self.by)


_death = Death()
_effects = -1
_failures = -1
_jitter: random.Random | None = None


def effect(value: Any) -> Any:
    """Have an effect that outlives the process, once for each time that a body runs."""
    _death.reach("enter")
    if _jitter is not None:
        time.sleep(_jitter.random() / 200)
    os.write(_effects, f"{current_run().path}\n".encode())
    _death.reach("leave")
    return value


def stumble(times: int) -> None:
    """Raise, unless this place in the run has raised so often already, in whatever process."""
    # Without a lock: a body that runs in a forked process would wait for ever for one that was held at the fork.
    before = os.pread(_failures, 1 << 20, 0).decode().splitlines().count(f"at {current_run().path}")
    if before < times:
        os.write(_failures, f"at {current_run().path}\n".encode())
        raise ConnectionError(f"{before + 1} of {times}")


@checkpoint
def step(value: Any) -> Any:
    return effect(value)


@checkpoint
def race(milliseconds: int) -> int:
    time.sleep(milliseconds / 1000)
    return int(effect(milliseconds))


@checkpoint
def outer(value: int) -> list[Any]:
    return list(effect([step(value), *step.map([value, value + 1]).results()]))


@checkpoint
def fails(text: str) -> None:
    raise KeyError(effect(text))


@checkpoint
async def fetch(value: int) -> int:
    await asyncio.sleep(0.001 * (value % 3))
    return int(effect(value))


@checkpoint
async def branch(value: int) -> int:
    found = await asyncio.gather(fetch(value), fetch(value + 1))
    return int(effect(sum(found)))


@flow(workers=3)
def in_threads(size: int) -> dict[str, Any]:
    """Sync: a call, a fan-out, nested calls, results as they come, readings of chance, kept values, a failure."""
    found: dict[str, Any] = {"first": step("x" * 70_000)[:3], "parts": step.map(range(size)).results()}
    found["nested"] = outer.submit(5).result()
    found["order"] = [future.result() for future in as_completed(race.map([3, 1, 2]))]
    found["chance"] = current_run().random()
    save("model", {"weights": list(range(size))})
    note(size=size)
    try:
        fails("no")
    except KeyError as error:
        found["failure"] = error.args[0]
    found["kept"] = load("model")["weights"]
    step.map(["left alone"])
    return found


@flow(workers=3)
async def in_tasks(size: int) -> dict[str, Any]:
    """Async: tasks in a group, nested calls, results as they come, a call in a thread."""

    async def task(number: int) -> int:
        return await fetch(number) + await branch(number)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(task(number)) for number in range(2)]
    found: dict[str, Any] = {"tasks": [task.result() for task in tasks], "parts": list(range(size))}
    found["order"] = [await future async for future in as_completed(race.map([3, 1, 2]))]
    found["submitted"] = list(await asyncio.gather(fetch.submit(7), step.submit("thread")))
    found["chance"] = current_run().random()
    fetch.map([9])
    return found


QUICK = Retries(2, delay=0.001)
LIMIT = 30.0
"""Seconds; nothing comes near."""


@checkpoint(retries=QUICK)
def unsteady(value: int) -> int:
    stumble(value % 3)
    return int(effect(value))


@checkpoint(retries=QUICK)
def unsteady_outer(value: int) -> int:
    """Fails when all that it calls has returned, with a call still under way."""
    left = step.submit(value)
    total = unsteady(value) + step(value)
    stumble(1)
    return int(effect(total + left.result()))


@checkpoint(timeout=LIMIT, retries=QUICK)
def limited(value: int) -> int:
    stumble(1)
    return int(effect(value))


@checkpoint(retries=QUICK)
async def unsteady_fetch(value: int) -> int:
    await asyncio.sleep(0.001)
    stumble(value % 3)
    return int(effect(value))


@checkpoint(timeout=LIMIT, retries=QUICK)
async def unsteady_branch(value: int) -> int:
    left = asyncio.ensure_future(fetch(value))
    total = await unsteady_fetch(value) + await fetch.submit(value)
    stumble(1)
    return int(effect(total + await left))


@flow(workers=3, retries=QUICK)
def with_tries(size: int) -> dict[str, Any]:
    """Sync: retries of calls and of the flow, a time limit, an answer, a sleep."""
    found: dict[str, Any] = {"parts": unsteady.map(range(size)).results()}
    limits = limited.submit(6)
    found["nested"] = unsteady_outer(4)
    found["answer"] = wait("go", int)
    sleep(0.02, suspend=True)
    stumble(1)
    found["late"] = [step(found["answer"]), limits.result()]
    return found


@flow(workers=3, retries=QUICK)
async def with_tries_in_tasks(size: int) -> dict[str, Any]:
    """Async: the same."""
    parts = await asyncio.gather(*unsteady_fetch.map(range(size)))
    limits = unsteady_branch.submit(6)
    found: dict[str, Any] = {"parts": list(parts), "nested": await unsteady_branch(4)}
    found["answer"] = await wait_async("go", int)
    await sleep_async(0.02, suspend=True)
    stumble(1)
    found["late"] = [await fetch(found["answer"]), await limits]
    return found


FLOWS: dict[str, Flow[Any, Any]] = {
    "threads": in_threads,
    "tasks": in_tasks,
    "tries": with_tries,
    "tries in tasks": with_tries_in_tasks,
}
STRAIGHT = ("threads", "tasks")
"""Flows that come to their end in one attempt; the others wait for an answer and for a time."""
ANSWER = 41


def start(kind: str, folder: Path) -> None:
    """Record a run of the flow ``flow`` that takes ``size``."""
    with opened(kind, folder) as (log, store):
        prepare(log, store, folder)


def prepare(log: Log, store: ObjectStore, folder: Path) -> None:
    """Do as ``start`` does, with a log that is open."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (_EFFECTS, _FAILURES):
        (folder / name).touch()
    begin(log, store, size=3)


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[tuple[Log, FolderStore]]:
    """Give the log and the store of a run, closed at the end: a forked process must not share a connection."""
    log, store = open_log(kind, folder)
    try:
        yield log, store
    finally:
        getattr(log, "close", lambda: None)()


def fork(act: Callable[[], int]) -> int:
    """Run a function in a forked process, whose exit code it gives; returns the process's id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside the threads of a test runner
        child = os.fork()
    if child == 0:
        try:
            faulthandler.dump_traceback_later(PATIENCE, exit=True, file=2)
            suspension._POLL = 0.005
            os._exit(act())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(99)
    return child


def forked_attempt(
    kind: str, folder: Path, flow_name: str, number: int, death: Death | None = None, seed: int | None = None
) -> int:
    """Run an attempt in a forked process and return its wait status, when it has ended or paused."""

    def act() -> int:
        log, store = open_log(kind, folder)
        return run_attempt(log, store, folder, flow_name, number, death or Death(), seed)

    return os.waitpid(fork(act), 0)[1]


def run_attempt(
    log: Log, store: ObjectStore, folder: Path, flow_name: str, number: int, death: Death, seed: int | None = None
) -> int:
    """Run an attempt here, with its effects in the folder; returns its exit code, if it does not die."""
    global _death, _effects, _failures, _jitter
    _death, _jitter = death, None if seed is None else random.Random(seed)
    death.process = os.getpid()
    _effects = os.open(folder / _EFFECTS, os.O_WRONLY | os.O_APPEND)
    _failures = os.open(folder / _FAILURES, os.O_RDWR | os.O_APPEND)

    def create(inner: Log, entry: Entry) -> bool:
        death.reach("before put")
        stored = inner.create(entry)
        death.reach("after put")
        return stored

    if isinstance(log, SqliteLog):
        death.quiet = log._lock
    put = store.put

    def put_value(key: str, data: bytes) -> None:
        if key.startswith("values/"):
            death.reach("before value")
        put(key, data)
        if key.startswith("values/"):
            death.reach("after value")

    store.put = put_value  # type: ignore[method-assign]
    outcome = attempt(Disturbed(log, create), store, FLOWS[flow_name], number, waker=_Waker(), extend=stopping.watch)
    store.put = put  # type: ignore[method-assign]
    return outcome.exit_code


class _Waker:
    """Whoever runs the test begins the next attempt when it is due."""

    def check(self) -> None:
        pass

    def wake_at(self, moment: float) -> None:
        pass

    def stay(self) -> None:
        pass

    def now(self) -> float:
        return time.time()


def is_killed(status: int) -> bool:
    """Tell whether a wait status is that of a process that died of SIGKILL."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def take_over(kind: str, folder: Path, number: int) -> None:
    """Claim the next attempt, as is done for a run that has not completed: of one that waits, when it is due."""
    with opened(kind, folder) as (log, _):
        if (state := state_of(log)).status == "waiting":
            answer(log)
            time.sleep(max(0.0, ((state.suspension or {})["until"] or 0.0) - time.time()))
        if state.status != "completed":
            claim(log, number)


def answer(log: Log) -> None:
    """Answer what the run asks, if nobody has."""

    def answers(state: RunState) -> list[records.Record] | None:
        return [records.answer(one["path"], records.ANSWERED, ANSWER) for one in state.open_waits()] or None

    append(log, RunState(), answers)


def go_on(kind: str, folder: Path, flow_name: str, number: int, death: Death | None = None) -> int:
    """Run attempts after attempt ``number`` until the run has completed; returns the number of the last one.

    A death that has not come yet may come in one of them.
    """
    while not is_completed(kind, folder):
        number += 1
        assert number < 20
        if number > 1:
            take_over(kind, folder, number)
        status = forked_attempt(kind, folder, flow_name, number, death)
        assert status == 0 or (death is not None and is_killed(status))
    return number


def is_completed(kind: str, folder: Path) -> bool:
    """Tell whether the record holds the run's result."""
    with opened(kind, folder) as (log, _):
        return state_of(log).status == "completed"


def check(kind: str, folder: Path, flow_name: str) -> None:
    """Check what must hold when a run has completed after deaths.

    The record holds every call once. An attempt that began when a call was recorded never runs it; one that began
    before may have run it, once. The result is right, and calls that came as they completed came in the log's order.
    """
    with opened(kind, folder) as (log, store):
        check_log(log, store, folder, flow_name)


def check_log(log: Log, store: ObjectStore, folder: Path, flow_name: str) -> None:
    """Do as ``check`` does, with a log that is open."""
    ran = Counter((folder / _EFFECTS).read_text().split())
    state = state_of(log)
    assert state.status == "completed"
    assert state.output is not None
    result = decode(state.output, store)
    assert_once(log)
    assert len(written(log, records.COMPLETED)) == 1
    may_have_run: dict[str, int] = {}
    began = 0
    for record in written(log, records.OPENED, records.CALL, records.CALL_FAILED):
        if record["kind"] == records.OPENED:
            began += 1
        else:
            may_have_run.setdefault(record["path"], began)
    assert set(ran) == set(may_have_run)
    assert not {path: count for path, count in ran.items() if count > may_have_run[path]}
    order = [path for path in may_have_run if path.startswith("race#")]
    assert result.pop("order", []) == [{"race#1": 3, "race#2": 1, "race#3": 2}[path] for path in order]
    drawn = [record["value"] for record in written(log, records.VALUE)]
    assert result.pop("chance", None) in (drawn or [None])
    assert result == EXPECTED[flow_name], result
    assert len(may_have_run) == CALLS[flow_name]
    assert len(written(log, records.WAIT, records.TIMER)) == len({"answer", "late"} & result.keys())
    assert all(record["n"] <= QUICK.count for record in written(log, records.TRY_FAILED, records.FLOW_RETRIED))


EXPECTED = {
    "threads": {
        "first": "xxx",
        "parts": [0, 1, 2],
        "nested": [5, 5, 6],
        "failure": "no",
        "kept": [0, 1, 2],
    },
    "tasks": {"tasks": [1, 4], "parts": [0, 1, 2], "submitted": [7, "thread"]},
    "tries": {"parts": [0, 1, 2], "nested": 12, "answer": ANSWER, "late": [ANSWER, 6]},
    "tries in tasks": {"parts": [0, 1, 2], "nested": 12, "answer": ANSWER, "late": [ANSWER, 18]},
}
CALLS = {"threads": 13, "tasks": 14, "tries": 9, "tries in tasks": 12}
