"""Waiting for people and for times: the attempt ends, what is recorded stays, and the next one goes on."""

from __future__ import annotations

import dataclasses
import enum
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from clary.errors import ClaryError, UsageError
from clary.flows import checkpoint, flow, sleep, sleep_async, wait, wait_async
from clary.flows.questions import read, schema_of
from clary.journal import records
from clary.journal.writer import append
from durable import KINDS, attempt, begin, claim, first_attempt, open_log, state_of, written

RAN: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@checkpoint
def work(name: str, seconds: float = 0.0) -> str:
    RAN[name] += 1
    time.sleep(seconds)
    return name


def answer(log: Any, path: str, value: Any, how: str = records.ANSWERED) -> None:
    append(log, state_of(log), lambda _now: [records.answer(path, how, value, "somebody")])


class Recorder:
    """A waker that only remembers."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def check(self) -> None:
        pass

    def wake_at(self, moment: float) -> None:
        self.moments.append(moment)

    def stay(self) -> None:
        self.moments.clear()

    def now(self) -> float:
        return time.time()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_ends_the_attempt_and_the_answer_lets_the_next_go_on(kind: str, tmp_path: Path) -> None:
    @flow
    def body() -> list[Any]:
        return [work("before"), wait("approve", bool, question="Ship it?"), work("after")]

    outcome, log, store = first_attempt(kind, tmp_path, body)
    assert outcome.status == "waiting"
    state = state_of(log)
    assert (state.status, state.idle, state.settled) == ("waiting", True, False)
    assert [asked["question"] for asked in state.open_waits()] == ["Ship it?"]
    assert not state.due(time.time())
    answer(log, "~wait:approve#1", True)
    assert state_of(log).due(time.time())
    claim(log, 2)
    assert attempt(log, store, body, 2).value == ["before", True, "after"]
    assert RAN == {"before": 1, "after": 1}


def test_the_first_answer_holds(tmp_path: Path) -> None:
    @flow
    def body() -> Any:
        return wait("number", int)

    _, log, store = first_attempt("sqlite", tmp_path, body)
    answer(log, "~wait:number#1", 1)
    answer(log, "~wait:number#1", 2)
    claim(log, 2)
    assert attempt(log, store, body, 2).value == 1


def test_calls_under_way_are_seen_to_their_end_before_the_attempt_ends(tmp_path: Path) -> None:
    @flow
    def body() -> list[Any]:
        future = work.submit("slow", 0.3)
        return [wait("go"), future.result()]

    outcome, log, store = first_attempt("objects", tmp_path, body)
    assert outcome.status == "waiting"
    answer(log, "~wait:go#1", "yes")
    claim(log, 2)
    assert attempt(log, store, body, 2).value == ["yes", "slow"]
    assert RAN["slow"] == 1


def test_an_answer_that_comes_while_the_machine_lingers_needs_no_new_attempt(tmp_path: Path) -> None:
    @flow
    def body() -> Any:
        return wait("go", str, linger=30)

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    elsewhere, _ = open_log("sqlite", tmp_path)

    def soon() -> None:
        while not state_of(elsewhere).waits:
            time.sleep(0.01)
        answer(elsewhere, "~wait:go#1", "now")

    thread = threading.Thread(target=soon)
    thread.start()
    assert attempt(log, store, body).value == "now"
    thread.join()


def test_an_answer_that_comes_just_before_the_run_waits_is_not_lost(tmp_path: Path, monkeypatch: Any) -> None:
    @flow
    def body() -> Any:
        return [work("once"), wait("go", str)]

    log, store = open_log("objects", tmp_path)
    begin(log, store)
    suspended = records.suspended

    def answered_first(on: list[str], until: float | None) -> Any:
        monkeypatch.undo()
        answer(open_log("objects", tmp_path)[0], on[0], "just in time")
        return suspended(on, until)

    monkeypatch.setattr(records, "suspended", answered_first)
    outcome = attempt(log, store, body)
    assert outcome.value == ["once", "just in time"]
    assert RAN["once"] == 1
    assert state_of(log).status == "completed"


def test_a_wait_expires_with_its_default_or_an_error(tmp_path: Path) -> None:
    @flow
    def body(default: bool) -> Any:
        options: dict[str, Any] = {"default": "nobody"} if default else {}
        try:
            return wait("go", str, expires=timedelta(seconds=0.2), **options)
        except ClaryError as error:
            return error.code

    for default, expected in ((True, "nobody"), (False, "wait.expired")):
        outcome, log, store = first_attempt("sqlite", tmp_path / expected, body, default=default)
        assert outcome.status == "waiting"
        suspension = state_of(log).suspension
        assert suspension is not None
        while time.time() < suspension["until"]:
            time.sleep(0.02)
        assert state_of(log).due(time.time())
        claim(log, 2)
        assert attempt(log, store, body, 2).value == expected


def test_an_aborted_wait_raises_where_it_was_asked(tmp_path: Path) -> None:
    @flow
    def body() -> Any:
        return wait("go")

    _, log, store = first_attempt("sqlite", tmp_path, body)
    answer(log, "~wait:go#1", None, records.ABORTED)
    claim(log, 2)
    outcome = attempt(log, store, body, 2)
    assert getattr(outcome.error, "code", "") == "wait.aborted"


def test_several_waits_are_told_apart_and_asked_in_order(tmp_path: Path) -> None:
    @flow
    def body() -> list[Any]:
        return [wait("go"), wait("go"), wait("other")]

    _, log, store = first_attempt("sqlite", tmp_path, body)
    for number, path in enumerate(["~wait:go#1", "~wait:go#2", "~wait:other#1"], 2):
        assert [asked["path"] for asked in state_of(log).open_waits()] == [path]
        answer(log, path, number)
        claim(log, number)
        outcome = attempt(log, store, body, number)
    assert outcome.value == [2, 3, 4]


def test_a_sleep_is_to_the_same_moment_in_every_attempt(tmp_path: Path) -> None:
    @flow
    def body() -> str:
        work("before")
        sleep(3600, suspend=True)
        return work("after")

    log, store = open_log("objects", tmp_path)
    begin(log, store)
    waker = Recorder()
    assert attempt(log, store, body, waker=waker).status == "waiting"
    [moment] = waker.moments
    claim(log, 2)
    assert attempt(log, store, body, 2, waker=waker).status == "waiting"
    assert waker.moments == [moment, moment]
    assert written(log, records.TIMER) == [records.timer("~sleep#1", moment)]


def test_without_a_waker_the_process_stays_and_sleeps(tmp_path: Path) -> None:
    @flow
    def body() -> str:
        sleep(until=datetime.now(UTC) + timedelta(seconds=0.3))
        return work("after")

    started = time.monotonic()
    assert first_attempt("sqlite", tmp_path, body)[0].value == "after"
    assert time.monotonic() - started >= 0.29


def test_async_flows_wait_and_sleep_too(tmp_path: Path) -> None:
    import asyncio

    @flow
    async def body() -> list[Any]:
        await sleep_async(0.05)
        return list(await asyncio.gather(wait_async("a", int), wait_async("b", int)))

    outcome, log, store = first_attempt("sqlite", tmp_path, body)
    assert outcome.status == "waiting"
    for number in (2, 3, 4):
        for asked in state_of(log).open_waits():
            answer(log, asked["path"], ord(asked["name"]))
        claim(log, number)
        outcome = attempt(log, store, body, number)
        if outcome.status == "completed":
            break
    assert outcome.value == [97, 98]


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_go_on_until_all_that_is_left_is_waiting(kind: str, tmp_path: Path) -> None:
    import asyncio

    @checkpoint
    async def train(name: str, seconds: float) -> str:
        RAN[name] += 1
        await asyncio.sleep(seconds)
        return name

    async def one_after_the_other() -> list[Any]:
        trained = [await train("a", 0.3), await train("b", 0.1), await train("c", 0.0)]
        return [*trained, await wait_async("second", bool)]

    @flow
    async def body() -> list[Any]:
        return list(await asyncio.gather(wait_async("first", bool), train("d", 0.6), one_after_the_other()))

    outcome, log, store = first_attempt(kind, tmp_path, body)
    assert outcome.status == "waiting"
    assert RAN == {"a": 1, "b": 1, "c": 1, "d": 1}
    asked = {one["name"]: one["path"] for one in state_of(log).open_waits()}
    assert asked.keys() == {"first", "second"}
    suspended = state_of(log).suspension
    assert suspended is not None
    assert sorted(suspended["on"]) == sorted(asked.values()), "whichever is answered first, the run goes on"
    answer(log, asked["second"], True)
    assert state_of(log).due(time.time())
    claim(log, 2)
    assert attempt(log, store, body, 2).status == "waiting"
    answer(log, asked["first"], False)
    claim(log, 3)
    assert attempt(log, store, body, 3).value == [False, "d", ["a", "b", "c", True]]
    assert RAN == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_suspension_waits_for_a_sleep_that_keeps_the_machine_and_ends_with_the_first_of_many(tmp_path: Path) -> None:
    import asyncio

    async def naps() -> str:
        await sleep_async(0.3)
        return work("after")

    @flow
    async def body() -> list[Any]:
        return list(await asyncio.gather(naps(), wait_async("go"), sleep_async(9000), sleep_async(7200)))

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    waker = Recorder()
    assert attempt(log, store, body, waker=waker).status == "waiting"
    assert RAN["after"] == 1
    suspended = state_of(log).suspension
    assert suspended is not None
    assert len(suspended["on"]) == 3
    assert 7100 < waker.moments[0] - time.time() <= 7200


@pytest.mark.parametrize("shape", ["sync", "async"])
def test_what_a_flow_does_on_its_way_out_is_not_recorded_while_it_waits(shape: str, tmp_path: Path) -> None:
    made: list[str] = []

    @checkpoint
    def act(name: str) -> str:
        made.append(name)
        return name

    @contextmanager
    def endpoint() -> Iterator[None]:
        act("create")
        try:
            yield
        finally:
            wait("really", bool, default=True, expires=0.01)
            act("delete")

    @flow
    def body() -> Any:
        with endpoint():
            answered = wait("go")
            act("use")
            return answered

    @flow
    async def async_body() -> Any:
        act("create")
        try:
            answered = await wait_async("go")
            act("use")
        finally:
            act("delete")
        return answered

    chosen = body if shape == "sync" else async_body
    outcome, log, store = first_attempt("sqlite", tmp_path, chosen)
    assert outcome.status == "waiting"
    assert made == ["create"]
    [asked] = state_of(log).open_waits()
    answer(log, asked["path"], "yes")
    for number in (2, 3):
        claim(log, number)
        outcome = attempt(log, store, chosen, number)
        if outcome.status == "completed":
            break
        time.sleep(0.05)
    assert outcome.value == "yes"
    assert made == ["create", "use", "delete"]


def test_a_wait_that_the_flow_swallows_suspends_it_all_the_same(tmp_path: Path) -> None:
    @flow
    def body() -> Any:
        try:
            return wait("go")
        except BaseException:
            return "swallowed"

    @flow
    def fails() -> Any:
        try:
            return wait("go")
        finally:
            raise OSError("of its own")

    for name, one in (("body", body), ("fails", fails)):
        outcome, log, _ = first_attempt("sqlite", tmp_path / name, one)
        assert (outcome.status, state_of(log).status) == ("waiting", "waiting")


def test_an_interrupted_flow_records_nothing_on_its_way_out(tmp_path: Path) -> None:
    @flow
    def body() -> Any:
        work("before")
        try:
            raise KeyboardInterrupt
        finally:
            work("cleaned up")

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    with pytest.raises(KeyboardInterrupt):
        attempt(log, store, body)
    assert RAN == {"before": 1}


def test_a_flow_may_be_called_by_whoever_handles_an_interruption(tmp_path: Path) -> None:
    @flow
    def body() -> Any:
        return work("cleaned up")

    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert first_attempt("sqlite", tmp_path, body)[0].value == "cleaned up"


def test_a_checkpoint_can_neither_wait_nor_sleep(tmp_path: Path) -> None:
    @checkpoint
    def asks() -> Any:
        return wait("go")

    @checkpoint
    def sleeps() -> None:
        sleep(1)

    @flow
    def body() -> list[str]:
        return [getattr(call.submit().exception(), "code", "") for call in (asks, sleeps)]

    assert first_attempt("sqlite", tmp_path, body)[0].value == ["wait.in_checkpoint", "sleep.in_checkpoint"]


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    @flow
    def body(which: str) -> Any:
        wrong: dict[str, Any] = {
            "name": lambda: wait("a/b"),
            "type": lambda: wait("a", object),
            "default": lambda: wait("a", default=object()),
            "both": lambda: sleep(1, until=datetime.now(UTC)),
            "none": lambda: sleep(),
            "zone": lambda: sleep(until=datetime(2030, 1, 1)),  # noqa: DTZ001 that is the mistake
            "past": lambda: sleep(-1),
        }
        try:
            wrong[which]()
        except UsageError as error:
            return error.code

    expected = {"name": "wait.bad_question", "type": "wait.bad_type", "default": "wait.bad_question"}
    for which in ("name", "type", "default", "both", "none", "zone", "past"):
        outcome, _, _ = first_attempt("sqlite", tmp_path / which, body, which=which)
        assert outcome.value == expected.get(which, "sleep.bad_duration")


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Review:
    score: int
    labels: list[Literal["a", "b"]]
    colour: Colour | None = None


def test_types_have_schemas_and_answers_become_values() -> None:
    assert schema_of(bool) == {"type": "boolean"}
    assert schema_of(Literal["a", 1]) == {"enum": ["a", 1]}
    assert schema_of(Colour) == {"enum": ["red"]}
    assert schema_of(list[int]) == {"type": "array", "items": {"type": "integer"}}
    schema = schema_of(Review)
    assert schema["required"] == ["score", "labels"]
    assert schema["properties"]["colour"] == {"anyOf": [{"enum": ["red"]}, {"type": "null"}]}
    given = {"score": 1, "labels": ["a"], "colour": "red"}
    assert read(Review, given) == Review(1, ["a"], Colour.RED)
    assert read(dict[str, set[int]], {"x": [1, 2]}) == {"x": {1, 2}}
    assert read(float, 1) == 1.0
    assert read(int | str, "x") == "x"


def test_pydantic_models_are_asked_of_pydantic() -> None:
    import pydantic

    class Answer(pydantic.BaseModel):
        score: int

    assert schema_of(Answer)["properties"]["score"]["type"] == "integer"
    assert read(Answer, {"score": 3}) == Answer(score=3)
