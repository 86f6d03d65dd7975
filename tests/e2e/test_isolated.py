"""Checkpoints in jobs of their own, on the sandbox: real containers, nothing shared but the bucket."""

from __future__ import annotations

import functools
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import service
from e2e.conftest import LAB
from e2e.test_flow_as_job import container
from patience import until

if TYPE_CHECKING:
    from clary.agent.views import RunView
    from e2e.conftest import Lab

pytestmark = pytest.mark.slow


def start(lab: Lab, flow: str, **inputs: Any) -> RunView:
    return service.start(service.load_target(f"{LAB / 'apart.py'}:{flow}"), inputs, lab.stack)


def ended(lab: Lab, run: RunView) -> RunView:
    return service.wait(lab.stack, run.id, 60)


def value(lab: Lab, run: RunView) -> Any:
    done = ended(lab, run)
    assert done.status == "completed", done.failure
    return service.result(lab.stack, run.id)


def job(lab: Lab, name: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.sandbox.client("sagemaker").describe_training_job(TrainingJobName=name)
    return found


def children(lab: Lab, run: RunView) -> list[str]:
    return [child.job for child in service.get_run(lab.stack, run.id).call_jobs]


def _is_stopped(lab: Lab, name: str) -> bool:
    return bool(job(lab, name)["TrainingJobStatus"] == "Stopped")


def bodies(lab: Lab, run: RunView) -> list[str]:
    return sorted(line for line in lab.logs(run.id) if line.startswith("body of apart"))


def test_calls_run_in_jobs_of_their_own_through_lost_replies_and_outages(lab: Lab) -> None:
    lab.sandbox.faults.lost_reply("CreateTrainingJob", match="enduring-*-1-*", times=1)
    lab.sandbox.faults.throttle("CreateTrainingJob", match="enduring-*-1-*", times=2)
    lab.sandbox.faults.server_error("GetObject", status=503, match="*/calls/*/result.json", times=4)
    run = start(lab, "enduring")
    found = value(lab, run)
    assert (found["numbers"], found["near"]) == ([0, 10, 20], 2)
    assert all(fault["left"] == 0 for fault in lab.sandbox.faults.planned())
    assert len(found["jobs"]) == 3
    assert found["own"] not in found["jobs"]
    for name in found["jobs"]:
        described = job(lab, name)
        assert described["ResourceConfig"]["InstanceType"] == "ml.c5.large"
        assert described["OutputDataConfig"]["S3OutputPath"].endswith(f"runs/{run.id}/output")
    shown = service.get_run(lab.stack, run.id).call_jobs
    assert sorted(child.job for child in shown) == found["jobs"]
    assert {(child.status, child.instance_type) for child in shown} == {("completed", "ml.c5.large")}
    assert bodies(lab, run) == ["body of apart 0", "body of apart 1", "body of apart 2"]


def test_what_calls_print_is_followed_as_it_comes(lab: Lab) -> None:
    run = start(lab, "spread", count=2, pause=4.0)
    seen = {}
    for host, _, text in service.logs(lab.stack, run.id, follow=True):
        if text.startswith("body of apart"):
            seen[host, text] = service.get_run(lab.stack, run.id).status
    assert seen == {
        ("apart#1 algo-1", "body of apart 0"): "running",
        ("apart#2 algo-1", "body of apart 1"): "running",
    }
    assert bodies(lab, run) == ["body of apart 0", "body of apart 1"]


def test_bodies_ask_and_tell_and_fail_as_in_the_flows_own_job(lab: Lab) -> None:
    run = start(lab, "odds")
    found = value(lab, run)
    assert found["told"] == "kept yes tells#1 1 32 0"
    assert found["divided"] == "ZeroDivisionError: division by zero"
    assert "near was called in the isolated checkpoint nests#1" in found["nested"]
    assert found["killed"] == "again"
    done = service.get_run(lab.stack, run.id)
    assert done.facts["told"] == "a"
    assert done.facts["canary"] > 0
    assert {one.name for one in done.artifacts} == {"first", "kept-a"}
    of_killed = [child.status for child in done.call_jobs if child.path == "killed#1"]
    assert of_killed == ["interrupted", "completed"]


def test_a_flow_whose_job_is_killed_takes_up_the_calls_that_it_has_begun(lab: Lab) -> None:
    run = start(lab, "spread", count=2, pause=8.0)
    until(lambda: len(bodies(lab, run)) == 2)
    os.kill(container(service.get_run(lab.stack, run.id).attempts[0].job or ""), signal.SIGKILL)
    until(lambda: service.get_run(lab.stack, run.id).status == "interrupted")
    service.resume(lab.stack, run.id)
    assert value(lab, run)["numbers"] == [0, 10]
    assert len(children(lab, run)) == 2
    assert bodies(lab, run) == ["body of apart 0", "body of apart 1"]


def test_stopping_a_run_stops_its_calls_also_those_of_a_dead_job(lab: Lab) -> None:
    stopped, orphaned = (start(lab, "held", count=1, pause=60.0) for _ in range(2))
    until(lambda: len(bodies(lab, stopped)) == len(bodies(lab, orphaned)) == 1)
    os.kill(container(service.get_run(lab.stack, orphaned.id).attempts[0].job or ""), signal.SIGKILL)
    until(lambda: service.get_run(lab.stack, orphaned.id).status == "interrupted")
    for run in (stopped, orphaned):
        service.stop(lab.stack, run.id)
        (child,) = children(lab, run)
        until(functools.partial(_is_stopped, lab, child))
    assert ended(lab, stopped).status == "stopped"
