"""Jobs: created exactly once through conflicts, lost replies and throttling; described; stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import AwsError, ConflictError, NotFoundError, QuotaError, ThrottledError, ValidationError
from clary.sagemaker.jobs import Phase, create, describe, stop, view
from clary.sagemaker.session import Aws
from sagemaker_requests import good_request
from scripted_aws import ScriptedAws, refusal

if TYPE_CHECKING:
    from scripted_aws import Answer

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/digits-01"
POINTER = {"CLARY_RUN": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "CLARY_ATTEMPT": "1"}
CREATED: Answer = (200, {"TrainingJobArn": ARN})
OURS: Answer = (
    200,
    {
        "TrainingJobName": "digits-01",
        "TrainingJobArn": ARN,
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "Environment": POINTER | {"MORE": "x"},
    },
)
NONE: Answer = refusal("ValidationException", "Requested resource not found.")
TAKEN: Answer = refusal("ResourceInUse", "Job name must be unique within an AWS account and region")
THROTTLED: Answer = refusal("ThrottlingException", "Rate exceeded")


def make(aws: Aws, pauses: list[float] | None = None, deadline: float = 60.0) -> str:
    paused = [] if pauses is None else pauses
    return create(aws, good_request(), pointer=POINTER, deadline_seconds=deadline, pause=paused.append)


def foreign() -> Answer:
    assert OURS is not None
    return 200, {**OURS[1], "Environment": {"CLARY_RUN": "other", "CLARY_ATTEMPT": "1"}}


def test_a_job_is_created(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", CREATED)
    assert make(aws) == ARN
    assert scripted.calls == [("CreateTrainingJob", good_request())]


def test_a_job_of_ours_is_adopted(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", TAKEN)
    scripted.answers("DescribeTrainingJob", OURS)
    assert make(aws) == ARN
    assert len(scripted.requests("CreateTrainingJob")) == 1


def test_the_job_of_another_is_not(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", TAKEN)
    scripted.answers("DescribeTrainingJob", foreign())
    with pytest.raises(ConflictError) as caught:
        make(aws)
    assert caught.value.code == "sagemaker.name_taken"
    assert caught.value.details == {"arn": ARN}


@pytest.mark.parametrize("lost", [None, refusal("InternalFailure", "", 500)])
def test_a_lost_reply_is_looked_up(aws: Aws, scripted: ScriptedAws, lost: Answer) -> None:
    scripted.answers("CreateTrainingJob", lost)
    scripted.answers("DescribeTrainingJob", OURS)
    assert make(aws) == ARN
    assert len(scripted.requests("CreateTrainingJob")) == 1


def test_a_lost_request_is_sent_again(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", None, CREATED)
    scripted.answers("DescribeTrainingJob", NONE)
    assert make(aws) == ARN
    first, second = scripted.requests("CreateTrainingJob")
    assert first == second


def test_a_name_that_is_being_given_free_is_tried_again(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", TAKEN, CREATED)
    scripted.answers("DescribeTrainingJob", NONE)
    assert make(aws) == ARN


def test_throttling_is_waited_out_with_growing_pauses(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", *[THROTTLED] * 5, CREATED)
    pauses: list[float] = []
    assert make(aws, pauses) == ARN
    assert len(pauses) == 5
    assert all(pause <= limit for pause, limit in zip(pauses, (1, 2, 4, 8, 16), strict=True))


def test_throttling_of_the_look_does_not_make_a_second_job(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", None, TAKEN)
    scripted.answers("DescribeTrainingJob", THROTTLED, OURS)
    assert make(aws) == ARN


def test_throttling_ends_at_the_deadline(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", THROTTLED)
    with pytest.raises(ThrottledError):
        make(aws, deadline=0)
    assert len(scripted.calls) == 1


def test_a_quota_is_told_as_it_is(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("CreateTrainingJob", refusal("ResourceLimitExceeded", "The account-level service limit"))
    with pytest.raises(QuotaError):
        make(aws)
    assert len(scripted.calls) == 1


def test_a_dead_endpoint_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from clary.sagemaker import session

    monkeypatch.setattr(session, "ATTEMPTS", 1)
    with ScriptedAws().serving() as gone:
        url = gone.url
    place = Aws("eu-west-1", endpoint_url=url)
    with pytest.raises(AwsError) as caught:
        make(place)
    place.close()
    assert caught.value.code == "aws.unreachable"
    assert "CreateTrainingJob" in caught.value.summary


@pytest.mark.parametrize("pointer", [{}, {"CLARY_RUN": "another"}, {"OTHER": "x"}])
def test_a_request_without_its_pointer_is_not_sent(aws: Aws, pointer: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="pointer"):
        create(aws, good_request(), pointer=pointer)


def test_a_job_that_is_not_there_is_none(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("DescribeTrainingJob", NONE)
    assert describe(aws, "digits-01") is None


def test_a_job_is_described_over_the_wire(aws: Aws, scripted: ScriptedAws) -> None:
    body: dict[str, Any] = {
        "TrainingJobName": "digits-01",
        "TrainingJobArn": ARN,
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "FailureReason": "AlgorithmError: , exit code: 137",
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": 100.0, "EndTime": 110.5, "StatusMessage": "Launching"},
            {"Status": "SomethingNew", "StartTime": 110.5},
        ],
        "CreationTime": 99.0,
        "TrainingStartTime": 110.0,
        "TrainingEndTime": 120.0,
        "TrainingTimeInSeconds": 10,
        "BillableTimeInSeconds": 4,
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1},
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
        "OutputDataConfig": {"S3OutputPath": "s3://b"},
        "Environment": POINTER,
    }
    scripted.answers("DescribeTrainingJob", (200, body))
    job = describe(aws, "digits-01")
    assert job is not None
    assert job.over
    assert job.exit_code == 137
    assert job.phases == (
        Phase("Starting", 100.0, 110.5, "Launching"),
        Phase("SomethingNew", 110.5, None, ""),
    )
    assert (job.created, job.started, job.ended) == (99.0, 110.0, 120.0)
    assert (job.training_seconds, job.billable_seconds) == (10, 4)
    assert (job.instance_type, job.instance_count) == ("ml.m5.xlarge", 2)
    assert (job.model_artifact, job.output) == ("s3://b/model.tar.gz", "s3://b")
    assert job.environment == POINTER


def test_a_job_just_born_has_little_to_say() -> None:
    assert OURS is not None
    job = view({**OURS[1], "CreationTime": datetime(2026, 1, 1, tzinfo=UTC)})
    assert not job.over
    assert job.created == 1767225600.0
    assert (job.started, job.billable_seconds, job.exit_code, job.phases) == (None, None, None, ())


def test_the_machines_that_were_got_are_the_ones_shown() -> None:
    assert OURS is not None
    resources = {"InstancePreferences": [], "SelectedInstanceType": "ml.c5.xlarge", "SelectedInstanceCount": 3}
    job = view({**OURS[1], "ResourceConfig": resources})
    assert (job.instance_type, job.instance_count) == ("ml.c5.xlarge", 3)


def test_stopping(aws: Aws, scripted: ScriptedAws) -> None:
    over = refusal("ValidationException", "The request was rejected because the training job is in status Stopped.")
    scripted.answers("StopTrainingJob", (200, {}), over, NONE, refusal("ValidationException", "1 validation error"))
    assert stop(aws, "digits-01") is True
    assert stop(aws, "digits-01") is False
    with pytest.raises(NotFoundError):
        stop(aws, "digits-01")
    with pytest.raises(ValidationError):
        stop(aws, "digits-01")
