"""Runs in this process, and in processes that die."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import service
from clary.errors import ConflictError, JournalError, NotFoundError, RunStoppedError, SerializationError, UsageError
from clary.journal import sqlite
from integration.agent.conftest import Recorder
from patience import until

if TYPE_CHECKING:
    from clary.stacks.model import Stack

_RUN = """
import sys
from clary.agent import service
from clary.stacks.model import local_stack
print(service.start(service.load_target(sys.argv[2]), eval(sys.argv[3]), local_stack(sys.argv[1])).status)
"""


def _begin(stack: Stack, target: str, **inputs: Any) -> subprocess.Popen[str]:
    """Begin a run in a process of its own."""
    command = [sys.executable, "-c", _RUN, stack.artifact_store, target, repr(inputs)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _only_run(stack: Stack) -> Any:
    runs = service.list_runs(stack)
    return runs[0] if runs else None


def _under_way(stack: Stack, calls: int = 1) -> Any:
    run = _only_run(stack)
    return run if run is not None and len(run.calls) >= calls else None


@pytest.mark.usefixtures("project")
def test_a_run_is_over_when_start_returns(local: Stack, observer: Recorder) -> None:
    run = service.start(service.load_target("flows.py:squares"), {"count": 3}, local, observer=observer)

    assert (run.status, run.result, run.flow, run.stack) == ("completed", "5", "squares", "local")
    assert run.inputs == {"count": "3", "pause": "0.0"}
    assert [call.path for call in run.calls] == ["square#1", "square#2", "square#3"]
    assert [artifact.name for artifact in run.artifacts] == ["total"]
    assert service.result(local, run.id) == 5
    assert [call.path for call in observer.of("call")] == ["square#1", "square#2", "square#3"]
    assert observer.told[0][0] == "submitted"
    assert service.get_run(local, run.id) == run
    assert service.find_run(run.id[:20].lower(), local) == (local, run.id)


@pytest.mark.usefixtures("project")
def test_what_a_flow_prints_is_shown_and_kept(local: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    class Talking(Recorder):
        def call(self, call: Any) -> None:
            print("told of", call.path)

    run = service.start(service.load_target("flows.py:squares"), {"count": 2}, local, observer=Talking())

    assert "square of 1" in capsys.readouterr().out
    assert [line for _, _, line in service.logs(local, run.id)] == ["square of 0", "square of 1"]


@pytest.mark.usefixtures("project")
def test_a_failed_run_raises_what_the_flow_raised_and_goes_on_when_resumed(local: Stack, tmp_path: Path) -> None:
    there = tmp_path / "there"
    run = service.start(service.load_target("flows.py:needs"), {"path": str(there)}, local)
    assert run.status == "failed"
    assert run.failure is not None
    assert (run.failure.cause, run.failure.summary) == ("user_code", "ValueError: not yet")
    with pytest.raises(ValueError, match="not yet"):
        service.result(local, run.id)

    there.touch()
    again = service.resume(local, run.id)

    assert again.status == "completed"
    assert [attempt.status for attempt in again.attempts] == ["failed", "completed"]
    assert [(call.path, call.attempt) for call in again.calls] == [("square#1", 1), ("fail_unless#1", 2)]
    assert service.result(local, run.id) == [9, "there"]
    with pytest.raises(ConflictError) as caught:
        service.resume(local, run.id)
    assert caught.value.code == "run.is_completed"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("target", "inputs", "code"),
    [
        ("nothing.py:squares", {}, "target.file_not_found"),
        ("flows.py:sqares", {}, "target.flow_not_found"),
        ("flows.py:square", {}, "target.not_a_flow"),
        ("flows.py:squares", {"cuont": 3}, "flow.unknown_input"),
        ("flows.py:needs", {}, "flow.missing_input"),
        ("flows.py:takes", {"value": threading.Lock()}, "value.not_serializable"),
    ],
)
def test_bad_input_leaves_no_run(local: Stack, target: str, inputs: dict[str, Any], code: str) -> None:
    with pytest.raises((UsageError, SerializationError)) as caught:
        service.start(service.load_target(target), inputs, local)

    assert caught.value.code == code
    assert caught.value.next_step
    assert service.list_runs(local) == []


@pytest.mark.usefixtures("project")
def test_an_input_that_cannot_be_kept_is_named(local: Stack) -> None:
    with pytest.raises(SerializationError, match=r'because of the input value\["lock"\]'):
        service.start(service.load_target("flows.py:takes"), {"value": {"lock": threading.Lock()}}, local)


@pytest.mark.usefixtures("project")
def test_a_killed_process_shows_at_once_and_its_run_goes_on(local: Stack) -> None:
    process = _begin(local, "flows.py:squares", count=100, pause=0.05)
    run = until(lambda: _under_way(local, 3))
    assert run.status == "running"
    process.send_signal(signal.SIGKILL)
    process.communicate()

    seen = service.get_run(local, run.id)

    assert seen.status == "interrupted"
    assert seen.failure is not None
    assert seen.failure.retry == "yes"
    assert service.wait(local, run.id, 5).status == "interrupted"
    kept = len(seen.calls)
    again = service.resume(local, run.id)
    assert again.status == "completed"
    assert [call.attempt for call in again.calls] == [1] * kept + [2] * (100 - kept)


@pytest.mark.usefixtures("project")
def test_a_run_that_lives_is_neither_resumed_nor_taken_for_dead(local: Stack) -> None:
    process = _begin(local, "flows.py:squares", count=400, pause=0.05)
    run = until(lambda: _under_way(local))
    try:
        with pytest.raises(ConflictError) as caught:
            service.resume(local, run.id)
        assert caught.value.code == "run.is_live"
        assert service.get_run(local, run.id).status == "running"
        with pytest.raises(ConflictError):
            service.result(local, run.id)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("project")
def test_a_run_is_stopped_from_another_process(local: Stack) -> None:
    process = _begin(local, "flows.py:squares", count=400, pause=0.05)
    run = until(lambda: _under_way(local))

    asked = service.stop(local, run.id)
    out, _ = process.communicate(timeout=20)

    assert asked.status in {"stopping", "stopped"}
    assert out.splitlines()[-1] == "stopped"
    assert service.wait(local, run.id, 5).status == "stopped"
    with pytest.raises(RunStoppedError):
        service.result(local, run.id)
    assert service.stop(local, run.id).status == "stopped"


@pytest.mark.usefixtures("project")
def test_a_signal_that_nobody_asked_for_interrupts(local: Stack) -> None:
    process = _begin(local, "flows.py:squares", count=400, pause=0.05)
    run = until(lambda: _under_way(local))

    process.terminate()
    out, _ = process.communicate(timeout=20)

    assert out.splitlines()[-1] == "interrupted"
    assert service.get_run(local, run.id).status == "interrupted"


@pytest.mark.usefixtures("project")
def test_following_from_another_process_tells_all_to_the_end(local: Stack, observer: Recorder) -> None:
    process = _begin(local, "flows.py:squares", count=20, pause=0.05)
    run = until(lambda: _only_run(local))

    ended = service.follow(local, run.id, observer)
    process.communicate()

    assert ended.status == "completed"
    assert [call.path for call in observer.of("call")] == [f"square#{number}" for number in range(1, 21)]
    assert observer.of("log") == [f"square of {number}" for number in range(20)]


@pytest.mark.usefixtures("project")
def test_a_worker_process_of_a_flow_does_not_keep_a_dead_run_alive(local: Stack, project: Path) -> None:
    (project / "forks.py").write_text(
        "import os, signal, time\n"
        "from clary import flow\n"
        "@flow\n"
        "def forks(file):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        while True: time.sleep(60)\n"
        "    open(file, 'w').write(str(child))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = _begin(local, "forks.py:forks", file=str(project / "child"))
    process.wait()
    child = int((project / "child").read_text())
    try:
        assert _only_run(local).status == "interrupted"
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


@pytest.mark.usefixtures("project")
def test_of_two_resumes_at_once_one_runs(local: Stack, tmp_path: Path) -> None:
    there = tmp_path / "there"
    run = service.start(service.load_target("flows.py:needs"), {"path": str(there)}, local)
    there.touch()
    codes: list[str] = []

    def resume() -> None:
        try:
            codes.append(service.resume(local, run.id).status)
        except ConflictError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(codes) in (["completed", "run.is_completed"], ["completed", "run.is_live"])
    assert len(service.get_run(local, run.id).attempts) == 2


@pytest.mark.usefixtures("project")
def test_a_record_that_finds_no_room_is_told_and_the_run_goes_on_later(
    local: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite._connect

    def small(path: Path, *, full_sync: bool) -> Any:
        connection = connect(path, full_sync=full_sync)
        connection.execute("PRAGMA max_page_count = 8")
        return connection

    with monkeypatch.context() as full:
        full.setattr(sqlite, "_connect", small)
        with pytest.raises(JournalError, match="disk is full") as told:
            service.start(service.load_target("flows.py:squares"), {"count": 500}, local)
    assert told.value.code == "journal.unwritable"
    run = _only_run(local)
    assert run.status == "interrupted"
    assert 0 < len(run.calls) < 500
    assert service.resume(local, run.id).status == "completed"


@pytest.mark.usefixtures("project")
def test_the_specification_of_a_local_run_says_who_set_its_variables(local: Stack) -> None:
    given = service.load_target("flows.py:squares")
    asked = given.flow.with_options(settings={"environment": {"DEPTH": "3"}})
    run = service.start(dataclasses.replace(given, flow=asked), {}, local)
    values = {one["name"]: one for one in service.specification(local, run.id)["values"]}
    assert values["environment.DEPTH"] == {
        "name": "environment.DEPTH",
        "value": "3",
        "origin": "run",
        "source": "this run",
    }


def test_an_unknown_run_is_told(local: Stack) -> None:
    for run in ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "../../etc/passwd"):
        with pytest.raises(NotFoundError) as caught:
            service.get_run(local, run)
        assert caught.value.code == "run.not_found"
    assert not Path(local.artifact_store).exists()


def test_a_flow_of_no_file_runs_here(local: Stack) -> None:
    from clary import flow

    spaces: dict[str, Any] = {"flow": flow, "__name__": "nowhere"}
    exec("@flow\ndef typed(n=2):\n    return n + 1\n", spaces)

    target = service.target_of(spaces["typed"])

    assert target.project is None
    assert service.start(target, {}, local).status == "completed"
