"""Calls beside the flow's body: futures, fan-out, the order of results, and waits that must not block each other."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import threading
import time
import tracemalloc
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any

import pytest

from clary import as_completed, checkpoint, flow
from clary.errors import UsageError
from clary.journal import records
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
    written,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from clary.flows import CallFuture
    from clary.journal.log import Log
    from clary.journal.records import Entry


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@checkpoint
def double(value: int) -> int:
    return value * 2


@checkpoint
async def triple(value: int) -> int:
    await asyncio.sleep(0)
    return value * 3


def test_futures_give_results_failures_and_their_state(kind: str, tmp_path: Path) -> None:
    gate = threading.Event()

    @checkpoint
    def waits(value: int) -> int:
        assert gate.wait(30)
        if value < 0:
            raise ValueError(value)
        return value

    @flow
    def body() -> Any:
        good, bad = waits.submit(1), waits.submit(-1)
        with pytest.raises(FutureTimeout):
            good.result(timeout=0.01)
        assert not good.done()
        assert "waits#1 pending" in repr(good)
        gate.set()
        assert isinstance(bad.exception(), ValueError)
        assert good.exception(timeout=30) is None
        assert bad.done()
        with pytest.raises(ValueError):
            bad.result()
        return good.result(timeout=30)

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == 1
    assert_once(log)


def test_map_takes_several_iterables_and_constants(tmp_path: Path) -> None:
    @checkpoint
    def join(a: str, b: str, sep: str = "") -> str:
        return sep.join((a, b))

    @flow
    def body() -> Any:
        return join.map("abc", "xy", sep="-").results()

    assert first_attempt("sqlite", tmp_path, body)[0].value == ["a-x", "b-y"]


@pytest.mark.parametrize("workers", [1, 2])
def test_calls_that_wait_for_their_children_never_wait_for_a_thread(kind: str, tmp_path: Path, workers: int) -> None:
    @checkpoint
    def tree(depth: int) -> int:
        return 1 if depth == 0 else sum(tree.map([depth - 1, depth - 1]).results())

    @flow(workers=workers)
    def body() -> int:
        return sum(tree.map([4, 3, 4]).results())

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == 16 + 8 + 16
    assert_once(log)
    assert len(call_paths(log)) == 31 + 15 + 31


def test_async_calls_in_threads_await_calls_in_threads(kind: str, tmp_path: Path) -> None:
    """With one thread, which runs the parent: the parent's loop must see to its children itself."""

    @checkpoint
    async def tree(depth: int) -> int:
        if depth == 0:
            return sum(await asyncio.gather(double.submit(1), triple.submit(1)))
        return sum(await asyncio.gather(*branch.map([depth - 1, depth - 1])))

    @checkpoint
    def branch(depth: int) -> int:
        return int(tree.submit(depth).result())

    @flow(workers=1)
    def body() -> int:
        return sum(tree.map([2, 1]).results())

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == 5 * (4 + 2), outcome
    assert_once(log)


def test_calls_that_nobody_asks_for_are_seen_to_their_end(kind: str, tmp_path: Path) -> None:
    @checkpoint
    def parent(value: int) -> None:
        time.sleep(0.01)
        double.map(range(value))

    @flow
    def body() -> str:
        parent.map([2, 1])
        triple.map([7])
        return "done"

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == "done"
    assert sorted(call_paths(log)) == [
        "parent#1",
        "parent#1/double#1",
        "parent#1/double#2",
        "parent#2",
        "parent#2/double#1",
        "triple#1",
    ]
    assert not written(log, records.CALL_FAILED)
    assert written(log)[-1]["kind"] == records.COMPLETED


def test_tasks_that_nobody_awaits_are_seen_to_their_end(kind: str, tmp_path: Path) -> None:
    @checkpoint
    async def slow(value: int) -> int:
        await asyncio.sleep(0.02)
        triple.map([value])
        if value == 2:
            raise ValueError
        return value

    @flow
    async def body() -> str:
        slow.map(range(3))
        await triple(0)
        return "done"

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == "done"
    assert len(call_paths(log)) == 1 + 3 + 3
    assert_once(log)


@pytest.mark.parametrize("shape", ["sync", "async"])
def test_completed_calls_come_in_the_order_of_the_log_and_again_so(kind: str, tmp_path: Path, shape: str) -> None:
    gates = [threading.Event() for _ in range(6)]
    opening = [3, 0, 5, 1, 4, 2]
    broken = True

    @checkpoint
    def waits(number: int) -> int:
        assert gates[number].wait(30)
        return number

    def seen(value: int) -> None:
        following = opening.index(value) + 1
        if following < len(opening):
            gates[opening[following]].set()
        if broken and value == 4:
            raise InterruptedError

    @flow(workers=6)
    def in_threads() -> list[int]:
        found = []
        for future in as_completed(waits.map(range(6))):
            found.append(future.result())
            seen(found[-1])
        return found

    @flow(workers=6)
    async def in_a_loop() -> list[int]:
        found = []
        async for future in as_completed(waits.map(range(6))):
            found.append(await future)
            seen(found[-1])
        return found

    body: Any = in_threads if shape == "sync" else in_a_loop
    gates[opening[0]].set()
    first, log, store = first_attempt(kind, tmp_path, body)
    assert isinstance(first.error, InterruptedError)
    broken = False
    for gate in gates:
        gate.clear()
    gates[2].set()
    claim(log, 2)
    second = attempt(log, store, body, 2)
    assert second.value == opening
    assert second.replayed >= 5
    assert call_paths(log) == [f"waits#{number + 1}" for number in opening]


def test_async_calls_as_they_complete(kind: str, tmp_path: Path) -> None:
    release: dict[int, asyncio.Event] = {}

    @checkpoint
    async def waits(number: int) -> int:
        await release.setdefault(number, asyncio.Event()).wait()
        return number

    async def results(order: list[int]) -> AsyncIterator[int]:
        async for future in as_completed(waits.map(range(4))):
            yield await future
            if order:
                release.setdefault(order.pop(0), asyncio.Event()).set()

    @flow
    async def body() -> list[int]:
        release.setdefault(2, asyncio.Event()).set()
        return [value async for value in results([0, 3, 1])]

    outcome, _, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == [2, 0, 3, 1]


def test_what_runs_again_comes_when_it_has_run_again(tmp_path: Path) -> None:
    started = threading.Event()

    @checkpoint
    def quick(value: int) -> int:
        return value

    @checkpoint
    def slow(value: int) -> int:
        started.set()
        time.sleep(0.05)
        return value

    @flow
    def first() -> None:
        slow(1)
        raise InterruptedError

    @flow
    def second() -> list[str]:
        futures = [slow.submit(2), quick.submit(1)]
        assert started.wait(30)
        return [future.path for future in as_completed(futures)]

    _, log, store = first_attempt("sqlite", tmp_path, first)
    claim(log, 2, on_change="rerun")
    assert attempt(log, store, second, 2).value == ["quick#1", "slow#1"]
    assert call_paths(log) == ["slow#1", "quick#1", "slow#1"]


def test_nothing_to_wait_for() -> None:
    assert list(as_completed([])) == []

    nothing: list[CallFuture[Any]] = []

    async def collect() -> list[Any]:
        return [future async for future in as_completed(nothing)]

    assert asyncio.run(collect()) == []


def test_waiting_in_the_loop_that_runs_the_call_is_refused(tmp_path: Path) -> None:
    @flow
    async def body() -> int:
        future = triple.submit(2)
        for wait in (future.result, future.exception, lambda: list(as_completed([future]))):
            with pytest.raises(UsageError) as caught:
                wait()
            assert caught.value.code == "call.await_instead"
        return int(await future)

    assert first_attempt("sqlite", tmp_path, body)[0].value == 6


@pytest.mark.parametrize("called", ["in a thread", "in the loop"])
def test_giving_up_waiting_does_not_end_the_call(kind: str, tmp_path: Path, called: str) -> None:
    gate = threading.Event()

    @checkpoint
    def in_a_thread(value: int) -> int:
        assert gate.wait(30)
        return value

    @checkpoint
    async def in_the_loop(value: int) -> int:
        await asyncio.to_thread(gate.wait, 30)
        return value

    @flow
    async def body() -> int:
        future = (in_a_thread if called == "in a thread" else in_the_loop).submit(5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await future
        gate.set()
        return int(await future)

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == 5, outcome
    assert_once(log)


def test_a_cancelled_task_is_not_recorded_and_ends_nothing_else(kind: str, tmp_path: Path) -> None:
    @checkpoint
    async def forever() -> None:
        await asyncio.Event().wait()

    @flow
    async def body() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await forever()
        futures = [forever.submit(), triple.submit(1)]
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                await asyncio.sleep(0.01)
                task.cancel()
        ended = [future async for future in as_completed(futures)]
        assert len(ended) == 2
        return await triple(2) + int(double.submit(1).result())

    outcome, log, _ = first_attempt(kind, tmp_path, body)
    assert outcome.value == 8, outcome
    assert "forever#1" not in call_paths(log)


def test_one_failed_task_of_a_group_ends_the_others_and_the_run_runs_them_again(kind: str, tmp_path: Path) -> None:
    broken, ran = True, []

    @checkpoint
    async def fails(value: int) -> int:
        ran.append(value)
        if broken and value == 1:
            raise OSError("down")
        if broken and value == 2:
            await asyncio.Event().wait()
        return value

    @flow
    async def body() -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fails(value)) for value in range(3)]
        return [task.result() for task in tasks]

    outcome, log, store = first_attempt(kind, tmp_path, body)
    assert isinstance(outcome.error, ExceptionGroup)
    assert outcome.failure is not None
    assert outcome.failure["calls"] == ["fails#2"]
    broken = False
    claim(log, 2)
    assert attempt(log, store, body, 2).value == [0, 1, 2]
    assert ran == [0, 1, 2, 1, 2]


def test_calls_under_way_when_the_flow_fails_are_recorded_and_the_others_not_begun(tmp_path: Path) -> None:
    ran: list[int] = []
    begun, failed = threading.Event(), threading.Event()

    @checkpoint
    def lingers(value: int) -> int:
        ran.append(value)
        if value == 0:
            begun.set()
            assert failed.wait(30)
        return double(value) + sum(double.map([value, value]).results())

    @flow(workers=1)
    def body(broken: bool) -> int:
        calls = lingers.map(range(3))
        if broken:
            assert begun.wait(30)
            threading.Timer(0.2, failed.set).start()
            raise OSError("the flow's own")
        return sum(calls.results())

    outcome, log, _ = first_attempt("sqlite", tmp_path, body, broken=True)
    assert (type(outcome.error), outcome.status) == (OSError, "failed")
    assert call_paths(log) == ["lingers#1/double#1", "lingers#1/double#2", "lingers#1/double#3", "lingers#1"]
    assert ran == [0]


def test_tasks_under_way_when_an_async_flow_fails_are_recorded_and_begin_no_more(tmp_path: Path) -> None:
    ran: list[str] = []
    broken = True

    @checkpoint
    async def step(name: str, seconds: float = 0.0) -> str:
        ran.append(name)
        await asyncio.sleep(seconds)
        return name

    async def chain() -> list[str]:
        return [await step("slow", 0.5), await step("behind")]

    async def breaks() -> None:
        await step("quick")
        if broken:
            raise OSError("the flow's own")

    @flow
    async def body() -> Any:
        return await asyncio.gather(chain(), breaks())

    outcome, log, store = first_attempt("objects", tmp_path, body)
    assert isinstance(outcome.error, OSError)
    assert ran == ["slow", "quick"]
    broken = False
    claim(log, 2)
    assert attempt(log, store, body, 2).value == [["slow", "behind"], None]
    assert ran == ["slow", "quick", "behind"]


def test_calls_from_a_forked_process_are_refused(tmp_path: Path) -> None:
    def other(queue: Any) -> None:
        try:
            double(1)
        except UsageError as error:
            queue.put(error.code)

    @flow
    def body() -> str:
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=other, args=(queue,))
        process.start()
        process.join(30)
        return str(queue.get())

    outcome, log, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.value == "call.in_other_process"
    assert call_paths(log) == []


@pytest.mark.parametrize("shape", ["threads", "tasks"])
def test_calls_that_end_together_share_writes(tmp_path: Path, shape: str) -> None:
    together = threading.Barrier(32)

    @checkpoint
    def at_once(value: int) -> int:
        together.wait(30)
        return value

    @flow(workers=32)
    def in_threads() -> int:
        return sum(at_once.map(range(32)).results())

    @flow
    async def in_tasks() -> int:
        return sum(await asyncio.gather(*[triple(value) for value in range(32)]))

    writes: list[int] = []

    def slow(inner: Log, entry: Entry) -> bool:
        writes.append(len(entry["records"]))
        time.sleep(0.02)
        return inner.create(entry)

    log, store = open_log("objects", tmp_path)
    begin(log, store)
    outcome = attempt(Disturbed(log, slow), store, in_threads if shape == "threads" else in_tasks)
    assert outcome.status == "completed"
    assert sum(writes) == 1 + 32 + 1
    assert len(writes) <= 8


def test_a_call_that_has_ended_keeps_little_more_than_its_record(tmp_path: Path) -> None:
    count = 2000
    held: list[int] = []

    @flow
    def body() -> int:
        double.map(range(500)).results()  # what is made once, such as threads and caches, is there then
        gc.collect()
        tracemalloc.start()
        try:
            futures = double.map(range(count))
            futures.results()
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        return len(futures)

    outcome, _, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.value == count
    assert held[0] / count < 2200
