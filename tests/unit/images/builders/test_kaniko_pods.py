"""A pod's status judged: each way that a build ends has its own error, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from clary.errors import Retry
from clary.images.builders.kaniko import pods
from clary.images.builders.kaniko.pods import Phase, Seen

DIGEST = "sha256:" + "1" * 64


def pod(phase: str, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    containers = {"containerStatuses": [{"name": "kaniko", "state": state}]} if state is not None else {}
    return {"metadata": {"name": "p"}, "status": {"phase": phase, **containers, **status}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str, message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (pod("Pending"), Seen(Phase.WAITING)),
        ({"metadata": {}}, Seen(Phase.WAITING)),
        (pod("Pending", conditions=[NO_NODE]), Seen(Phase.WAITING, "Unschedulable", "0/3 nodes")),
        (pod("Pending", waiting("ContainerCreating")), Seen(Phase.WAITING, "ContainerCreating")),
        (pod("Pending", waiting("ErrImagePull", "timeout")), Seen(Phase.WAITING, "ErrImagePull", "timeout")),
        (pod("Pending", waiting("ImagePullBackOff", "no")), Seen(Phase.FAILED, "ImagePullBackOff", "no")),
        (
            pod("Pending", waiting("CreateContainerConfigError", "x")),
            Seen(Phase.FAILED, "CreateContainerConfigError", "x"),
        ),
        (pod("Running", {"running": {}}), Seen(Phase.RUNNING)),
        (pod("Running", ended(0, "Completed", DIGEST)), Seen(Phase.SUCCEEDED, message=DIGEST)),
        (pod("Succeeded", ended(0, "Completed", DIGEST)), Seen(Phase.SUCCEEDED, message=DIGEST)),
        (pod("Failed", ended(137, "OOMKilled")), Seen(Phase.FAILED, "OOMKilled")),
        (pod("Failed", reason="Evicted", message="disk"), Seen(Phase.FAILED, "Evicted", "disk")),
        (pod("Failed", ended(1, "Error"), reason="DeadlineExceeded"), Seen(Phase.FAILED, "DeadlineExceeded")),
    ],
)
def test_a_status_is_judged(given: dict[str, Any], found: Seen) -> None:
    assert pods.seen(given) == found


@pytest.mark.parametrize(
    ("reason", "waited", "code", "step", "retry"),
    [
        ("ImagePullBackOff", "", "image.executor_unavailable", "executor_image", Retry.NO),
        ("InvalidImageName", "", "image.executor_unavailable", "executor_image", Retry.NO),
        ("DeadlineExceeded", "", "image.build_timed_out", "build_timeout", Retry.NO),
        ("DeadlineExceeded", "Unschedulable: 0/3 nodes", "image.build_unscheduled", "node_selector", Retry.LATER),
        ("OOMKilled", "", "image.build_out_of_memory", "memory", Retry.NO),
        ("Evicted", "", "image.build_evicted", "ephemeral-storage", Retry.YES),
        ("CreateContainerConfigError", "", "image.build_not_started", "secret_name", Retry.NO),
        ("Error", "", "image.build_failed", "last lines", Retry.NO),
    ],
)
def test_each_failure_says_what_to_do(reason: str, waited: str, code: str, step: str, retry: Retry) -> None:
    found = Seen(Phase.FAILED, reason, "because")
    error = pods.failure(found, waited=waited, said="a line\nno such package", timeout=60)
    assert error.code == code
    assert step in error.next_step
    assert error.retry is retry
    assert error.details["output"] == "a line\nno such package"


def test_a_failed_build_shows_its_last_lines() -> None:
    said = "\n".join(f"line {number}" for number in range(40))
    shown = pods.failure(Seen(Phase.FAILED, "Error"), waited="", said=said, timeout=60).summary
    assert "line 39" in shown
    assert "line 24" not in shown


def test_a_jobs_end_is_its_condition() -> None:
    def job(*conditions: dict[str, str]) -> dict[str, Any]:
        return {"status": {"conditions": list(conditions)}}

    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "m"}
    assert pods.ended({}) is None
    assert pods.ended(job({"type": "Suspended", "status": "True"})) is None
    assert pods.ended(job({**failed, "status": "False"})) is None
    assert pods.ended(job(failed)) == (False, "DeadlineExceeded", "m")
    assert pods.ended(job({"type": "Complete", "status": "True"})) == (True, "", "")
