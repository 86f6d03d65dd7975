"""Calls and flows that are tried again: never what has completed, never more often, after the pauses asked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from clary.engine.retry import Retries, retries_from
from clary.errors import UsageError
from clary.flows import Retries as Public
from clary.flows import checkpoint, current_run, flow
from clary.journal import records
from durable import KINDS, attempt, begin, call_paths, claim, first_attempt, open_log, state_of, written
from patience import until

RAN: Counter[str] = Counter()
QUICK = Retries(3, delay=0)


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@checkpoint(retries=QUICK)
def shaky(name: str, failures: int) -> str:
    RAN[name] += 1
    if RAN[name] <= failures:
        raise ConnectionError(f"{name} {RAN[name]}")
    return f"{name} after {RAN[name]}"


@checkpoint(retries=QUICK)
async def shaky_async(name: str, failures: int) -> str:
    await asyncio.sleep(0)
    RAN[name] += 1
    if RAN[name] <= failures:
        raise ConnectionError(name)
    return name


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_is_tried_again_until_it_returns(kind: str, tmp_path: Path) -> None:
    @flow
    def body() -> list[str]:
        return [shaky("a", 2), *shaky.map(["b", "c"], failures=1).results()]

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == ["a after 3", "b after 2", "c after 2"]
    assert [record["n"] for record in written(log, records.TRY_FAILED) if record["path"] == "shaky#1"] == [1, 2]
    assert state_of(log).tries == {}
    failed = [(one["n"], one["type"], one["message"]) for one in state_of(log).failed_tries["shaky#1"]]
    assert failed == [(1, "ConnectionError", "a 1"), (2, "ConnectionError", "a 2")]


def test_whoever_hears_of_calls_hears_of_failed_tries(tmp_path: Path) -> None:
    @flow
    def body() -> str:
        return shaky("a", 1)

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    heard: list[str] = []
    attempt(log, store, body, on_call=lambda record: heard.append(record["kind"]))
    assert heard == [records.TRY_FAILED, records.CALL]


def test_an_async_call_too(tmp_path: Path) -> None:
    @flow
    async def body() -> list[str]:
        return list(await asyncio.gather(shaky_async("a", 2), shaky_async("b", 0)))

    outcome, _, _ = first_attempt("objects", tmp_path, body)
    assert outcome.value == ["a", "b"]
    assert RAN == {"a": 3, "b": 1}


def test_when_the_tries_are_used_up_the_last_failure_is_the_calls(tmp_path: Path) -> None:
    @flow
    def body() -> str:
        return shaky("a", 9)

    outcome, log, store = first_attempt("sqlite", tmp_path, body)
    assert (outcome.status, str(outcome.error), RAN["a"]) == ("failed", "a 4", 4)
    claim(log, 2)
    RAN["a"] = 8  # a person asks for it again: it has all its tries
    assert attempt(log, store, body, 2).status == "completed"
    assert RAN["a"] == 10


@pytest.mark.parametrize("written_as", [dict, Retries])
@pytest.mark.parametrize(
    "on", [(KeyError, OSError), ConnectionError, [ConnectionError], lambda error: "a" in str(error)]
)
def test_only_the_exceptions_asked_for_are_retried(on: Any, written_as: Any, tmp_path: Path) -> None:
    @checkpoint(retries=written_as(count=2, delay=0, on=on))
    def call(wrong: bool) -> int:
        RAN["call"] += 1
        if wrong:
            raise ValueError("b")
        if RAN["call"] < 3:
            raise ConnectionError("a")
        return RAN["call"]

    @flow
    def body(wrong: bool) -> int:
        return call(wrong)

    assert first_attempt("sqlite", tmp_path / "1", body, wrong=False)[0].value == 3
    assert first_attempt("sqlite", tmp_path / "2", body, wrong=True)[0].status == "failed"
    assert RAN["call"] == 4


@pytest.mark.parametrize("kind", KINDS)
def test_retrying_never_repeats_a_completed_checkpoint(kind: str, tmp_path: Path) -> None:
    @checkpoint
    def inner(name: str, fails: bool) -> str:
        RAN[name] += 1
        if fails and RAN[name] == 1:
            raise ConnectionError(name)
        return name

    @checkpoint(retries=QUICK)
    def outer() -> list[str]:
        RAN["outer"] += 1
        first = inner("first", False)
        rest = inner.map(["second", "third"], [True, False])
        return [first, *rest.results()]

    @flow
    def body() -> list[str]:
        return outer()

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == ["first", "second", "third"]
    assert RAN == {"outer": 2, "first": 1, "second": 2, "third": 1}
    assert call_paths(log).count("outer#1/inner#1") == 1


def test_a_killed_retry_goes_on_counting(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    @checkpoint(retries=Retries(2, delay=0))
    def call() -> None:
        RAN["call"] += 1
        if RAN["call"] == 2:
            raise KeyboardInterrupt
        raise ConnectionError("no")

    @flow
    def body() -> None:
        call()

    from durable import begin, open_log

    log, store = open_log("sqlite", tmp_path)
    begin(log, store)
    with pytest.raises(KeyboardInterrupt):
        attempt(log, store, body)
    claim(log, 2)
    assert attempt(log, store, body, 2).status == "failed"
    assert RAN["call"] == 4  # 1, killed in 2, 2 again, 3
    assert [record["n"] for record in written(log, records.TRY_FAILED)] == [1, 2]


def test_pauses_grow_up_to_a_limit_and_are_kept(tmp_path: Path) -> None:
    growing = Retries(9, delay=2, backoff=3, max_delay=20, jitter=False)
    assert [growing.pause(number) for number in (1, 2, 3, 4)] == [2, 6, 18, 20]
    assert all(1 <= Retries(3, delay=2).pause(1) <= 2 for _ in range(50))

    @checkpoint(retries=Retries(2, delay=0.15, backoff=1, jitter=False))
    def call() -> None:
        RAN["call"] += 1
        raise ConnectionError

    @flow
    def body() -> None:
        call()

    started = time.monotonic()
    first_attempt("sqlite", tmp_path, body)
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_is_run_again_and_keeps_what_is_recorded(kind: str, tmp_path: Path) -> None:
    @checkpoint
    def good() -> int:
        RAN["good"] += 1
        return 1

    @checkpoint
    def bad() -> int:
        RAN["bad"] += 1
        if RAN["bad"] < 3:
            raise ConnectionError("bad")
        return 2

    @flow(retries=Retries(5, delay=0))
    def body() -> int:
        RAN["body"] += 1
        return good() + bad() + (0 if RAN["body"] > 3 else _fail())

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == 3
    assert RAN == {"good": 1, "bad": 3, "body": 4}
    assert [record["n"] for record in written(log, records.FLOW_RETRIED)] == [1, 2, 3]
    assert len(state_of(log).attempts) == 1


def _fail() -> int:
    raise RuntimeError("the body itself")


@pytest.mark.parametrize(
    "given",
    [
        -1,
        True,
        "3",
        1.5,
        {"count": 1, "dealy": 2},
        {"count": 1, "backoff": 0.5},
        {"count": "1"},
        {"count": 1, "delay": "2"},
        {"count": 1, "on": "ValueError"},
        {"count": 1, "on": [ValueError, "KeyError"]},
    ],
)
def test_what_is_no_policy_is_refused(given: Any) -> None:
    with pytest.raises(UsageError) as refused:
        checkpoint(retries=given)
    assert refused.value.code.startswith("retries.")


@pytest.mark.parametrize("wrong", [{"count": "1"}, {"count": 1.5}, {"delay": "2"}, {"on": 3}, {"on": ("ValueError",)}])
def test_what_makes_no_policy_is_refused_when_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Retries(**{"count": 1, **wrong})


def test_a_pause_stays_at_its_limit_however_many_came_before_it() -> None:
    assert Retries(5000, delay=0.5, max_delay=60, jitter=False).pause(5000) == 60
    assert Retries(5000, delay=0, backoff=100, jitter=False).pause(5000) == 0


def test_a_policy_can_be_written_in_three_ways() -> None:
    assert retries_from(2) == Retries(2) == retries_from({"count": 2}) == Public(2)
    assert retries_from(None).count == 0


class TestTimeouts:
    def test_a_call_that_hangs_is_really_ended(self, tmp_path: Path) -> None:
        child = tmp_path / "child"

        @checkpoint(timeout=0.3)
        def hang() -> None:
            import subprocess

            subprocess.run(["sh", "-c", f"echo $$ > {child}; exec sleep 600"], check=False)

        @flow
        def body() -> str:
            try:
                hang()
            except TimeoutError as error:
                return str(error)
            return "?"

        started = time.monotonic()
        outcome, _, _ = first_attempt("sqlite", tmp_path, body)
        assert outcome.value == "the call has not ended within 0.3 seconds"
        assert time.monotonic() - started < 30
        if pid := child.read_text().strip() if child.exists() else "":  # on a busy machine it may not have begun
            until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the process")

    def test_a_call_in_time_returns_its_value_and_raises_its_own_errors(self, tmp_path: Path) -> None:
        @checkpoint(timeout=30)
        def add(one: int, other: int) -> int:
            if other < 0:
                raise ValueError("negative")
            return one + other

        @flow
        def body() -> list[Any]:
            values: list[Any] = [add(1, 2)]
            try:
                add(1, -1)
            except ValueError as error:
                values.append(str(error))
            return values

        assert first_attempt("sqlite", tmp_path, body)[0].value == [3, "negative"]

    def test_many_side_by_side(self, tmp_path: Path) -> None:
        @checkpoint(timeout=3)
        def nap(seconds: float) -> float:
            time.sleep(seconds)
            return seconds

        @flow
        def body() -> list[str]:
            return [type(future.exception()).__name__ for future in nap.map([0.0, 30.0, 0.1, 30.0])]

        assert first_attempt("objects", tmp_path, body)[0].value == ["NoneType", "TimeoutError"] * 2

    def test_a_body_that_kills_its_process_fails_alone(self, tmp_path: Path) -> None:
        @checkpoint(timeout=30)
        def crash() -> None:
            import os

            os.kill(os.getpid(), 9)

        @flow
        def body() -> str:
            try:
                crash()
            except UsageError as error:
                return error.summary
            return "?"

        assert "SIGKILL" in first_attempt("sqlite", tmp_path, body)[0].value

    def test_an_async_call_is_cancelled(self, tmp_path: Path) -> None:
        @checkpoint(timeout=0.1, retries=Retries(1, delay=0))
        async def hang() -> None:
            RAN["hang"] += 1
            await asyncio.sleep(30)

        @flow
        async def body() -> str:
            try:
                await hang()
            except TimeoutError as error:
                return str(error)
            return "?"

        assert "0.1 seconds" in first_attempt("sqlite", tmp_path, body)[0].value
        assert RAN["hang"] == 2

    @pytest.mark.parametrize("how", ["blocks its loop", "takes no cancellation"])
    def test_an_async_call_that_cannot_be_cancelled_has_failed_when_it_returns(self, how: str, tmp_path: Path) -> None:
        @checkpoint(timeout=0.1)
        async def late() -> str:
            if how == "blocks its loop":
                time.sleep(0.3)  # noqa: ASYNC251 what people write all the same
            else:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(30)
            return "late"

        @flow
        async def body() -> str:
            return await late()

        outcome, log, _ = first_attempt("sqlite", tmp_path, body)
        assert isinstance(outcome.error, TimeoutError)
        assert written(log, records.CALL) == []

    def test_a_body_in_its_own_process_calls_no_checkpoints(self, tmp_path: Path) -> None:
        @checkpoint
        def inner() -> int:
            return 1

        @checkpoint(timeout=30)
        def outer() -> int:
            return inner()

        @flow
        def body() -> int:
            return outer()

        outcome, _, _ = first_attempt("sqlite", tmp_path, body)
        assert getattr(outcome.error, "code", "") == "call.in_other_process"

    @pytest.mark.parametrize("wrong", [0, -1, float("nan")])
    def test_what_is_no_time_is_refused(self, wrong: float) -> None:
        with pytest.raises(UsageError):
            checkpoint(timeout=wrong)


@checkpoint(retries=QUICK)
def draws() -> tuple[float, float]:
    RAN["draws"] += 1
    first = current_run().random()
    kept = shaky(str(first), 0)
    if RAN["draws"] == 1:
        raise ConnectionError
    return first, float(kept.split()[0])


def test_a_second_try_reads_the_chance_and_the_time_of_the_first(tmp_path: Path) -> None:
    """Else a call below it, which takes such a reading, would be another call than the one on record."""

    @flow
    def body() -> tuple[float, float]:
        return draws()

    outcome, log, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.status == "completed", outcome.error
    assert outcome.value[0] == outcome.value[1]
    assert len(written(log, records.VALUE)) == 1


@checkpoint
def slow(name: str) -> str:
    time.sleep(0.05)
    RAN[name] += 1
    return name


@checkpoint
async def slow_async(name: str) -> str:
    await asyncio.sleep(0.05)
    RAN[name] += 1
    return name


@checkpoint(retries=QUICK)
def leaves_calls() -> list[str]:
    futures = slow.map(["a", "b", "c"])
    shaky("once", 0)
    if RAN["leaves"] == 0:
        RAN["leaves"] += 1
        raise ConnectionError
    return list(futures.results())


@checkpoint(retries=QUICK)
async def leaves_tasks() -> list[str]:
    futures: list[Any] = [slow_async.submit("a"), slow.submit("b"), asyncio.ensure_future(slow_async("c"))]
    if RAN["leaves"] == 0:
        RAN["leaves"] += 1
        await asyncio.sleep(0)
        raise ConnectionError
    return list(await asyncio.gather(*futures))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parent", [leaves_calls, leaves_tasks])
def test_a_second_try_does_not_run_what_the_first_has_left_running(kind: str, parent: Any, tmp_path: Path) -> None:
    def plain() -> Any:
        return parent()

    async def looped() -> Any:
        return await parent()

    body: Any = flow(workers=2)(plain if parent is leaves_calls else looped)
    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == ["a", "b", "c"]
    assert {name: RAN[name] for name in "abc"} == {"a": 1, "b": 1, "c": 1}
    assert len(call_paths(log)) == len(set(call_paths(log)))


@checkpoint
async def refused(name: str) -> None:
    await asyncio.sleep(0.01)
    RAN[name] += 1
    raise KeyError(name)


def test_a_failure_that_was_awaited_has_been_seen(tmp_path: Path) -> None:
    """So it stays on record when the flow fails for another reason."""

    @flow
    async def body() -> str:
        with suppress(KeyError):
            await refused.submit("r")
        return shaky("no", 9)

    outcome, log, store = first_attempt("sqlite", tmp_path, body)
    assert outcome.status == "failed"
    RAN["no"] = 9
    claim(log, 2)
    assert attempt(log, store, body, 2).status == "completed"
    assert RAN["r"] == 1
