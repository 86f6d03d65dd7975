"""A running container over the ends of the sandbox: it outlives a kill and is taken up; an orderly stop ends it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from clary import testing
from clary.sandbox import api
from integration.sandbox.conftest import make_training_request
from patience import until

_WAITING = """
import pathlib, time
print("began", flush=True)
while not pathlib.Path("/opt/ml/model/go").exists():
    time.sleep(0.05)
pathlib.Path("/opt/ml/model/m").write_text("x")
print("went on", flush=True)
"""


def begin(local: testing.Sandbox, name: str) -> None:
    request = make_training_request(local, name, Environment={"CODE": _WAITING})
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["python", "-c", "import os; exec(os.environ['CODE'])"]
    local.client("sagemaker").create_training_job(**request)
    until(lambda: lines(local, name) == ["began"], "the first line of the job")


def lines(local: testing.Sandbox, name: str) -> list[str]:
    logs = local.client("logs")
    group = "/aws/sagemaker/TrainingJobs"
    try:
        events = logs.filter_log_events(logGroupName=group, logStreamNamePrefix=f"{name}/")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"] for event in events]


def status(local: testing.Sandbox, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = local.client("sagemaker").describe_training_job(TrainingJobName=name)
    return shown


def end_of(local: testing.Sandbox, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        shown = status(local, name)
        return shown if shown["TrainingJobStatus"] != "InProgress" else None

    return until(look, f"the end of {name}")


def of_the_job(local: testing.Sandbox, name: str) -> list[str]:
    """Return the processes on this machine that name the job's folder or variable."""
    mark = f"TRAINING_JOB_NAME={name}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes():
                found.append(folder.name)
    return found


def test_a_container_outlives_the_sandbox_and_is_taken_up() -> None:
    with testing.sandbox(enforce_rates=False) as local:
        name = f"outlive-{time.time_ns()}"
        begin(local, name)
        local.kill()
        assert of_the_job(local, name)
        local.restart()
        assert status(local, name)["TrainingJobStatus"] == "InProgress"
        (folder,) = (local.data / "jobs").rglob("model")
        (folder / "go").write_text("")
        ended = end_of(local, name)
        assert ended["TrainingJobStatus"] == "Completed", ended.get("FailureReason")
        assert lines(local, name) == ["began", "went on"]


def test_an_orderly_stop_leaves_no_process_behind() -> None:
    with testing.sandbox(enforce_rates=False) as local:
        name = f"stopped-{time.time_ns()}"
        begin(local, name)
        assert of_the_job(local, name)
        api.stop(local.data)
        assert of_the_job(local, name) == []
        local.restart()
        ended = end_of(local, name)
        assert ended["TrainingJobStatus"] == "Failed"
        assert ended["FailureReason"].startswith("InternalServerError")
