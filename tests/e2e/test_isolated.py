"""Checkpoints in jobs of their own, on the sandbox: real containers, nothing shared but the bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.agent import service

if TYPE_CHECKING:
    from clary.agent.views import RunView
    from e2e.conftest import Lab


def run(lab: Lab, flow: str, **inputs: Any) -> RunView:
    return service.wait(lab.stack, start(lab, flow, **inputs).id, 60)


def start(lab: Lab, flow: str, **inputs: Any) -> RunView:
    from e2e.conftest import LAB

    return service.start(service.load_target(f"{LAB / 'apart.py'}:{flow}"), inputs, lab.stack)


def test_calls_run_in_jobs_of_their_own(lab: Lab) -> None:
    done = run(lab, "spread", count=4)
    assert done.status == "completed", done.failure
    value = service.result(lab.stack, done.id)
    assert value["numbers"] == [0, 10, 20, 30]
    assert value["near"] == 2
    assert len(value["jobs"]) == 4
    assert value["own"] not in value["jobs"]
    for name in value["jobs"]:
        job = lab.sandbox.client("sagemaker").describe_training_job(TrainingJobName=name)
        assert job["ResourceConfig"]["InstanceType"] == "ml.c5.large"
        assert job["TrainingJobStatus"] == "Completed"
