"""A flow as a SageMaker job on the sandbox: through the AWS API, in a container, with nothing shared but the bucket."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.agent import service
from clary.errors import ClaryError
from patience import until

if TYPE_CHECKING:
    from clary.agent.views import RunView
    from e2e.conftest import Lab


def container(job: str) -> int:
    """Return the host's pid of the first process of a job's container."""
    mark = f"TRAINING_JOB_NAME={job}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
            inner = next(line for line in status.splitlines() if line.startswith("NSpid:"))
            if inner.split()[-1] == "1" and mark in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except (OSError, StopIteration):
            continue
    raise LookupError(job)


def recorded(lab: Lab, run: str, name: str) -> list[str]:
    return [call.path for call in service.get_run(lab.stack, run).calls if call.name == name]


def job_name(run: RunView) -> str:
    name = run.attempts[-1].job
    assert name is not None
    return name


def test_a_flow_runs_as_a_training_job_and_its_value_comes_back(lab: Lab) -> None:
    run = lab.run("steps", count=3)
    assert run.status == "completed", run.failure
    assert service.result(lab.stack, run.id) == {
        "done": [0, 10, 20],
        "beside": [1000, 1010, 1020],
        "host": True,
    }
    assert lab.job(run)["TrainingJobStatus"] == "Completed"
    names = [phase.name for phase in run.attempts[0].phases]
    assert names[0] == "Starting"
    assert "Training" in names
    assert any("body of work 2 in attempt 1" in line for line in lab.logs(run.id))
    assert run.facts == {"count": 3}
    (report,) = run.artifacts
    assert report.name == "report"
    assert report.location.startswith(f"{lab.stack.artifact_store}/values/")


def test_an_async_flow_runs_as_a_job(lab: Lab) -> None:
    run = lab.run("gathered", count=3)
    assert service.result(lab.stack, run.id) == [1, 2, 3]


def test_a_killed_job_goes_on_under_the_same_id_and_nothing_recorded_runs_again(lab: Lab) -> None:
    run = lab.start("steps", count=8, pause=0.6)
    until(lambda: len(recorded(lab, run.id, "work")) >= 2)
    os.kill(container(job_name(run)), signal.SIGKILL)
    seen = until(lambda: view if (view := service.get_run(lab.stack, run.id)).status == "interrupted" else None)
    kept = [call.path for call in seen.calls]
    service.resume(lab.stack, run.id)
    done = service.wait(lab.stack, run.id, 60)
    assert done.status == "completed"
    assert done.id == run.id
    assert len(done.attempts) == 2
    assert service.result(lab.stack, run.id)["done"] == list(range(0, 80, 10))
    assert [call.attempt for call in done.calls if call.path in kept] == [1] * len(kept)
    paths = [call.path for call in done.calls]
    assert len(paths) == len(set(paths))
    bodies = [line for line in lab.logs(run.id) if line.startswith("body of work")]
    for number in range(len(kept)):
        assert f"body of work {number} in attempt 2" not in bodies


def test_a_run_is_stopped_in_an_orderly_way(lab: Lab) -> None:
    run = lab.start("forever")
    until(lambda: recorded(lab, run.id, "work"))
    service.stop(lab.stack, run.id)
    done = service.wait(lab.stack, run.id, 30)
    assert done.status == "stopped"
    until(lambda: lab.job(done)["TrainingJobStatus"] == "Stopped")


def test_an_unchanged_project_is_not_uploaded_again(lab: Lab) -> None:
    lab.run("steps", count=1)
    s3 = lab.sandbox.client("s3")

    def stored(folder: str) -> dict[str, object]:
        listed = s3.list_objects_v2(Bucket=lab.sandbox.bucket, Prefix=f"lab/{folder}/")["Contents"]
        return {item["Key"]: item["LastModified"] for item in listed}

    before = stored("code"), stored("runtime"), stored("specs")
    lab.run("steps", count=1)
    assert (stored("code"), stored("runtime"), stored("specs")) == before


class TestFailureExplainsItself:
    """Issue: a cause, the useful frames or lines, and the next step."""

    def test_of_the_users_code(self, lab: Lab) -> None:
        run = lab.run("divides", by=0)
        assert (run.status, run.failure and run.failure.cause) == ("failed", "user_code")
        assert run.failure
        assert "ZeroDivisionError" in run.failure.summary
        assert any("flows.py" in frame and "divide" in frame for frame in run.failure.frames)
        assert lab.job(run)["FailureReason"].startswith(
            "AlgorithmError: user_code: ZeroDivisionError: division by zero"
        )

    def test_the_failed_call_and_only_it_runs_again_on_resume(self, lab: Lab) -> None:
        run = lab.run("divides", by=0)
        service.resume(lab.stack, run.id)
        again = service.wait(lab.stack, run.id, 60)
        assert again.status == "failed"
        bodies = [line for line in lab.logs(run.id) if line.startswith("body of work")]
        assert bodies == ["body of work 1 in attempt 1"]

    def test_of_native_code(self, lab: Lab) -> None:
        run = lab.run("crashes")
        assert run.failure
        assert run.failure.cause == "user_code"
        assert "SIGSEGV" in run.failure.summary
        assert any("flows.py" in frame for frame in run.failure.frames)

    def test_of_a_value_that_cannot_be_kept(self, lab: Lab) -> None:
        run = lab.run("returns_a_lock")
        assert run.failure
        assert "lock" in run.failure.summary

    def test_of_a_time_limit(self, lab: Lab) -> None:
        limited = lab.with_settings(max_runtime_in_seconds=60)
        lab.sandbox.clock.speed(60)
        run = limited.run("forever")
        assert run.status == "timed_out"
        assert run.failure
        assert run.failure.cause == "time_limit"
        assert "max_runtime_in_seconds" in run.failure.next_step

    def test_of_capacity(self, lab: Lab) -> None:
        lab.sandbox.faults.refuse_capacity()
        run = lab.run("steps", count=1)
        assert run.failure
        assert run.failure.cause == "capacity"

    def test_of_a_quota(self, lab: Lab) -> None:
        run = lab.with_settings(instance_type="ml.p4d.24xlarge").run("steps", count=1)
        assert run.status == "failed"
        assert run.failure
        assert run.failure.cause == "quota"
        assert "ml.p4d.24xlarge" in run.failure.summary

    def test_of_an_image_without_python(self, lab: Lab) -> None:
        from dataclasses import replace

        nowhere = replace(lab.stack, image=f"{lab.stack.container_registry}/nowhere:1")
        target = service.load_target(f"{Path(__file__).with_name('lab') / 'flows.py'}:steps")
        run = service.wait(lab.stack, service.start(target, {"count": 1}, nowhere).id, 60)
        assert run.status == "failed"
        assert run.failure
        assert run.failure.cause == "image"


def test_a_role_that_does_not_exist_leaves_nothing_half_made(lab: Lab) -> None:
    from dataclasses import replace

    stranger = replace(
        lab.stack,
        execution_role="arn:aws:iam::123456789012:role/nobody",
        artifact_store=f"{lab.stack.artifact_store}-stranger",
    )
    target = service.load_target(f"{Path(__file__).with_name('lab') / 'flows.py'}:steps")
    with pytest.raises(ClaryError) as refused:
        service.start(target, {"count": 1}, stranger)
    assert "role" in refused.value.summary
    listed = lab.sandbox.client("s3").list_objects_v2(Bucket=lab.sandbox.bucket, Prefix="lab-stranger/")
    assert listed["KeyCount"] == 0


def test_a_lost_reply_of_create_makes_one_job(lab: Lab) -> None:
    lab.sandbox.faults.lost_reply("CreateTrainingJob")
    run = lab.run("steps", count=1)
    assert run.status == "completed"
    assert len(run.attempts) == 1


def test_lost_and_refused_writes_of_the_record_lose_and_double_nothing(lab: Lab) -> None:
    run = lab.start("steps", count=4, pause=0.05)
    for _ in range(3):
        lab.sandbox.faults.lost_reply("PutObject", match=f"*runs/{run.id}/log/*", times=2)
        lab.sandbox.faults.conflict(match=f"*runs/{run.id}/log/*", times=2)
    done = service.wait(lab.stack, run.id, 60)
    assert done.status == "completed"
    paths = [call.path for call in done.calls]
    assert len(paths) == len(set(paths)) == 8
    assert service.result(lab.stack, run.id)["done"] == [0, 10, 20, 30]
