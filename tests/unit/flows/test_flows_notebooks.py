"""Flows called where an event loop runs already, as in a notebook's cell."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import UsageError
from clary.flows import checkpoint, flow
from durable import call_paths, first_attempt, state_of

if TYPE_CHECKING:
    from clary.engine.attempt import Outcome
    from clary.flows import Flow
    from clary.journal.log import Log

KERNEL = """
import ast, asyncio, linecache, sys, types

main = sys.modules["__main__"] = types.ModuleType("__main__")


async def kernel():
    for number, cell in enumerate(sys.argv[1].split("#%%")):
        file = f"/no/such/folder/{number}.py"
        linecache.cache[file] = (len(cell), None, cell.splitlines(True), file)
        made = eval(compile(cell, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), vars(main))
        if made is not None:
            await made


asyncio.run(kernel())
"""
"""Does with cells what IPython does: their code is that of a main module without a file, and runs under a loop."""


@checkpoint
async def soon(value: int) -> int:
    await asyncio.sleep(0)
    return value


@checkpoint
def plain(value: int) -> int:
    return value


def in_a_cell(folder: Path, body: Flow[Any, Any]) -> tuple[Outcome, Log]:
    """Run a flow from code that runs in a loop of somebody else."""

    async def cell() -> tuple[Outcome, Log]:
        outcome, log, _ = first_attempt("sqlite", folder, body)
        return outcome, log

    return asyncio.run(cell())


def test_an_async_flow_runs_to_its_end(tmp_path: Path) -> None:
    @flow
    async def body() -> list[int]:
        submitted = soon.submit(1)
        return [*await asyncio.gather(soon(2), soon(3)), await submitted, plain(4)]

    outcome, log = in_a_cell(tmp_path, body)
    assert outcome.value == [2, 3, 1, 4]
    assert sorted(call_paths(log)) == ["plain#1", "soon#1", "soon#2", "soon#3"]
    assert state_of(log).status == "completed"


def test_a_sync_flow_may_wait_for_async_checkpoints(tmp_path: Path) -> None:
    @flow
    def body() -> list[int]:
        return [soon.submit(1).result(), *soon.map([2, 3]).results(), plain(4)]

    outcome, log = in_a_cell(tmp_path, body)
    assert outcome.value == [1, 2, 3, 4]
    assert call_paths(log)[0] == "soon#1"


def test_what_the_flow_raises_is_its_failure(tmp_path: Path) -> None:
    @flow
    async def body() -> int:
        await soon(1)
        raise LookupError("nothing there")

    outcome, log = in_a_cell(tmp_path, body)
    assert (outcome.status, str(outcome.error)) == ("failed", "nothing there")
    assert call_paths(log) == ["soon#1"]


def test_the_loop_of_the_flow_itself_still_refuses_to_stand_still(tmp_path: Path) -> None:
    @flow
    async def body() -> int:
        return soon.submit(1).result()

    outcome, _ = in_a_cell(tmp_path, body)
    assert isinstance(outcome.error, UsageError)
    assert outcome.error.code == "call.await_instead"


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    @flow
    async def body() -> int:
        return await soon(1)

    in_a_cell(tmp_path, body)
    assert "clary-flow" not in [thread.name for thread in threading.enumerate()]


def _kernel(folder: Path, cells: str) -> subprocess.Popen[str]:
    environment = {"PATH": "/usr/bin:/bin", "CLARY_HOME": str(folder / "home"), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", KERNEL, cells],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


CELLS = """
from clary import checkpoint, flow

def helper(value):
    return value + 1

@checkpoint(cache=True)
def kept(value):
    print("runs")
    return helper(value)

@flow
async def whole(value):
    return kept(value)
#%%
print(whole(1), whole(1))
#%%
def helper(value):
    return value + 100
#%%
print(whole(1))
#%%
run = whole.run(2)
print(run.status, run.result())
#%%
@flow
def mended():
    raise LookupError("not yet")

run = mended.run()
print(run.status)
#%%
@flow
def mended():
    return 5

print(run.resume().result())
"""


def test_cells_are_code_like_any_other(tmp_path: Path) -> None:
    said, failure = _kernel(tmp_path, CELLS).communicate(timeout=60)
    expected = ["runs", "2 2", "runs", "101", "runs", "completed 102", "failed", "5"]
    assert said.splitlines() == expected, failure


INTERRUPTED = """
import asyncio
from clary import Client, checkpoint, flow

@checkpoint
async def endless():
    print("begun")
    try:
        await asyncio.sleep(600)
    finally:
        print("put away")

@flow
async def whole():
    await endless()
#%%
try:
    whole()
except KeyboardInterrupt:
    print("interrupted")
#%%
print([run.status for run in Client().runs.list()])
#%%
await asyncio.sleep(0)
"""


LEFT_TO_THE_LOOP = ""
"""The handler of ``asyncio.run``, like a kernel's in a cell that awaits, cancels a task and does not raise."""
RAISED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


@pytest.mark.parametrize("handler", [LEFT_TO_THE_LOOP, RAISED])
def test_ctrl_c_ends_the_flow_in_order(handler: str, tmp_path: Path) -> None:
    kernel = _kernel(tmp_path, handler + INTERRUPTED)
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == "begun\n"
    kernel.send_signal(signal.SIGINT)
    said, failure = kernel.communicate(timeout=60)
    assert said.splitlines() == ["put away", "interrupted", "['stopped']"], failure
