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


def test_a_body_may_ask_and_tell_as_in_the_flows_own_job(lab: Lab) -> None:
    done = run(lab, "tell")
    assert done.status == "completed", done.failure
    assert service.result(lab.stack, done.id) == "kept yes tells#1 1 32 0"
    assert done.facts["told"] == "a"
    assert done.facts["canary"] > 0
    assert {one.name for one in done.artifacts} == {"first", "kept-a"}


def test_what_the_body_raised_is_raised_in_the_flow(lab: Lab) -> None:
    done = run(lab, "divides", by=0)
    assert done.status == "completed", done.failure
    assert service.result(lab.stack, done.id) == "caught division by zero"


def test_a_checkpoint_in_an_isolated_one_is_refused(lab: Lab) -> None:
    done = run(lab, "nested")
    assert done.status == "failed"
    assert done.failure is not None
    assert "near was called in the isolated checkpoint nests#1" in done.failure.summary
    assert "near.function(…)" in done.failure.next_step


def test_a_job_that_was_killed_fails_the_call_and_a_retry_has_a_job_of_its_own(lab: Lab) -> None:
    done = run(lab, "survives")
    assert done.status == "completed", done.failure
    assert service.result(lab.stack, done.id) == "again hostname"


def test_hosts_run_the_function_on_each(lab: Lab) -> None:
    done = run(lab, "meets")
    assert done.status == "completed", done.failure
    value = service.result(lab.stack, done.id)
    assert value == {"hosts": ["algo-1", "algo-2"], "rank": 0, "said": "hello from algo-2"}


def test_the_failure_of_one_host_is_the_calls(lab: Lab) -> None:
    done = run(lab, "meets", fail_on=1)
    assert done.status == "failed"
    assert done.failure is not None
    assert "host 1 does not want to" in done.failure.summary
