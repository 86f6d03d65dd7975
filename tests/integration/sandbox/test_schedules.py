"""EventBridge Scheduler in the sandbox: what it takes, and that it fires, by boto3 and the AWS CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clary import testing
from clary.sagemaker.statements import SCHEDULE_GROUP
from clary.sandbox import api
from integration.sandbox.conftest import _idle_program, make_training_request
from patience import until

TRAINING = "arn:aws:scheduler:::aws-sdk:sagemaker:createTrainingJob"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def make_role(running: testing.Sandbox, name: str, statements: list[dict[str, Any]] | None = None) -> str:
    iam = running.client("iam")
    arn = str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"])
    if statements:
        policy = {"Version": "2012-10-17", "Statement": statements}
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    return arn


@pytest.fixture(scope="module")
def waker(idle: testing.Sandbox) -> str:
    """A role that Scheduler may assume."""
    return make_role(idle, "waker")


@pytest.fixture
def wanted(idle: testing.Sandbox, waker: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """Make a CreateSchedule request for a job; what a test leaves is deleted."""

    def make(name: str, expression: str = "", target: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        job = make_training_request(idle, name)
        return {
            "Name": name,
            "ScheduleExpression": expression or at(idle, -1),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": TRAINING, "RoleArn": waker, "Input": json.dumps(job), **(target or {})},
            **more,
        }

    yield make
    idle.clock.speed(1)
    scheduler = idle.client("scheduler")
    for one in scheduler.list_schedules()["Schedules"]:
        scheduler.delete_schedule(Name=one["Name"], GroupName=one["GroupName"])


def now_of(running: testing.Sandbox) -> datetime:
    """Return the sandbox's time."""
    return datetime.fromtimestamp(running.clock.now(), UTC)


def at(running: testing.Sandbox, seconds: float) -> str:
    return f"at({now_of(running) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S})"


def jobs(running: testing.Sandbox, name: str) -> list[str]:
    found = running.client("sagemaker").list_training_jobs(NameContains=name, MaxResults=100)
    return [one["TrainingJobName"] for one in found["TrainingJobSummaries"]]


def schedules(running: testing.Sandbox) -> set[str]:
    return {one["Name"] for one in running.client("scheduler").list_schedules()["Schedules"]}


def refused(running: testing.Sandbox, request: dict[str, Any]) -> str:
    with pytest.raises(ClientError) as caught:
        running.client("scheduler").create_schedule(**request)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def test_a_sandbox_has_what_wakes_suspended_runs(idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]) -> None:
    request = wanted("own", target={"RoleArn": idle.scheduler_role})
    idle.client("scheduler").create_schedule(**{**request, "GroupName": SCHEDULE_GROUP})
    until(lambda: jobs(idle, "own"))


def test_a_one_time_schedule_fires_by_the_sandboxs_clock_and_is_deleted(
    idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]
) -> None:
    request = wanted("once", at(idle, 1800), ActionAfterCompletion="DELETE")
    idle.client("scheduler").create_schedule(**request)
    time.sleep(0.3)
    assert (jobs(idle, "once"), schedules(idle)) == ([], {"once"})
    idle.clock.speed(3600)
    until(lambda: jobs(idle, "once"))
    until(lambda: schedules(idle) == set())
    assert jobs(idle, "once") == ["once"]


def test_without_deletion_a_one_time_schedule_stays_and_does_not_fire_again(
    idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]
) -> None:
    idle.client("scheduler").create_schedule(**wanted("stays"))
    until(lambda: jobs(idle, "stays"))
    idle.client("sagemaker").stop_training_job(TrainingJobName="stays")
    idle.client("sagemaker").delete_training_job(TrainingJobName="stays")
    idle.clock.speed(3600)
    time.sleep(0.5)
    assert (jobs(idle, "stays"), schedules(idle)) == ([], {"stays"})


def test_a_rate_fires_until_the_end_date_with_the_execution_in_the_jobs_name(
    idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]
) -> None:
    job = make_training_request(idle, "rate-<aws.scheduler.execution-id>", Environment={"end": "Completed"})
    start = now_of(idle) + timedelta(seconds=60)
    request = wanted(
        "rate",
        "rate(1 minute)",
        {"Input": json.dumps(job)},
        StartDate=start,
        EndDate=start + timedelta(seconds=150),
        ActionAfterCompletion="DELETE",
    )
    idle.client("scheduler").create_schedule(**request)
    for fired in (1, 2, 3):
        idle.clock.advance(60)
        until(lambda: len(jobs(idle, "rate-")) == fired)  # noqa: B023 it is called in this turn of the loop
    idle.clock.advance(60)
    until(lambda: schedules(idle) == set())
    assert len(jobs(idle, "rate-")) == 3


def test_cron_in_a_time_zone_and_a_disabled_schedule(
    idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]
) -> None:
    scheduler = idle.client("scheduler")
    local = now_of(idle) + timedelta(hours=9, minutes=20)  # Tokyo has no daylight saving
    request = wanted(
        "cron", f"cron({local.minute} {local.hour} ? * * *)", ScheduleExpressionTimezone="Asia/Tokyo", State="DISABLED"
    )
    scheduler.create_schedule(**request)
    scheduler.create_schedule(**wanted("witness", at(idle, 1260)))
    idle.clock.advance(1260)
    until(lambda: jobs(idle, "witness"))
    assert jobs(idle, "cron") == []
    later = now_of(idle) + timedelta(hours=9, minutes=10)
    again = {**request, "ScheduleExpression": f"cron({later.minute} {later.hour} ? * * *)", "State": "ENABLED"}
    scheduler.update_schedule(**again)
    idle.clock.advance(600)
    until(lambda: jobs(idle, "cron") == ["cron"])


def test_a_deleted_schedule_does_not_fire(idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]) -> None:
    idle.client("scheduler").create_schedule(**wanted("gone", at(idle, 600)))
    idle.client("scheduler").delete_schedule(Name="gone")
    idle.clock.speed(3600)
    before = now_of(idle)
    until(lambda: now_of(idle) - before > timedelta(minutes=15))
    assert jobs(idle, "gone") == []


def test_a_throttled_target_is_tried_again(idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]) -> None:
    idle.faults.throttle("CreateTrainingJob", times=2)
    idle.clock.speed(20)
    idle.client("scheduler").create_schedule(**wanted("throttled", ActionAfterCompletion="DELETE"))
    until(lambda: jobs(idle, "throttled"))
    until(lambda: schedules(idle) == set())


def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(
    idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]
) -> None:
    sqs = idle.client("sqs")
    queue = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = f"arn:aws:sqs:{idle.region}:{idle.account}:dead"
    idle.faults.throttle("CreateTrainingJob", times=3)
    idle.clock.speed(20)
    letters = {"Arn": arn}
    few = wanted("few", at(idle, -1), {"DeadLetterConfig": letters, "RetryPolicy": {"MaximumRetryAttempts": 1}})
    idle.client("scheduler").create_schedule(**few)
    first = _received(sqs, queue)
    assert first["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert (first["ERROR_CODE"], first["RETRY_ATTEMPTS"]) == ("ThrottlingException", "1")
    idle.faults.clear()
    bad = wanted("bad", at(idle, -1), {"DeadLetterConfig": letters, "Input": '{"TrainingJobName": "no/name"}'})
    idle.client("scheduler").create_schedule(**bad)
    second = _received(sqs, queue)
    assert (second["ERROR_CODE"], second["RETRY_ATTEMPTS"]) == ("ValidationException", "0")
    assert "EXHAUSTED_RETRY_CONDITION" not in second
    assert second["SCHEDULE_ARN"].endswith(":schedule/default/bad")


def _received(sqs: Any, queue: str) -> dict[str, str]:
    def receive() -> Any:
        answer = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"], WaitTimeSeconds=1)
        return answer.get("Messages")

    message = until(receive)[0]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


def test_other_targets(idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]) -> None:
    """A queue, an event bus (whose rule leads to a queue), a processing job and a stop."""
    sqs, events, scheduler = idle.client("sqs"), idle.client("events"), idle.client("scheduler")
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = f"arn:aws:sqs:{idle.region}:{idle.account}:told"
    events.put_rule(Name="told", EventPattern='{"source": ["my.app"]}')
    events.put_targets(Rule="told", Targets=[{"Id": "1", "Arn": arn}])
    scheduler.create_schedule(
        **wanted("queue", at(idle, -1), {"Arn": arn, "Input": "hello <aws.scheduler.attempt-number>"})
    )
    bus = f"arn:aws:events:{idle.region}:{idle.account}:event-bus/default"
    told = {"Arn": bus, "Input": '{"a": 1}', "EventBridgeParameters": {"Source": "my.app", "DetailType": "hello"}}
    scheduler.create_schedule(**wanted("bus", at(idle, -1), told))
    bodies: list[str] = []

    def both() -> bool:
        for message in sqs.receive_message(QueueUrl=queue).get("Messages", ()):
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return len(bodies) == 2

    until(both)
    plain, event = sorted(bodies, key=len)
    assert plain == "hello 1"
    assert json.loads(event)["detail"] == {"a": 1}
    sagemaker = idle.client("sagemaker")
    sagemaker.create_training_job(**make_training_request(idle, "to-stop"))
    stop = {"Arn": TRAINING.replace("createTrainingJob", "stopTrainingJob"), "Input": '{"TrainingJobName": "to-stop"}'}
    scheduler.create_schedule(**wanted("stop", at(idle, -1), stop))
    until(
        lambda: sagemaker.describe_training_job(TrainingJobName="to-stop")["TrainingJobStatus"] == "Stopped",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Name": "a/b"}, "Member must satisfy regular expression pattern"),
        ({"Name": "n" * 65}, "length less than or equal to 64"),
        ({"ScheduleExpression": "at(2030-01-01 00:00:00)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "at(2030-02-30T00:00:00)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "rate(0 minutes)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "rate(5 seconds)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "cron(0 12 * * *)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "cron(0 12 * * * *)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "rubbish"}, "Invalid Schedule Expression"),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "ScheduleExpressionTimezone"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes"),
        ({"GroupName": "nobody"}, "Schedule group nobody does not exist"),
        ({"ActionAfterCompletion": "KEEP"}, "enum value set"),
        ({"StartDate": 2000000000, "EndDate": 1900000000}, "EndDate"),
        ({"Target": {"Input": "no json"}}, "Invalid RequestJson"),
        pytest.param({"Target": {"Input": json.dumps({"a": "x" * 262144})}}, "262144", id="too long an input"),
        ({"Target": {"RoleArn": "arn:aws:iam::123456789012:role/nobody"}}, "must allow AWS EventBridge Scheduler"),
        ({"Target": {"RoleArn": "role/nobody"}}, "regular expression pattern"),
        ({"Target": {"RetryPolicy": {"MaximumRetryAttempts": 186}}}, "less than or equal to 185"),
        ({"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution"}}, "Invalid Target Arn"),
        ({"Target": {"Arn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p"}}, "Invalid Target Arn"),
        ({"Target": {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f"}}, "Invalid Target Arn"),
    ],
    ids=str,
)
def test_what_is_refused(
    idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]], change: dict[str, Any], said: str
) -> None:
    change = dict(change)
    request = wanted("never", at(idle, 9000), change.pop("Target", {}))
    assert said in refused(idle, {**request, **change})
    assert schedules(idle) == set()


def test_a_role_that_does_not_trust_scheduler_is_refused(
    idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]
) -> None:
    said = refused(idle, wanted("untrusted", target={"RoleArn": idle.role}))
    assert said == (
        "ValidationException: The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    )


def test_the_same_request_with_its_client_token_is_taken_twice(
    idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]
) -> None:
    scheduler, request = idle.client("scheduler"), wanted("twice", at(idle, 9000), ClientToken="one")
    assert scheduler.create_schedule(**request)["ScheduleArn"] == scheduler.create_schedule(**request)["ScheduleArn"]
    assert refused(idle, {**request, "ClientToken": "two"}).startswith("ConflictException")


def test_the_aws_cli_makes_and_sees_schedules(idle: testing.Sandbox, wanted: Callable[..., dict[str, Any]]) -> None:
    request = wanted("by-cli", at(idle, 2), ActionAfterCompletion="DELETE")
    given = {"AWS_ENDPOINT_URL": idle.endpoint, "AWS_DEFAULT_REGION": idle.region}
    keys = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
    program = Path(sys.executable).with_name("aws")

    def aws(*arguments: str) -> Any:
        command = [str(program), "scheduler", *arguments, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **given, **keys})
        return json.loads(done.stdout or "{}")

    assert aws("create-schedule", "--cli-input-json", json.dumps(request))["ScheduleArn"].endswith("/by-cli")
    until(lambda: jobs(idle, "by-cli"))
    until(lambda: aws("list-schedules")["Schedules"] == [])


@pytest.mark.parametrize("orderly", [True, False], ids=["stopped", "killed"])
def test_a_schedule_outlives_the_sandbox_and_is_made_up_for_once(own_idle: testing.Sandbox, *, orderly: bool) -> None:
    role = make_role(own_idle, "waker")
    for name in ("past", "kept"):
        request = {
            "Name": name,
            "ScheduleExpression": at(own_idle, 6 if name == "past" else 9000),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {"Arn": TRAINING, "RoleArn": role, "Input": json.dumps(make_training_request(own_idle, name))},
        }
        own_idle.client("scheduler").create_schedule(**request)
    assert jobs(own_idle, "past") == []
    if orderly:
        api.stop(own_idle.data)
    else:
        own_idle.kill()
    time.sleep(6)  # its time passes while nobody is there
    with _idle_program():
        own_idle.restart()
    until(lambda: schedules(own_idle) == {"kept"})
    assert (jobs(own_idle, "past"), jobs(own_idle, "kept")) == (["past"], [])


def test_a_schedule_fires_with_the_rights_of_its_role() -> None:
    with _idle_program(), testing.sandbox(iam="enforce", enforce_rates=False) as running:
        job = make_training_request(running, "weighed")
        start = {"Effect": "Allow", "Action": "sagemaker:CreateTrainingJob", "Resource": "*"}
        hand_on = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": running.role}
        bury = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
        queue = running.client("sqs").create_queue(QueueName="dead")["QueueUrl"]
        letters = {"Arn": f"arn:aws:sqs:{running.region}:{running.account}:dead"}

        def fire(name: str, *statements: dict[str, Any]) -> None:
            target = {"Arn": TRAINING, "RoleArn": make_role(running, name, [*statements]), "Input": json.dumps(job)}
            request = {"Name": name, "ScheduleExpression": at(running, -1), "FlexibleTimeWindow": {"Mode": "OFF"}}
            request |= {"Target": {**target, "DeadLetterConfig": letters}}
            running.client("scheduler").create_schedule(**request)

        fire("lacking", start, bury)
        told = _received(running.client("sqs"), queue)
        assert told["ERROR_CODE"] == "AccessDeniedException"
        assert "role/lacking" in told["ERROR_MESSAGE"].replace("assumed-role", "role")
        assert "iam:PassRole" in told["ERROR_MESSAGE"]
        fire("enough", start, hand_on)
        until(lambda: jobs(running, "weighed") == ["weighed"])
