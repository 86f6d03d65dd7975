"""Failed tries of calls: told as they happen, and shown with the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.agent import service
from clary.cli.run_text import page

if TYPE_CHECKING:
    from clary.stacks.model import Stack
    from integration.agent.conftest import Recorder

SHAKY = """
from pathlib import Path

from clary import Retries, checkpoint, flow

QUICK = Retries(3, delay=0)


def fail(name, times):
    tries = Path(name)
    tries.write_text((tries.read_text() if tries.exists() else "") + "x")
    if len(tries.read_text()) <= times:
        raise ConnectionError(f"{name} is busy")


@checkpoint(retries=QUICK)
def shaky(name: str, times: int) -> str:
    fail(name, times)
    return name


@checkpoint(retries=QUICK)
async def shaky_async(name: str, times: int) -> str:
    fail(name, times)
    return name


@checkpoint(retries=QUICK, runtime="isolated")
def shaky_apart(name: str, times: int) -> str:
    fail(name, times)
    return name


@flow(retries=Retries(1, delay=0))
async def report(times: int) -> list:
    fail("flow", 1)
    return [shaky("a", times), await shaky_async("b", times), shaky_apart("c", times), shaky("d", 0)]
"""


@pytest.fixture(autouse=True)
def _shaky(project: Path) -> None:
    (project / "shaky.py").write_text(SHAKY)


def test_each_failed_try_is_told_and_shown(
    local: Stack, observer: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    run = service.start(service.load_target("shaky.py:report"), {"times": 2}, local, observer=observer)
    assert run.status == "completed"
    assert [text for text in observer.of("note") if "try" in text] == [
        "The flow: try 1 failed (ConnectionError: flow is busy); again in 0 s.",
        *[
            f"{path}: try {number} failed (ConnectionError: {name} is busy); again in 0 s."
            for path, name in (("shaky#1", "a"), ("shaky_async#1", "b"), ("shaky_apart#1", "c"))
            for number in (1, 2)
        ],
    ]
    tries = {"shaky#1": 3, "shaky_async#1": 3, "shaky_apart#1": 3, "shaky#2": 1}
    assert {call.path: call.tries for call in observer.of("call")} == tries
    assert {call.path: call.tries for call in service.get_run(local, run.id).calls} == tries

    [first, second] = run.to_dict()["calls"][0]["failed_tries"]
    assert (first["number"], first["error"]) == (1, "ConnectionError: a is busy")
    assert first["at"] <= second["at"]

    capsys.readouterr()
    page(run)
    shown = capsys.readouterr().out
    assert shown.count("  3 tries") == 3
    assert shown.count("ConnectionError: a is busy") == 2


def test_a_call_that_runs_again_after_all_its_tries_counts_anew(local: Stack) -> None:
    failed = service.start(service.load_target("shaky.py:report"), {"times": 5}, local)
    assert [(call.path, call.status, call.tries) for call in failed.calls] == [("shaky#1", "failed", 4)]
    again = service.resume(local, failed.id)
    assert [(call.path, call.status, call.tries) for call in again.calls] == [
        ("shaky#1", "completed", 2),
        ("shaky_async#1", "completed", 2),
        ("shaky_apart#1", "failed", 4),
    ]
