"""Planned faults, as a client meets them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from clary.errors import SandboxError
from integration.sandbox.conftest import make_training_request
from patience import until

if TYPE_CHECKING:
    from clary.testing import Sandbox

_ONCE = Config(retries={"total_max_attempts": 1})


def code_of(call: Callable[..., Any], **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_throttle_happens_as_often_as_planned(idle: Sandbox) -> None:
    client = idle.client("sagemaker", config=_ONCE)
    idle.faults.throttle("DescribeTrainingJob", times=2)
    codes = [code_of(client.describe_training_job, TrainingJobName="x") for _ in range(3)]
    assert codes == ["ThrottlingException", "ThrottlingException", "ValidationException"]
    assert [(fault["left"], fault["taken"]) for fault in idle.faults.planned()] == [(0, 2)]


def test_faults_are_meant_for_what_they_match(idle: Sandbox) -> None:
    s3 = idle.client("s3", config=_ONCE)
    idle.faults.server_error("PutObject", status=503, match="journal/*")
    s3.put_object(Bucket=idle.bucket, Key="other/1", Body=b"")
    assert code_of(s3.put_object, Bucket=idle.bucket, Key="journal/1", Body=b"") == "ServiceUnavailable"
    assert code_of(s3.head_object, Bucket=idle.bucket, Key="journal/1") == "404"
    s3.put_object(Bucket=idle.bucket, Key="journal/1", Body=b"")


def test_the_reply_of_a_stored_write_is_lost(idle: Sandbox) -> None:
    s3 = idle.client("s3", config=_ONCE)
    idle.faults.lost_reply("PutObject", match="lost/*")
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket=idle.bucket, Key="lost/1", Body=b"kept")
    assert s3.get_object(Bucket=idle.bucket, Key="lost/1")["Body"].read() == b"kept"


def test_a_create_whose_reply_is_lost_made_the_job(idle: Sandbox) -> None:
    client = idle.client("sagemaker", config=_ONCE)
    request = make_training_request(idle, f"lost-{time.time_ns()}")
    idle.faults.lost_reply("CreateTrainingJob", match="lost-*")
    with pytest.raises(ConnectionClosedError):
        client.create_training_job(**request)
    assert code_of(client.create_training_job, **request) == "ResourceInUse"


def test_a_conditional_write_is_answered_with_conflict(idle: Sandbox) -> None:
    s3 = idle.client("s3", config=_ONCE)
    idle.faults.conflict(match="c/*")
    s3.put_object(Bucket=idle.bucket, Key="c/plain", Body=b"")
    write = {"Bucket": idle.bucket, "Key": "c/1", "Body": b"", "IfNoneMatch": "*"}
    with pytest.raises(ClientError) as caught:
        s3.put_object(**write)
    assert caught.value.response["Error"]["Code"] == "ConditionalRequestConflict"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    s3.put_object(**write)


def test_credentials_expire(idle: Sandbox) -> None:
    idle.faults.expire_credentials(times=3)
    assert code_of(idle.client("sagemaker").list_training_jobs) == "ExpiredTokenException"
    assert code_of(idle.client("s3").list_buckets) == "ExpiredToken"
    assert code_of(idle.client("iam").list_roles) == "ExpiredToken"


def test_a_quota_is_exhausted(idle: Sandbox) -> None:
    client = idle.client("sagemaker")
    idle.faults.exhaust_quota(job="q-*")
    request = make_training_request(idle, f"q-{time.time_ns()}")
    assert code_of(client.create_training_job, **request) == "ResourceLimitExceeded"
    client.create_training_job(**request)


def test_a_fault_that_does_not_exist_is_refused(idle: Sandbox) -> None:
    from clary.sandbox import api

    with pytest.raises(SandboxError) as caught:
        api.add_fault("gremlins", data=idle.data)
    assert caught.value.code == "sandbox.refused"
    assert "throttle" in caught.value.summary


class Listener:
    """A queue that a rule for SageMaker's events sends to."""

    def __init__(self, sandbox: Sandbox) -> None:
        name = f"events-{time.time_ns()}"
        self.sqs, events = sandbox.client("sqs"), sandbox.client("events")
        self.queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Training Job State Change"]}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": attributes["Attributes"]["QueueArn"]}])

    def events_of(self, job: str, count: int) -> list[dict[str, Any]]:
        """Wait for that many events of a job."""
        found: list[dict[str, Any]] = []

        def receive() -> bool:
            answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                event = json.loads(message["Body"])
                if event["detail"]["TrainingJobName"] == job:
                    found.append(event)
            return len(found) >= count

        until(receive, f"{count} events of {job}")
        return found


def test_state_changes_arrive_as_events(idle: Sandbox) -> None:
    listener = Listener(idle)
    name = f"told-{time.time_ns()}"
    tags = [{"Key": "team", "Value": "a"}]
    arn = idle.client("sagemaker").create_training_job(
        **make_training_request(idle, name, Tags=tags, Environment={"end": "Completed"})
    )["TrainingJobArn"]
    events = listener.events_of(name, 3)
    assert [event["detail"]["SecondaryStatus"] for event in events] == ["Starting", "Training", "Completed"]
    assert {event["source"] for event in events} == {"aws.sagemaker"}
    assert all(event["resources"] == [arn] for event in events)
    detail = events[-1]["detail"]
    assert detail["TrainingJobArn"] == arn
    assert detail["Tags"] == {"team": "a"}
    assert detail["CreationTime"].isdigit()
    assert detail["SecondaryStatusTransitions"][0]["StartTime"].isdigit()


def test_events_are_repeated_and_delayed(idle: Sandbox) -> None:
    listener = Listener(idle)
    name = f"twice-{time.time_ns()}"
    idle.faults.delay_events(3, job=name)
    idle.faults.duplicate_events(job=name)
    idle.client("sagemaker").create_training_job(**make_training_request(idle, name, Environment={"end": "Completed"}))
    events = listener.events_of(name, 4)
    statuses = [event["detail"]["SecondaryStatus"] for event in events]
    assert sorted(statuses) == ["Completed", "Starting", "Training", "Training"]
    assert statuses[-1] == "Starting"
