"""Two attempts of one run live at once: the one that was overtaken is fenced at its next write, wherever it was."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

import crashing
from clary.journal import records
from durable import KINDS, assert_once, call_paths, claim, open_log, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAUSED = ("leave", "before put")
FENCED = 76


_paused: set[int] = set()


@pytest.fixture(autouse=True)
def _nobody_stays_behind() -> Iterator[None]:
    yield
    for child in sorted(_paused):  # after a failed test
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    _paused.clear()


def paused_attempt(kind: str, folder: Path, flow: str, number: int, death: crashing.Death) -> tuple[int, int]:
    """Run an attempt in a process that pauses itself; returns its id and wait status."""

    def act() -> int:
        log, store = open_log(kind, folder)
        return crashing.run_attempt(log, store, folder, flow, number, death)

    child = crashing.fork(act)
    status = os.waitpid(child, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        _paused.add(child)
    return child, status


def woken(child: int) -> int:
    """Wake a paused process and return its exit code."""
    os.kill(child, signal.SIGCONT)
    _paused.discard(child)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flow", crashing.STRAIGHT)
@pytest.mark.parametrize("point", PAUSED)
def test_paused_at_every_point_overtaken_and_woken(kind: str, flow: str, point: str, tmp_path: Path) -> None:
    pauses = 0
    for number in range(1, 100):
        folder = tmp_path / str(number)
        crashing.start(kind, folder)
        child, status = paused_attempt(kind, folder, flow, 1, crashing.Death(point, number, signal.SIGSTOP))
        if not os.WIFSTOPPED(status):
            assert status == 0
            break
        pauses += 1
        crashing.take_over(kind, folder, 2)
        second = os.waitstatus_to_exitcode(crashing.forked_attempt(kind, folder, flow, 2))
        with crashing.opened(kind, folder) as (log, _):
            entries = list(log.read())
        first = woken(child)
        # Paused behind the record of the run's end, the first has the result, and the second leaves it alone.
        assert (first, second) == ((0, FENCED) if entries[-1]["attempt"] == 1 else (FENCED, 0))
        with crashing.opened(kind, folder) as (log, _):
            assert list(log.read()) == entries
        crashing.check(kind, folder, flow)
    assert pauses >= 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flow", crashing.STRAIGHT)
def test_woken_while_the_other_still_runs(kind: str, flow: str, tmp_path: Path) -> None:
    for number in range(1, 6):
        folder = tmp_path / str(number)
        crashing.start(kind, folder)
        first, _ = paused_attempt(kind, folder, flow, 1, crashing.Death("leave", number, signal.SIGSTOP))
        crashing.take_over(kind, folder, 2)
        second, status = paused_attempt(kind, folder, flow, 2, crashing.Death("leave", 2, signal.SIGSTOP))
        assert os.WIFSTOPPED(status)
        assert woken(first) == FENCED
        assert woken(second) == 0
        crashing.check(kind, folder, flow)


@pytest.mark.parametrize("kind", KINDS)
def test_many_attempts_overtake_one_another(kind: str, tmp_path: Path) -> None:
    crashing.start(kind, tmp_path)
    paused = []
    for number in range(1, 6):
        child, status = paused_attempt(
            kind, tmp_path, "threads", number, crashing.Death("before put", 3, signal.SIGSTOP)
        )
        assert os.WIFSTOPPED(status)
        paused.append(child)
        crashing.take_over(kind, tmp_path, number + 1)
    assert crashing.forked_attempt(kind, tmp_path, "threads", 6) == 0
    for child in reversed(paused):
        assert woken(child) == FENCED
    crashing.check(kind, tmp_path, "threads")


@pytest.mark.parametrize("kind", KINDS)
def test_a_claim_without_a_process_takes_nothing_away(kind: str, tmp_path: Path) -> None:
    """Until the next attempt opens the log, the one before may still complete; then there is nothing left to do."""
    crashing.start(kind, tmp_path)
    child, _ = paused_attempt(kind, tmp_path, "threads", 1, crashing.Death("enter", 4, signal.SIGSTOP))
    with crashing.opened(kind, tmp_path) as (log, _store):
        claim(log, 2)
    assert woken(child) == 0
    assert os.waitstatus_to_exitcode(crashing.forked_attempt(kind, tmp_path, "threads", 2)) == FENCED
    crashing.check(kind, tmp_path, "threads")
    with crashing.opened(kind, tmp_path) as (log, _store):
        assert_once(log)
        assert state_of(log).attempts[2].opened_at is None
        assert len(call_paths(log)) == crashing.CALLS["threads"]
        assert [entry["records"][-1]["kind"] for entry in log.read()][-1] == records.COMPLETED
