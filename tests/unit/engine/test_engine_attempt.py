"""How an attempt ends: completed, failed, stopped, fenced or interrupted; what it records, and its exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from clary import checkpoint, flow
from clary.artifacts import encode
from clary.engine import attempt as attempts
from clary.engine import progress
from clary.engine.attempt import Outcome, run_attempt
from clary.errors import (
    AwsError,
    ClaryError,
    DivergenceError,
    Fenced,
    JournalError,
    PermissionDeniedError,
    Retry,
    SerializationError,
    StopRequested,
    ThrottledError,
)
from clary.journal import records, writer
from clary.journal.state import RunState
from clary.journal.writer import Journal, append
from durable import (
    KINDS,
    Disturbed,
    assert_once,
    attempt,
    begin,
    call_paths,
    claim,
    first_attempt,
    open_log,
    state_of,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clary.engine.execution import Call, Execution
    from clary.flows import Flow
    from clary.journal.log import Log
    from clary.journal.records import Entry, Record
    from clary.objects import ObjectStore


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Log, ObjectStore]:
    log, store = open_log(request.param, tmp_path)
    begin(log, store)
    return log, store


@pytest.fixture(autouse=True)
def _orderly() -> Iterator[None]:
    """Do as the job and the laptop do: SIGTERM raises in the main thread."""

    def stop(_number: int, _frame: object) -> None:
        raise StopRequested("SIGTERM")

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


@checkpoint
def one(value: Any = 1) -> Any:
    return value


@checkpoint
async def soon(value: Any = 1) -> Any:
    await asyncio.sleep(0)
    return value


def kinds(log: Log) -> list[str]:
    return [record["kind"] for record in written(log)]


def ask_to_stop(log: Log) -> None:
    append(log, RunState(), lambda _state: [records.stop_requested("somebody")])


def terminate(*_: object) -> None:
    signal.raise_signal(signal.SIGTERM)


def test_a_completed_attempt(run: tuple[Log, ObjectStore]) -> None:
    log, store = run
    heard: list[Record] = []
    opened: list[Journal] = []
    outcome = attempt(log, store, flow(lambda: [one(1), one(2)]), on_call=heard.append, on_open=opened.append)
    assert (outcome.status, outcome.exit_code, outcome.value, outcome.replayed) == ("completed", 0, [1, 2], 0)
    assert [record["path"] for record in heard] == call_paths(log)
    assert kinds(log)[2:] == [records.OPENED, records.CALL, records.CALL, records.COMPLETED]
    state = state_of(log)
    assert state.status == "completed"
    assert state.attempts[1].outcome == "completed"
    with pytest.raises(Fenced):
        opened[0].write({"kind": "late"})
    before = kinds(log)
    again = attempt(log, store, flow(lambda: one(3)))
    assert (again.status, again.exit_code) == ("fenced", 76)
    assert kinds(log) == before


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("where", ["body", "call", "thread", "loop", "group"])
def test_a_signal_stops_only_a_run_that_was_asked_to_stop(
    run: tuple[Log, ObjectStore], asked: bool, where: str
) -> None:
    log, store = run
    gone = threading.Event()

    @checkpoint
    def stopping(value: int) -> int:
        terminate()
        return value

    @checkpoint
    def lingering() -> None:
        gone.wait(30)

    @checkpoint
    async def stopping_in_a_loop() -> None:
        terminate()

    def body() -> None:
        one()
        if where == "body":
            terminate()
        if where == "thread":
            lingering.map([])
            lingering.submit().done()
            terminate()
        stopping(1)

    async def loop_body() -> None:
        await soon()
        if where == "loop":
            terminate()
        async with asyncio.TaskGroup() as group:
            group.create_task(stopping_in_a_loop())
            group.create_task(asyncio.Event().wait())

    chosen: Flow[Any, Any] = flow(loop_body) if where in ("loop", "group") else flow(body)
    outcome = attempt(log, store, chosen, on_open=(lambda _journal: ask_to_stop(log)) if asked else None)
    gone.set()
    assert (outcome.status, outcome.exit_code) == ("stopped" if asked else "interrupted", 143)
    assert isinstance(outcome.error, StopRequested)
    assert (records.STOPPED in kinds(log)) is asked
    assert len(call_paths(log)) == 1
    claim(log, 2)
    assert attempt(log, store, flow(lambda: one(1)), 2).status == "completed"


def test_a_signal_before_the_log_is_open_leaves_no_trace(run: tuple[Log, ObjectStore]) -> None:
    log, store = run
    claim(log, 2)
    first = attempt(log, store, flow(lambda: one()), 2, on_open=terminate)
    assert first.status == "interrupted"
    claim(log, 3)

    class Slow(Disturbed):
        def read(self, after: int = 0) -> Iterator[Entry]:
            for number, entry in enumerate(super().read(after)):
                if number == 2 and after == 0:
                    terminate()
                yield entry

    before = kinds(log)
    outcome = attempt(Slow(log, lambda inner, entry: inner.create(entry)), store, flow(lambda: one()), 3)
    assert (outcome.status, outcome.exit_code) == ("interrupted", 143)
    assert kinds(log) == before


def test_a_run_that_was_stopped_before_is_stopped_without_running(run: tuple[Log, ObjectStore]) -> None:
    log, store = run
    ask_to_stop(log)
    outcome = attempt(log, store, flow(lambda: pytest.fail("ran")))
    assert (outcome.status, outcome.exit_code) == ("stopped", 143)
    assert kinds(log)[2:] == [records.STOP_REQUESTED, records.STOPPED]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("end", [records.COMPLETED, records.FAILED])
def test_a_signal_at_the_record_of_the_end(run: tuple[Log, ObjectStore], stored: bool, asked: bool, end: str) -> None:
    log, store = run
    to_do = ["ask"] * asked + ["signal"]

    def break_in(inner: Log, entry: Entry) -> bool:
        doing = to_do.pop(0) if to_do and entry["records"][0]["kind"] == end else ""
        if doing == "ask":
            ask_to_stop(inner)  # which takes the number
        if doing == "signal":
            if stored:
                inner.create(entry)
            terminate()
        return inner.create(entry)

    body = flow(lambda: one(5) if end == records.COMPLETED else one(1 / 0))
    outcome = attempt(Disturbed(log, break_in), store, body)
    assert outcome.status == ("completed" if end == records.COMPLETED else "failed")
    assert outcome.value == (5 if end == records.COMPLETED else None)
    assert kinds(log).count(end) == 1
    assert not to_do
    assert records.STOPPED not in kinds(log)
    assert state_of(log).status == outcome.status


def test_the_keyboard_stops_the_run(run: tuple[Log, ObjectStore]) -> None:
    log, store = run

    def body() -> None:
        one()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(log, store, flow(body))
    assert kinds(log)[-2:] == [records.CALL, records.STOPPED]


@pytest.mark.parametrize("where", ["body", "call", "thread", "loop"])
def test_leaving_the_process_is_a_failure_of_the_flow(run: tuple[Log, ObjectStore], where: str) -> None:
    log, store = run

    @checkpoint
    def leaves() -> None:
        sys.exit("enough")

    def body() -> None:
        one()
        if where == "body":
            sys.exit("enough")
        if where == "thread":
            leaves.submit().result()
        leaves()

    async def loop_body() -> None:
        await soon()
        leaves()

    outcome = attempt(log, store, flow(loop_body) if where == "loop" else flow(body))
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert isinstance(outcome.error, SystemExit)
    assert outcome.failure is not None
    assert outcome.failure["error"]["message"] == "enough"
    assert len(call_paths(log)) == 1


@pytest.mark.parametrize("where", ["body", "swallowed", "thread", "group", "signal"])
def test_an_overtaken_attempt_ends_as_fenced(run: tuple[Log, ObjectStore], where: str) -> None:
    log, store = run

    def overtake() -> None:
        claim(log, 2)
        other = Journal(log, 2)
        other.open(host="there", pid=2)
        other.write({"kind": records.CALL, "path": "one#1"})

    def body() -> Any:
        overtake()
        if where == "thread":
            return one.map(range(3)).results()
        if where == "swallowed":
            try:
                one()
            except BaseException:
                return "a flow that swallows everything"
        return one()

    async def group_body() -> None:
        overtake()
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(soon(number))

    opened: list[Journal] = []

    def signal_body() -> None:
        overtake()
        with pytest.raises(Fenced):
            opened[0].absorb()  # as the heartbeat does, before it sends the signal
        terminate()

    bodies: dict[str, Any] = {"group": group_body, "signal": signal_body}
    chosen: Flow[Any, Any] = flow(bodies.get(where, body))
    outcome = attempt(log, store, chosen, on_open=opened.append)
    assert (outcome.status, outcome.exit_code) == ("fenced", 76)
    assert kinds(log)[-1] == records.CALL
    assert_once(log)


@pytest.mark.parametrize("swallow", [False, True])
def test_a_record_out_of_reach_asks_for_another_try(
    run: tuple[Log, ObjectStore], swallow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, store = run
    monkeypatch.setattr(writer, "_PATIENCE", 0.05)

    def down(inner: Log, entry: Entry) -> bool:
        if entry["records"][0]["kind"] == records.OPENED:
            return inner.create(entry)
        raise AwsError("store.unavailable", "down", next_step="-", retry=Retry.LATER)

    def body() -> str:
        try:
            one()
        except Exception:
            if not swallow:
                raise
        return "done"

    outcome = attempt(Disturbed(log, down), store, flow(body))
    assert (outcome.status, outcome.exit_code) == ("failed", 75)
    assert isinstance(outcome.error, ClaryError)
    assert outcome.error.code == "store.unavailable"
    claim(log, 2)
    assert attempt(log, store, flow(body), 2).value == "done"


def _failing_to_load(error: BaseException, log: Log, store: ObjectStore) -> Outcome:
    def load(_state: RunState) -> Any:
        raise error

    return run_attempt(log, store, load, 1, host="here")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ImportError("no module"), "user_code"),
        (SyntaxError("bad"), "user_code"),
        (SystemExit(3), "user_code"),
        (JournalError("job.no_spec", "gone", next_step="-"), "internal"),
        (AwsError("store.unavailable", "down", next_step="-"), "internal"),
        (PermissionDeniedError("aws.access_denied", "no", next_step="-"), "permission"),
        (ThrottledError("aws.throttled", "slow", next_step="-"), "throttled"),
        (DivergenceError("replay.diverged", "other", next_step="-"), "user_code"),
    ],
)
def test_failures_are_recorded_with_their_cause(tmp_path: Path, error: BaseException, cause: str) -> None:
    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    outcome = _failing_to_load(error, log, store)
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    (record,) = written(log, records.FAILED)
    assert record["cause"] == cause
    assert record["error"]["type"] == type(error).__name__


def test_a_value_that_cannot_be_kept_fails_the_run(run: tuple[Log, ObjectStore]) -> None:
    log, store = run
    outcome = attempt(log, store, flow(lambda: threading.Lock()))
    assert isinstance(outcome.error, SerializationError)
    assert kinds(log)[-1] == records.FAILED


def test_inputs_are_given_by_value(tmp_path: Path) -> None:
    log, store = open_log("sqlite", tmp_path)
    begin(log, store, numbers=(1, 2), scale=2.5)
    outcome = attempt(log, store, flow(lambda numbers, scale: [number * scale for number in numbers]))
    assert outcome.value == [2.5, 5.0]


def test_exit_codes_are_what_the_documents_say() -> None:
    codes = {name: value for name, value in vars(attempts).items() if name.startswith("EXIT_")}
    assert codes == {
        "EXIT_COMPLETED": 0,
        "EXIT_FAILED": 1,
        "EXIT_TRY_AGAIN": 75,
        "EXIT_FENCED": 76,
        "EXIT_STOPPED": 143,
    }


def test_whoever_looks_is_told_how_far_a_large_value_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("BIG", "TOLD"):
        monkeypatch.setattr(f"clary.artifacts.storing.{bound}", 2 << 20)
    boards: list[progress.Board] = []

    @checkpoint
    def made(size: int) -> bytes:
        return b"x" * size

    @flow
    def body() -> int:
        return len(made.submit(3 << 20).result())

    def open_board(journal: Journal) -> None:
        boards.append(progress.Board(lambda _lines: None))
        progress.attach(journal, boards[0])

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    assert attempt(log, store, body, on_open=open_board).value == 3 << 20
    boards[0].close()
    told = boards[0].lines()["values"]
    assert (told["done"], told["total"], told["message"]) == (3, 3, "MiB stored")


def test_a_refusal_of_clarys_own_shows_none_of_its_frames(tmp_path: Path) -> None:
    @flow
    def body() -> Any:
        return (number for number in range(3))

    outcome, _, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.failure is not None
    assert outcome.failure["error"]["frames"] == []
    assert outcome.failure["error"]["message"].startswith("the flow's result cannot be kept")


def test_people_are_shown_their_own_frames_only(tmp_path: Path) -> None:
    from clary.engine import failure

    @checkpoint
    def inner() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    @flow
    def body() -> None:
        inner()

    outcome, _, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.error is not None
    shown = failure.for_people(outcome.error)
    assert "KeyError: 'first'" in shown
    assert "ValueError: second" in shown
    assert "in inner" in shown
    assert "in body" in shown
    assert "clary/engine" not in shown


@pytest.mark.parametrize("asked", ["for the result", "for the failure", "for nothing"])
def test_a_stop_in_a_submitted_call_that_the_main_thread_runs_ends_the_attempt(asked: str, tmp_path: Path) -> None:
    """Whoever waits for a call that no thread has begun runs it; a stop that comes there is no result of the call."""
    heard = threading.Event()

    @checkpoint
    def occupies() -> None:
        heard.wait(10)

    @checkpoint
    def stops() -> None:
        if threading.current_thread() is threading.main_thread() and not heard.is_set():
            heard.set()
            raise StopRequested("asked to stop (SIGTERM)")

    @flow(workers=1)
    def body() -> str:
        occupies.submit().done()
        second = stops.submit()
        if asked == "for the result":
            second.result()
        if asked == "for the failure":
            second.exception()
        if asked == "for nothing":
            second.wait()
        return "done"

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    assert attempt(log, store, body).status == "interrupted"
    assert state_of(log).status == "running"
    claim(log, 2)
    assert attempt(log, store, body, 2).status == "completed"
    assert call_paths(log).count("stops#1") == 1


def test_a_stop_that_comes_in_a_callback_of_the_loop_ends_the_attempt(tmp_path: Path) -> None:
    """asyncio tells of what a callback raises, and goes on."""

    def stops() -> None:
        raise StopRequested("asked to stop (SIGTERM)")

    @flow
    async def body() -> None:
        asyncio.get_running_loop().call_soon(stops)
        await asyncio.sleep(60)

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    assert attempt(log, store, body).status == "interrupted"


class InJobs:
    """Runs every call in a thread that stands for a job of its own."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.over: dict[str, threading.Event] = {}

    def takes(self, call: Call) -> bool:
        return True

    def begin(self, call: Call, at: float, needed: Callable[[], bool], ready: Callable[[], object]) -> None:
        assert needed()
        self.execution.write(records.call_job(call.path, 1, "job", inputs=call.inputs, source=call.callee.source))
        over = self.over[call.path] = threading.Event()

        def end() -> None:
            over.set()
            ready()

        threading.Timer(0.3, end).start()

    def run(self, call: Call) -> records.Record:
        assert self.over[call.path].wait(30)
        return encode(call.arguments[0], self.execution.store)


def test_a_call_in_a_job_of_its_own_has_run_since_its_job_was_claimed(tmp_path: Path) -> None:
    @checkpoint
    def same(value: int) -> int:
        return value

    @flow
    def body() -> list[int]:
        return same.map([1, 2, 3]).results()

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)

    def extend(execution: Execution) -> None:
        execution.elsewhere = InJobs(execution)

    assert attempt(log, store, body, extend=extend).value == [1, 2, 3]
    took = [record["ended"] - record["started"] for record in written(log, records.CALL)]
    assert min(took) > 0.25
