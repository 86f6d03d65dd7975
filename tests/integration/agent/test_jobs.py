"""The life of runs whose attempts are jobs, against a sandbox that really runs them."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import lifecycle, service
from clary.agent.place import place_of
from clary.errors import ClaryError, ConflictError, RunFailedError, RunTimeoutError
from clary.journal.state import RunState, fold
from clary.sagemaker import jobs
from integration.agent.conftest import Recorder
from patience import until

if TYPE_CHECKING:
    from clary import testing
    from clary.stacks.model import Stack

pytestmark = pytest.mark.usefixtures("project")


def _start(stack: Stack, flow: str, **inputs: Any) -> str:
    return service.start(service.load_target(f"flows.py:{flow}"), inputs, stack).id


def _claimed(stack: Stack, flow: str, monkeypatch: pytest.MonkeyPatch, **inputs: Any) -> str:
    """Record a run as a process would that dies before it asks for the job."""

    class Dies(BaseException):
        pass

    def die(*_: Any, **__: Any) -> str:
        raise Dies

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "create", die)
        with pytest.raises(Dies):
            _start(stack, flow, **inputs)
    return place_of(stack).run_ids()[0]


def _kinds(stack: Stack, run: str) -> list[str]:
    with place_of(stack).log(run) as log:
        return [record["kind"] for entry in log.read() for record in entry["records"]]


def test_following_tells_phases_output_and_calls(stack: Stack, observer: Recorder) -> None:
    run = _start(stack, "squares", count=3)

    ended = service.follow(stack, run, observer)

    assert ended.status == "completed"
    assert observer.of("log") == ["square of 0", "square of 1", "square of 2"]
    assert [call.path for call in observer.of("call")] == ["square#1", "square#2", "square#3"]
    phases = [phase.name for _, phase in observer.of("phase")]
    assert phases[0] == "Starting"
    assert phases[-1] == "Completed"
    assert [phase.name for phase in ended.attempts[0].phases] == phases
    assert ended.attempts[0].billable_seconds is not None
    assert service.get_run(stack, run) == ended
    assert service.result(stack, run) == 5


def test_an_end_is_seen_within_two_seconds(stack: Stack, observer: Recorder) -> None:
    quickest = float("inf")
    for _ in range(3):  # the machine may be busy with other tests
        ended = service.follow(stack, _start(stack, "squares", count=30, pause=0.1), observer)
        assert ended.ended is not None
        quickest = min(quickest, time.time() - ended.ended)
        if quickest < 2.5:
            return
    pytest.fail(f"seen after {quickest:.1f} s")


def test_a_claim_without_a_job_is_sent_by_whoever_looks(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, sandbox: testing.Sandbox
) -> None:
    run = _claimed(stack, "squares", monkeypatch, count=1)
    assert sandbox.client("sagemaker").list_training_jobs(NameContains=run.lower())["TrainingJobSummaries"] == []

    threads = [threading.Thread(target=service.get_run, args=(stack, run)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert service.wait(stack, run, 60).status == "completed"
    found = sandbox.client("sagemaker").list_training_jobs(NameContains=run.lower())["TrainingJobSummaries"]
    assert len(found) == 1
    assert _kinds(stack, run).count("opened") == 1


def test_a_stop_before_the_job_was_made_is_at_once(
    stack: Stack, sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _claimed(stack, "squares", monkeypatch, count=1)

    assert service.stop(stack, run).status == "stopped"
    assert service.list_runs(stack)[0].status == "stopped"
    assert sandbox.client("sagemaker").list_training_jobs(NameContains=run.lower())["TrainingJobSummaries"] == []


def test_a_job_that_is_made_after_the_stop_ends_itself(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _claimed(stack, "squares", monkeypatch, count=1)
    place = place_of(stack)
    with place.log(run) as log:
        late = fold(log.read())
        service.stop(stack, run)

        lifecycle.send(place, log, late)  # by the process that claimed the attempt, which knows of no stop

    job = late.attempts[1].job
    until(lambda: (seen := jobs.describe(place.aws, str(job))) is not None and seen.over, "the end of the job")
    assert service.get_run(stack, run).status == "stopped"
    assert "opened" not in _kinds(stack, run)


def test_a_running_job_is_stopped(stack: Stack) -> None:
    run = _start(stack, "squares", count=600, pause=0.1)
    until(lambda: service.get_run(stack, run).calls)

    asked = service.stop(stack, run)

    assert asked.status in {"stopping", "stopped"}
    ended = service.wait(stack, run, 30)
    assert ended.status == "stopped"
    assert ended.attempts[0].phases[-1].name == "Stopped"
    assert service.stop(stack, run) == ended


def test_a_job_killed_from_outside_shows_as_interrupted_and_goes_on(stack: Stack) -> None:
    run = _start(stack, "dies", attempts=1)

    seen = service.wait(stack, run, 60)
    assert seen.status == "interrupted"
    assert seen.failure is not None
    assert (seen.failure.cause, seen.failure.retry) == ("interrupted", "yes")
    with pytest.raises(RunFailedError):
        service.result(stack, run)

    service.resume(stack, run)
    again = service.wait(stack, run, 60)
    assert again.status == "completed"
    assert [(call.path, call.attempt) for call in again.calls] == [("square#1", 1), ("die_once#1", 2), ("square#2", 2)]
    assert [attempt.status for attempt in again.attempts] == ["interrupted", "completed"]
    lines = [line for _, _, line in service.logs(stack, run)]
    assert lines.count("square of 2") == 1
    assert lines.index("square of 2") < lines.index("square of 4")


def test_two_processes_that_see_the_same_end_record_it_once(stack: Stack) -> None:
    run = _start(stack, "dies", attempts=9)
    place = place_of(stack)
    job = place.read(run).attempts[1].job
    assert job is not None
    until(lambda: (seen := jobs.describe(place.aws, job)) is not None and seen.over)
    barrier = threading.Barrier(4)
    views: list[Any] = []

    def look() -> None:
        barrier.wait()
        views.append(lifecycle.advance(place, run).view)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert _kinds(stack, run).count("attempt_ended") == 1
    assert all(view == views[0] for view in views)
    assert views[0].status == "interrupted"


def test_resuming_runs_the_code_as_it_is_now(stack: Stack, project: Path, observer: Recorder) -> None:
    run = _start(stack, "needs", path="/nowhere")
    failed = service.wait(stack, run, 60)
    assert failed.status == "failed"
    assert failed.failure is not None
    assert failed.failure.summary == "ValueError: not yet"
    assert any("flows.py" in frame for frame in failed.failure.frames)
    flows = project / "flows.py"
    flows.write_text(flows.read_text().replace('raise ValueError("not yet")', 'return "mended"'))

    service.resume(stack, run, observer=observer)

    assert service.wait(stack, run, 60).status == "completed"
    assert service.result(stack, run) == [9, "mended"]
    assert any("changed" in note for note in observer.of("note"))
    state = place_of(stack).read(run)
    assert state.attempts[1].spec["code"] != state.attempts[2].spec["code"]
    with pytest.raises(ConflictError) as caught:
        service.resume(stack, run)
    assert caught.value.code == "run.is_completed"


def test_resuming_finds_the_project_from_any_folder(
    stack: Stack, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _start(stack, "dies", attempts=1)
    service.wait(stack, run, 60)
    monkeypatch.chdir(tmp_path)
    (project / "note.txt").write_text("the project has changed")

    service.resume(stack, run)

    assert service.wait(stack, run, 60).status == "completed"
    state = place_of(stack).read(run)
    assert state.attempts[1].spec["code"] != state.attempts[2].spec["code"]


def test_without_the_project_the_code_of_the_attempt_before_runs_again(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, observer: Recorder
) -> None:
    run = _start(stack, "dies", attempts=1)
    service.wait(stack, run, 60)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "another-machine"))

    service.resume(stack, run, observer=observer)

    assert service.wait(stack, run, 60).status == "completed"
    state = place_of(stack).read(run)
    assert state.attempts[1].spec == state.attempts[2].spec


def test_of_two_resumes_at_once_one_makes_an_attempt(stack: Stack) -> None:
    run = _start(stack, "dies", attempts=1)
    service.wait(stack, run, 60)
    outcomes: list[str] = []

    def resume() -> None:
        try:
            outcomes.append(service.resume(stack, run).status)
        except ConflictError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=resume) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count("run.is_live") == 2
    assert service.wait(stack, run, 60).status == "completed"
    assert len(service.get_run(stack, run).attempts) == 2


def test_a_live_run_is_not_resumed_and_waiting_can_be_cut_short(stack: Stack) -> None:
    run = _start(stack, "squares", count=600, pause=0.1)
    with pytest.raises(ConflictError) as caught:
        service.resume(stack, run)
    assert caught.value.code == "run.is_live"
    with pytest.raises(RunTimeoutError):
        service.wait(stack, run, 0.3)
    service.stop(stack, run)


def test_a_lack_of_capacity_is_told(stack: Stack, sandbox: testing.Sandbox) -> None:
    sandbox.faults.refuse_capacity()

    ended = service.wait(stack, _start(stack, "squares"), 60)

    assert ended.status == "failed"
    assert ended.failure is not None
    assert (ended.failure.cause, ended.failure.retry) == ("capacity", "later")


def test_a_deleted_job_of_a_run_under_way_is_lost(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _start(stack, "dies", attempts=9)
    place = place_of(stack)
    with place.log(run) as log:
        state = RunState()

        def opened() -> bool:
            for entry in log.read(state.seq):
                state.apply(entry)
            return state.attempt is not None and state.attempt.opened_at is not None

        until(opened, "the beginning of the attempt")
        monkeypatch.setattr(jobs, "describe", lambda *_: None)

        seen = lifecycle.step(place, log, state)

    assert seen.view.status == "lost"
    assert seen.view.failure is not None


def test_nothing_is_concluded_from_another_region(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _claimed(stack, "squares", monkeypatch, count=1)
    elsewhere = dataclasses.replace(stack, region="eu-west-1")

    with pytest.raises(ConflictError) as caught:
        service.get_run(elsewhere, run)

    assert caught.value.code == "run.elsewhere"
    assert [one.status for one in service.list_runs(elsewhere)] == ["submitted"]
    assert service.wait(stack, run, 60).status == "completed"


def test_a_watch_bears_with_outages(stack: Stack, sandbox: testing.Sandbox, observer: Recorder) -> None:
    run = _start(stack, "squares", count=10, pause=0.2)
    watched = threading.Event()

    class Disturbing(Recorder):
        def call(self, call: Any) -> None:
            super().call(call)
            if not watched.is_set():
                watched.set()
                for operation in ("DescribeTrainingJob", "DescribeLogStreams", "GetLogEvents"):
                    sandbox.faults.server_error(operation, times=5)
                sandbox.faults.server_error("GetObject", status=503, times=5, match=f"*{run}/log/*")

    told = Disturbing()
    ended = service.follow(stack, run, told)

    assert ended.status == "completed"
    assert [call.path for call in told.of("call")] == [f"square#{number}" for number in range(1, 11)]
    assert sorted(set(told.of("log"))) == sorted(told.of("log"))
    assert len(told.of("log")) == 10


def test_a_stranger_s_job_of_the_same_name_is_left_alone(
    stack: Stack, sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _claimed(stack, "squares", monkeypatch, count=1)
    request = place_of(stack).read(run).attempts[1].request
    assert request is not None
    sandbox.client("sagemaker").create_training_job(**{**request, "Environment": {"OTHER": "1"}})

    seen = service.get_run(stack, run)

    assert seen.status == "failed"
    assert seen.failure is not None
    assert "did not make it" in seen.failure.summary


def test_a_colleague_s_runs_show_and_are_found(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _start(stack, "squares", count=1), _start(stack, "squares", count=2)
    for run in (first, second):
        service.wait(stack, run, 60)
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "another"))

    assert [run.id for run in service.list_runs(stack)] == [second, first]
    assert [run.id for run in service.list_runs(stack, limit=1)] == [second]
    assert service.list_runs(stack, status="failed") == []
    assert service.find_run(first, stack)[1] == first
    with pytest.raises(ClaryError) as caught:
        service.find_run(commonpath([first, second]), stack)
    assert caught.value.code == "run.ambiguous"
    with pytest.raises(ClaryError) as caught:
        service.find_run("0000ZZZZ", stack)
    assert caught.value.code == "run.not_found"


def test_logs_follow_to_the_end(stack: Stack) -> None:
    run = _start(stack, "squares", count=5, pause=0.1)

    assert [line for _, _, line in service.logs(stack, run, follow=True)] == [f"square of {n}" for n in range(5)]
    assert dataclasses.asdict(service.get_run(stack, run))["status"] == "completed"


def test_a_supervisor_killed_from_outside_shows_within_fifteen_seconds(stack: Stack) -> None:
    run = _start(stack, "squares", count=600, pause=0.1)
    until(lambda: service.get_run(stack, run).calls)
    job = service.get_run(stack, run).attempts[0].job
    killed = time.monotonic()
    os.kill(_first_process(str(job)), signal.SIGKILL)

    ended = service.wait(stack, run, 60)

    assert ended.status == "interrupted"
    assert time.monotonic() - killed < 15


def _first_process(job: str) -> int:
    """Return the process of this machine that is the first one of a job's container."""
    mark = f"TRAINING_JOB_NAME={job}".encode()
    found = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if mark in _read(folder / "environ").split(b"\0") and b"start.py" in _read(folder / "cmdline")
    ]
    return min(found)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
