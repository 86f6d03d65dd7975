"""Waits of local executions in Kitaru's shape: told on stderr, answered at the terminal, aborted."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from clary import kitaru
from clary.kitaru import ExecutionStatus, KitaruClient


@kitaru.checkpoint
def noted(x: int) -> int:
    if x < 0:
        raise ValueError("negative")
    return x


@kitaru.flow
def asks(timeout: int = 0) -> list[int]:
    first = kitaru.wait(schema=int, name="number", question="Which?", timeout=timeout)
    second = kitaru.wait(schema=int, name="number", question="And then?", timeout=timeout)
    return [noted(first), noted(second)]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLARY_STACK", raising=False)


def test_a_wait_is_told_with_the_command_that_answers_it(capsys: pytest.CaptureFixture[str]) -> None:
    handle = asks.run(timeout=1)
    told = f"Execution {handle.exec_id} waits for an answer to 'number': "
    command = f"  Answer: clary runs answer {handle.exec_id} number VALUE\n"
    assert capsys.readouterr().err == f"{told}Which?\n{command}"
    executions = KitaruClient().executions
    executions.input(handle.exec_id, wait="number", value=1)
    assert executions.resume(handle.exec_id).status is ExecutionStatus.WAITING
    assert capsys.readouterr().err == f"{told}And then?\n{command}"


def test_at_a_terminal_the_answers_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Terminal()
    monkeypatch.setattr(sys, "stdin", _Terminal("many\n3\n4\n"))
    monkeypatch.setattr(sys, "stderr", screen)
    handle = asks.run(timeout=600)
    assert handle.wait() == [3, 4]
    assert screen.getvalue().count("Answer (nothing") == 3
    assert "is not of type 'integer'" in screen.getvalue()


def test_at_a_terminal_nothing_leaves_the_execution_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal("3\n\n"))
    monkeypatch.setattr(sys, "stderr", _Terminal())
    assert asks.run(timeout=600).status is ExecutionStatus.WAITING


def test_an_aborted_wait_cancels_the_execution() -> None:
    handle = asks.run()
    executions = KitaruClient().executions
    with pytest.raises(kitaru.KitaruStateError):
        executions.abort_wait(handle.exec_id, wait="numbr")
    assert executions.abort_wait(handle.exec_id, wait="number").status is ExecutionStatus.CANCELLED
    assert executions.pending_waits(handle.exec_id) == []
    with pytest.raises(kitaru.KitaruStateError):
        executions.resume(handle.exec_id)
    with pytest.raises(kitaru.KitaruExecutionError):
        handle.wait()


def test_a_failed_execution_is_not_resumed_but_retried() -> None:
    handle = asks.run()
    executions = KitaruClient().executions
    for value in (-1, 2):
        executions.input(handle.exec_id, wait="number", value=value)
        executions.resume(handle.exec_id)
    assert handle.status is ExecutionStatus.FAILED
    with pytest.raises(kitaru.KitaruStateError, match="retry"):
        executions.resume(handle.exec_id)
    (call,) = executions.get(handle.exec_id).checkpoints
    assert call.failure is not None
    assert "ValueError: negative" in str(call.failure.traceback)
