"""A run that waits for a person on SageMaker: no job while it waits, one more after the answer, asked once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import service
from clary.errors import ClaryError
from patience import until

if TYPE_CHECKING:
    from command_line import CommandLine
    from e2e.conftest import Lab


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ClaryError) as error:
        call(*arguments, **options)
    return error.value.code


def test_the_job_ends_and_another_goes_on_after_the_answer(lab: Lab) -> None:
    run = lab.run("asks")
    assert run.status == "waiting"
    [asked] = run.waits
    assert (asked.name, asked.question, asked.expected, asked.outcome) == (
        "approve",
        "Ship it?",
        "one of yes, no, nobody",
        None,
    )
    assert asked.metadata == {"cost": 3}
    job = run.attempts[0].job
    assert job is not None
    until(
        lambda: (
            lab.sandbox.client("sagemaker").describe_training_job(TrainingJobName=job)["TrainingJobStatus"]
            == "Completed"
        )
    )
    assert service.get_run(lab.stack, run.id).status == "waiting"
    assert refused(service.result, lab.stack, run.id) == "run.is_waiting"
    assert refused(service.resume, lab.stack, run.id) == "run.is_waiting"
    assert refused(service.answer, lab.stack, run.id, "approve", "maybe") == "wait.bad_answer"
    assert refused(service.answer, lab.stack, run.id, "aprove", "yes") == "wait.not_found"

    answered = service.answer(lab.stack, run.id, None, "yes")
    assert answered.waits[0].outcome == "answered"
    assert refused(service.answer, lab.stack, run.id, "approve", "no") == "wait.answered"
    ended = service.wait(lab.stack, run.id, 60)
    assert (ended.status, len(ended.attempts)) == ("completed", 2)
    assert service.result(lab.stack, run.id)[1] == "yes"
    assert [call.attempt for call in ended.calls] == [1, 2]
    assert refused(service.answer, lab.stack, run.id, "approve", "no") == "run.not_waiting"
    first = service.get_run(lab.stack, run.id).attempts[0]
    assert first.billable_seconds is not None  # what the wait itself did not cost


def test_an_aborted_wait_fails_the_run_with_what_to_do(lab: Lab) -> None:
    run = lab.run("asks")
    service.answer(lab.stack, run.id, "approve", None, abort=True)
    ended = service.wait(lab.stack, run.id, 60)
    assert ended.status == "failed"
    assert ended.failure is not None
    assert "aborted" in ended.failure.summary


def test_a_stopped_run_that_waited_is_over_at_once(lab: Lab) -> None:
    run = lab.run("asks")
    assert service.stop(lab.stack, run.id).status == "stopped"
    assert refused(service.answer, lab.stack, run.id, "approve", "yes") == "run.not_waiting"


def test_the_command_line_asks_lists_and_answers(lab: Lab, terminal: CommandLine) -> None:
    run = lab.run("asks")
    listed = terminal("runs", "waits", run.id, "--stack", "lab", "-o", "json").json["items"]
    assert [(one["run"], one["name"]) for one in listed] == [(run.id, "approve")]
    assert "Ship it?" in terminal("runs", "waits", "--stack", "lab").out
    wrong = terminal("executions", "input", run.id, "--value", '"perhaps"', "--stack", "lab", "-o", "json")
    assert wrong.error["code"] == "wait.bad_answer"
    shown = terminal("runs", "show", run.id, "--stack", "lab").out
    assert f"clary runs answer {run.id} approve VALUE" in shown
    answered = terminal("runs", "answer", run.id, "approve", "yes", "--follow", "--stack", "lab", "-o", "json")
    assert answered.code == 0, answered.err
    assert answered.json["item"]["status"] == "completed"
