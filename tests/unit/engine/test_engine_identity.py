"""Who a call is depends on the code alone, never on the schedule of threads and tasks."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from clary import checkpoint, flow
from clary.errors import UsageError
from durable import KINDS, assert_once, attempt, begin, call_paths, claim, first_attempt, open_log

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@checkpoint
def leaf(value: Any) -> Any:
    time.sleep(random.random() / 500)
    return value


@checkpoint
def outer(value: int) -> list[Any]:
    time.sleep(random.random() / 500)
    return [leaf(value), *leaf.map([value, value + 1]).results(), leaf.submit(value).result()]


@checkpoint
async def fetch(value: int) -> int:
    await asyncio.sleep(random.random() / 500)
    return value


@checkpoint
async def gathering(value: int) -> list[int]:
    return list(await asyncio.gather(*[fetch(value + n) for n in range(2)]))


@flow(workers=3)
def threads() -> Any:
    first = outer.map(range(3))
    leaf("between")
    second = [outer.submit(n) for n in range(2)]
    return [*first.results(), *[future.result() for future in reversed(second)]]


async def in_a_task(number: int) -> Any:
    await asyncio.sleep(random.random() / 500)
    found = [await fetch(number)]
    await asyncio.sleep(random.random() / 500)
    return [*found, *await asyncio.gather(fetch(number), gathering(number))]


@flow
async def tasks() -> Any:
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(in_a_task(number)) for number in range(4)]
    submitted = [fetch.submit(number) for number in range(3)]
    later = await asyncio.gather(*submitted, leaf.submit("thread"), gathering(9))
    return [task.result() for task in made], later, leaf("in the loop"), await asyncio.create_task(in_a_task(7))


EXPECTED = {
    threads: {"leaf#1"}
    | {f"outer#{n}" for n in range(1, 6)}
    | {f"outer#{n}/leaf#{m}" for n in range(1, 6) for m in range(1, 5)},
}


@pytest.mark.parametrize("body", [threads, tasks])
def test_random_timing_gives_the_same_paths(kind: str, tmp_path: Path, body: Any) -> None:
    found = []
    for turn in range(6):
        outcome, log, _ = first_attempt(kind, tmp_path / str(turn), body)
        assert outcome.status == "completed", outcome
        assert_once(log)
        found.append((sorted(call_paths(log)), outcome.value))
    assert all(one == found[0] for one in found)
    assert set(found[0][0]) == EXPECTED.get(body, set(found[0][0]))


def test_a_call_is_the_same_however_its_async_body_is_run(tmp_path: Path) -> None:
    """In the flow's loop, or in a thread with a loop of its own: its children have the same names."""

    @flow
    def from_a_thread() -> Any:
        return gathering.submit(1).result()

    @flow
    async def from_the_loop() -> Any:
        return await gathering(1)

    logs = [first_attempt("sqlite", tmp_path / body.name, body)[1] for body in (from_a_thread, from_the_loop)]
    expected = ["gathering#1", "gathering#1/fetch#1", "gathering#1/fetch#2"]
    assert [sorted(call_paths(log)) for log in logs] == [expected, expected]


def test_tasks_are_numbered_when_they_are_made(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def late() -> None:
        await gate.wait()
        await fetch(1)

    async def early() -> None:
        await fetch(2)
        gate.set()

    @flow
    async def body() -> None:
        await asyncio.gather(late(), early())
        await fetch(3)

    _, log, _ = first_attempt("sqlite", tmp_path, body)
    assert call_paths(log) == ["task#2/fetch#1", "task#1/fetch#1", "fetch#1"]


def test_a_key_names_a_call(tmp_path: Path) -> None:
    ran: list[str] = []

    @checkpoint(key=lambda name, **_: name)
    def keyed(name: str, size: int = 0) -> str:
        ran.append(name)
        return name.upper()

    order = ["b", "a/x#1", "a"]

    @flow
    def body() -> list[str]:
        return [keyed(name) for name in order]

    outcome, log, store = first_attempt("sqlite", tmp_path, body)
    assert outcome.value == ["B", "A/X#1", "A"]
    assert call_paths(log) == ["keyed@b", "keyed@a%2Fx#1", "keyed@a"]

    @flow
    def other_order() -> list[str]:
        return [keyed(name) for name in ("c", *sorted(order))]

    begin(fresh := open_log("sqlite", tmp_path / "second")[0], store)
    half = attempt(fresh, store, flow(lambda: [keyed("a"), 1 / 0]))
    assert half.status == "failed"
    claim(fresh, 2)
    ran.clear()
    assert attempt(fresh, store, other_order, 2).value == ["C", "A", "A/X#1", "B"]
    assert ran == ["c", "a/x#1", "b"]


def test_two_calls_of_one_key_are_refused(tmp_path: Path) -> None:
    @checkpoint(key=str)
    def keyed(value: int) -> int:
        return value

    @checkpoint
    def parent(value: int) -> int:
        return keyed(value)

    @flow
    def apart() -> list[int]:
        return [parent(1), parent(1)]

    @flow
    def twice() -> list[int]:
        return [keyed(1), keyed(1)]

    assert first_attempt("sqlite", tmp_path / "apart", apart)[0].value == [1, 1]
    outcome, log, _ = first_attempt("sqlite", tmp_path / "twice", twice)
    assert isinstance(outcome.error, UsageError)
    assert outcome.error.code == "call.key_taken"
    assert call_paths(log) == ["keyed@1"]


def test_names_that_would_confuse_paths_are_refused() -> None:
    for name in ("a/b", "a#1", "a@b"):
        with pytest.raises(UsageError) as caught:
            checkpoint(name=name)(lambda: None)
        assert caught.value.code == "checkpoint.bad_name"


def test_a_checkpoint_may_be_called_like_a_task(tmp_path: Path) -> None:
    @checkpoint(name="task")
    async def named(value: int) -> int:
        return await fetch(value)

    @flow
    async def body() -> Any:
        return await asyncio.gather(named(1), asyncio.create_task(fetch(2)), named(3))

    outcome, log, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.value == [1, 2, 3]
    assert_once(log)
    assert len(call_paths(log)) == 5


def test_outside_a_flow_a_checkpoint_is_the_plain_function() -> None:
    assert leaf(3) == 3
    assert asyncio.run(fetch(4)) == 4
    for begun in (lambda: leaf.submit(1), lambda: leaf.map([1])):
        with pytest.raises(UsageError) as caught:
            begun()
        assert caught.value.code == "checkpoint.outside_flow"
