"""A job that the platform ended is followed by another one, as often as the flow's retries say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e.conftest import Lab


@pytest.mark.parametrize("kind", ["capacity", "internal"])
def test_the_platforms_own_failures_are_tried_again(lab: Lab, kind: str) -> None:
    plan = lab.sandbox.faults.refuse_capacity if kind == "capacity" else lab.sandbox.faults.internal_error
    plan(job="persists-*")
    run = lab.run("persists")
    assert (run.status, [attempt.status for attempt in run.attempts]) == ("completed", ["failed", "completed"])
    assert run.result == "10"


def test_not_more_often_than_asked_and_not_without_being_asked(lab: Lab) -> None:
    lab.sandbox.faults.refuse_capacity(job="*", times=3)
    twice = lab.run("persists")
    assert (twice.status, len(twice.attempts)) == ("failed", 2)
    assert twice.failure is not None
    assert twice.failure.cause == "capacity"
    once = lab.run("divides", by=1)
    assert (once.status, len(once.attempts)) == ("failed", 1)


def test_a_run_that_is_to_be_stopped_is_not_tried_again(lab: Lab) -> None:
    from clary.agent import service

    lab.sandbox.faults.wait_for_capacity(3600, job="persists-*")
    run = lab.start("persists")
    service.stop(lab.stack, run.id)
    assert service.wait(lab.stack, run.id, 60).status == "stopped"
