"""The waker of a job: what it claims, what it asks Scheduler for, and what it makes of the answers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.agent.planning import again
from clary.errors import AwsError, ClaryError, ConfigError, Fenced, PermissionDeniedError, ThrottledError
from clary.journal import records
from clary.journal.log import Log, ObjectLog
from clary.journal.state import RunState
from clary.journal.writer import Journal, append
from clary.objects.folder import FolderStore
from clary.runtime import awsjson, waking
from clary.runtime.pointer import WOKEN_VARIABLE
from clary.runtime.waking import JobWaker
from clary.sagemaker.requests import job_name
from durable import RUN, state_of
from scripted_aws import ScriptedAws, refusal

MADE = (200, {"ScheduleArn": "arn"})
ROLE = "arn:aws-cn:iam::123456789012:role/waker"
REQUEST = {
    "TrainingJobName": job_name("flow", RUN, 1),
    "Environment": {"CLARY_RUN": "s3://b/runs/x", "CLARY_ATTEMPT": "1", "MINE": "<aws.scheduler.execution-id> & é"},
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedAws]:
    monkeypatch.setattr(awsjson, "PAUSE", 0.0)
    monkeypatch.setattr(waking, "PATIENCE", 2.0)
    monkeypatch.setattr(waking, "_LONGEST_PAUSE", 0.01)
    for name in [name for name in os.environ if name.startswith(("AWS_", "CLARY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    with ScriptedAws().serving() as served:
        served.answers("CreateSchedule", MADE)
        served.answers("DeleteSchedule", (200, {}))
        yield served


def begun(folder: Path, request: dict[str, Any] = REQUEST) -> Log:
    """Return the log of a run whose first attempt is claimed."""
    log = ObjectLog(FolderStore(str(folder)), RUN)
    made = [
        records.created(RUN, flow="flow", stack="s", spec={}, inputs={}, by="ann"),
        records.attempt(1, job=request["TrainingJobName"], request=request, spec={"digest": "d"}, on_change="accept"),
    ]
    assert append(log, RunState(), lambda _state: made)
    return log


def opened(log: Log, attempt: int = 1) -> Journal:
    journal = Journal(log, attempt)
    journal.open(host="here", pid=1)
    return journal


def waker(aws: ScriptedAws, journal: Journal) -> JobWaker:
    made = JobWaker(journal.attempt)
    made.attach(journal)
    made.read({"waking": {"role": ROLE, "group": "clary", "region": "cn-north-1", "endpoint": aws.url}})
    return made


def close_end(journal: Journal, moment: float) -> None:
    journal.write(records.suspended(["~sleep#1"], moment))


def test_the_next_attempt_is_claimed_with_its_request_before_the_schedule_is_made(
    aws: ScriptedAws, tmp_path: Path
) -> None:
    log = begun(tmp_path)
    seen: list[RunState] = []

    def look(_request: dict[str, Any]) -> Any:
        seen.append(state_of(log))
        return MADE

    aws.answers("CreateSchedule", look)
    moment = time.time() + 7200.25
    waker(aws, opened(log)).wake_at(moment)

    claimed = seen[0].attempts[2]
    expected = again(REQUEST, "flow", RUN, 2)
    assert (claimed.job, claimed.request) == expected
    assert (claimed.spec, claimed.on_change, claimed.reserved_by) == ({"digest": "d"}, "accept", 1)
    (asked,) = aws.requests("CreateSchedule")
    at = int(moment) + 1
    assert claimed.not_before == at
    assert asked["path"] == f"/schedules/{RUN}-2"
    assert len(f"{RUN}-9999") <= 64
    assert asked["ScheduleExpression"] == f"at({datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S})"
    assert (asked["GroupName"], asked["ActionAfterCompletion"]) == ("clary", "DELETE")
    assert asked["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert asked["ClientToken"] == f"{RUN}-2"
    assert asked["Target"]["Arn"] == "arn:aws-cn:scheduler:::aws-sdk:sagemaker:createTrainingJob"
    assert asked["Target"]["RoleArn"] == ROLE
    sent = json.loads(asked["Target"]["Input"])
    assert sent["Environment"].pop(WOKEN_VARIABLE) == str(at)
    assert sent == claimed.request
    assert "<aws.scheduler" not in asked["Target"]["Input"]


def test_a_time_that_has_nearly_come_is_put_off_a_little(aws: ScriptedAws, tmp_path: Path) -> None:
    log = begun(tmp_path)
    before = time.time()
    waker(aws, opened(log)).wake_at(before - 60)
    not_before = state_of(log).attempts[2].not_before
    assert not_before is not None
    assert before + waking.SOONEST <= not_before <= before + waking.SOONEST + 5


def test_throttling_faults_and_lost_replies_are_borne(aws: ScriptedAws, tmp_path: Path) -> None:
    answers = [refusal("ThrottlingException", status=429), (503, {}), None, None, MADE]
    aws.answers("CreateSchedule", *answers)
    waker(aws, opened(begun(tmp_path))).wake_at(time.time() + 60)
    sent = aws.requests("CreateSchedule")
    assert len(sent) == 5
    assert all(one == sent[0] for one in sent)


def test_a_schedule_that_is_there_already_is_compared(aws: ScriptedAws, tmp_path: Path) -> None:
    """The reply to the first request was lost, and the service did not know its token any more."""
    kept: list[dict[str, Any]] = []

    def lose(request: dict[str, Any]) -> Any:
        kept.append(request)
        return None if len(kept) == 1 else refusal("ConflictException", status=409)

    aws.answers("CreateSchedule", lose)
    aws.answers("GetSchedule", lambda _request: (200, kept[0]))
    waker(aws, opened(begun(tmp_path))).wake_at(time.time() + 60)
    assert aws.requests("GetSchedule") == [{"path": f"/schedules/{RUN}-2?groupName=clary"}]


def test_a_schedule_that_has_fired_meanwhile_is_well(aws: ScriptedAws, tmp_path: Path) -> None:
    aws.answers("CreateSchedule", refusal("ConflictException", status=409))
    aws.answers("GetSchedule", refusal("ResourceNotFoundException", status=404))
    waker(aws, opened(begun(tmp_path))).wake_at(time.time() + 60)


def refused(aws: ScriptedAws, folder: Path, answer: Any, kind: type[ClaryError]) -> ClaryError:
    aws.answers("CreateSchedule", answer)
    with pytest.raises(kind) as caught:
        waker(aws, opened(begun(folder))).wake_at(time.time() + 60)
    return caught.value


def test_refusals_say_what_is_missing(aws: ScriptedAws, tmp_path: Path) -> None:
    folders = iter(tmp_path / str(number) for number in range(9))
    denied = "User: r is not authorized to perform: scheduler:CreateSchedule on resource: x"
    error = refused(aws, next(folders), refusal("AccessDeniedException", denied, 403), PermissionDeniedError)
    assert error.code == "wake.forbidden"
    assert "scheduler:CreateSchedule on schedule/clary/" in error.next_step
    passing = f"User: r is not authorized to perform: iam:PassRole on resource: {ROLE}"
    error = refused(aws, next(folders), refusal("AccessDeniedException", passing, 403), PermissionDeniedError)
    assert f"iam:PassRole on {ROLE}" in error.next_step
    error = refused(aws, next(folders), refusal("ResourceNotFoundException", "no group", 404), AwsError)
    assert (error.code, "no group" in error.summary) == ("wake.refused", True)
    error = refused(aws, next(folders), refusal("ThrottlingException", status=429), ThrottledError)
    assert error.code == "wake.throttled"
    error = refused(aws, next(folders), None, AwsError)
    assert error.code == "wake.unreachable"
    aws.answers("GetSchedule", (200, {"ScheduleExpression": "at(2000-01-01T00:00:00)", "Target": _target()}))
    error = refused(aws, next(folders), refusal("ConflictException", status=409), ClaryError)
    assert error.code == "wake.name_taken"


def _target() -> dict[str, str]:
    return {"Arn": "arn", "RoleArn": ROLE, "Input": "{}"}


def test_without_a_scheduler_role_nothing_is_claimed(aws: ScriptedAws, tmp_path: Path) -> None:
    log = begun(tmp_path)
    lonely = waker(aws, opened(log))
    lonely.read({})
    for ask in (lonely.check, lambda: lonely.wake_at(time.time() + 60)):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert caught.value.code == "wake.no_role"
    assert (list(state_of(log).attempts), aws.calls) == ([1], [])


def test_a_request_that_no_schedule_carries_is_refused_before_anything_is_claimed(
    aws: ScriptedAws, tmp_path: Path
) -> None:
    big = {**REQUEST, "HyperParameters": {str(number): "x" * 2500 for number in range(110)}}
    log = begun(tmp_path, big)
    with pytest.raises(ClaryError) as caught:
        waker(aws, opened(log)).wake_at(time.time() + 60)
    assert caught.value.code == "wake.too_large"
    assert (list(state_of(log).attempts), aws.calls) == ([1], [])


def test_where_there_is_no_room_for_another_variable_the_job_is_not_told(aws: ScriptedAws, tmp_path: Path) -> None:
    full = {**REQUEST, "Environment": {**{f"V{number}": "" for number in range(99)}, "CLARY_ATTEMPT": "1"}}
    waker(aws, opened(begun(tmp_path, full))).wake_at(time.time() + 60)
    (asked,) = aws.requests("CreateSchedule")
    assert len(json.loads(asked["Target"]["Input"])["Environment"]) == 100


def test_a_woken_job_knows_that_its_time_has_come(aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(JobWaker(1).now() - time.time()) < 1
    monkeypatch.setenv(WOKEN_VARIABLE, str(time.time() + 500))
    assert 499 < JobWaker(1).now() - time.time() < 501
    monkeypatch.setenv(WOKEN_VARIABLE, str(time.time() - 500))
    assert abs(JobWaker(1).now() - time.time()) < 1


# -- what a reservation means to those who read the log


def test_a_reserved_attempt_counts_when_the_one_before_it_is_over(aws: ScriptedAws, tmp_path: Path) -> None:
    log = begun(tmp_path)
    journal = opened(log)
    append(log, RunState(), lambda _state: [records.stop_requested("ann")])
    waker(aws, journal).wake_at(time.time() + 60)
    state = state_of(log)
    assert (state.status, state.stop_requested, state.attempt and state.attempt.number) == ("stopping", True, 1)
    close_end(journal, time.time() + 60)
    state = state_of(log)
    assert (state.status, state.attempt and state.attempt.number) == ("waiting", 2)
    with pytest.raises(Fenced):
        opened(log)


@pytest.mark.parametrize("suspended", [True, False], ids=["suspended", "killed before"])
def test_the_woken_attempt_takes_over(aws: ScriptedAws, tmp_path: Path, *, suspended: bool) -> None:
    log = begun(tmp_path)
    journal = opened(log)
    waker(aws, journal).wake_at(time.time() + 60)
    if suspended:
        close_end(journal, time.time() + 60)
    opened(log, 2)
    state = state_of(log)
    assert (state.status, state.attempt and state.attempt.number) == ("running", 2)
    assert state.attempts[1].outcome == ("waiting" if suspended else "interrupted")
    with pytest.raises(Fenced):
        journal.write(records.suspended([], None))


def test_a_job_that_is_found_dead_leaves_the_run_waiting_for_its_time(aws: ScriptedAws, tmp_path: Path) -> None:
    log = begun(tmp_path)
    waker(aws, opened(log)).wake_at(time.time() + 60)
    append(log, RunState(), lambda _state: [records.attempt_ended(1, "failed", {"cause": "interrupted"})])
    state = state_of(log)
    assert (state.status, state.attempt and state.attempt.number) == ("waiting", 2)
    assert (state.due(time.time()), state.due(time.time() + 90)) == (False, True)
    opened(log, 2)


def end(kind: str) -> Callable[[RunState], list[Any]]:
    ends = {
        "failed": records.failed({}, [], "user_code"),
        "stopped": records.stopped("ann"),
        "timed out": records.attempt_ended(1, "timed_out", None),
    }
    return lambda _state: [ends[kind]]


@pytest.mark.parametrize("kind", ["failed", "stopped", "timed out"])
def test_a_run_that_has_ended_is_not_woken(aws: ScriptedAws, tmp_path: Path, kind: str) -> None:
    log = begun(tmp_path)
    waker(aws, opened(log)).wake_at(time.time() + 60)
    append(log, RunState(), end(kind), attempt=1)
    assert state_of(log).settled
    with pytest.raises(Fenced):
        opened(log, 2)


def test_who_goes_on_itself_is_not_disturbed_by_what_it_had_reserved(aws: ScriptedAws, tmp_path: Path) -> None:
    log = begun(tmp_path)
    journal = opened(log)
    awake = waker(aws, journal)
    awake.wake_at(time.time() + 60)
    close_end(journal, time.time() + 60)
    journal.write(records.opened(nonce="n", host="here", pid=1))
    awake.stay()
    assert aws.requests("DeleteSchedule") == [{"path": f"/schedules/{RUN}-2?groupName=clary"}]
    with pytest.raises(Fenced, match="goes on itself"):
        opened(log, 2)
    awake.wake_at(time.time() + 90)
    state = state_of(log)
    assert (state.attempt and state.attempt.number, sorted(state.attempts)) == (1, [1, 2, 3])
    close_end(journal, time.time() + 90)
    assert opened(log, 3).state.status == "running"


def test_a_container_that_was_started_anew_reserves_again(aws: ScriptedAws, tmp_path: Path) -> None:
    log = begun(tmp_path)
    waker(aws, opened(log)).wake_at(time.time() + 60)
    again_open = opened(log)
    waker(aws, again_open).wake_at(time.time() + 60)
    assert [one["path"] for one in aws.requests("DeleteSchedule")] == [f"/schedules/{RUN}-2?groupName=clary"]
    assert sorted(state_of(log).attempts) == [1, 2, 3]
    with pytest.raises(Fenced):
        opened(log, 2)
    opened(log, 3)


@given(st.text(max_size=60), st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_job_and_those_who_submit_give_jobs_the_same_names(flow: str, first: int, number: int) -> None:
    first, number = sorted((first, number))
    assert waking._next_name(job_name(flow, RUN, first), RUN, number) == job_name(flow, RUN, number)
