"""A list of instance types: the first that has capacity is taken, and Describe says which."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from integration.sandbox.conftest import make_processing_request, make_training_request
from patience import until

if TYPE_CHECKING:
    from clary.testing import Sandbox

WANTED = [{"InstanceType": "ml.c5.xlarge"}, {"InstanceType": "ml.m5.xlarge"}, {"InstanceType": "ml.m5.large"}]
PRINT = ["python3", "-c", "print(open('/opt/ml/input/config/resourceconfig.json').read())"]


@pytest.fixture
def ended(clary_sandbox: Sandbox) -> Callable[[str], dict[str, Any]]:
    def wait(name: str) -> dict[str, Any]:
        client = clary_sandbox.client("sagemaker")

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = client.describe_training_job(TrainingJobName=name)
            return found if found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return until(look, f"the end of {name}")

    return wait


@pytest.fixture(autouse=True)
def _no_faults(clary_sandbox: Sandbox) -> None:
    clary_sandbox.faults.clear()


def request(running: Sandbox, name: str, preferences: list[dict[str, Any]], count: int | None = 1) -> dict[str, Any]:
    resources = {"InstancePreferences": preferences, "VolumeSizeInGB": 1}
    made = make_training_request(
        running, name, ResourceConfig=resources if count is None else {**resources, "InstanceCount": count}
    )
    made["AlgorithmSpecification"]["ContainerEntrypoint"] = PRINT
    return made


def test_the_next_type_is_taken_where_the_first_has_no_capacity(
    clary_sandbox: Sandbox, ended: Callable[[str], dict[str, Any]]
) -> None:
    clary_sandbox.faults.refuse_capacity(instance_type="ml.c5.*", times=5)
    client = clary_sandbox.client("sagemaker")
    client.create_training_job(**request(clary_sandbox, "second", WANTED))
    job = ended("second")
    assert job["TrainingJobStatus"] == "Completed", job
    assert job["ResourceConfig"]["SelectedInstanceType"] == "ml.m5.xlarge"
    assert job["ResourceConfig"]["SelectedInstanceCount"] == 1
    assert job["ResourceConfig"]["InstancePreferences"] == WANTED
    # One refusal for the one type that was asked for and is refused.
    assert [fault["taken"] for fault in clary_sandbox.faults.planned()] == [1]


def test_the_container_is_told_the_type_and_count_that_were_taken(
    clary_sandbox: Sandbox, ended: Callable[[str], dict[str, Any]]
) -> None:
    counted = [
        {"InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
        {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    ]
    clary_sandbox.faults.refuse_capacity(instance_type="ml.c5.xlarge")
    clary_sandbox.client("sagemaker").create_training_job(**request(clary_sandbox, "told", counted, count=None))
    job = ended("told")
    assert (job["ResourceConfig"]["SelectedInstanceType"], job["ResourceConfig"]["SelectedInstanceCount"]) == (
        "ml.m5.xlarge",
        1,
    )
    logs = clary_sandbox.client("logs")
    [stream] = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="told/")[
        "logStreams"
    ]
    events = logs.get_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=stream["logStreamName"], startFromHead=True
    )["events"]
    config = json.loads("".join(event["message"] for event in events))
    assert (config["current_instance_type"], config["hosts"]) == ("ml.m5.xlarge", ["algo-1"])


def test_with_capacity_the_first_is_taken(clary_sandbox: Sandbox, ended: Callable[[str], dict[str, Any]]) -> None:
    clary_sandbox.client("sagemaker").create_training_job(**request(clary_sandbox, "first", WANTED))
    assert ended("first")["ResourceConfig"]["SelectedInstanceType"] == "ml.c5.xlarge"


def test_without_any_capacity_the_job_fails(clary_sandbox: Sandbox, ended: Callable[[str], dict[str, Any]]) -> None:
    clary_sandbox.faults.refuse_capacity(times=3)
    clary_sandbox.client("sagemaker").create_training_job(**request(clary_sandbox, "none", WANTED))
    job = ended("none")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("CapacityError")
    assert "SelectedInstanceType" not in job["ResourceConfig"]


def test_a_refused_type_does_not_touch_jobs_of_others(
    clary_sandbox: Sandbox, ended: Callable[[str], dict[str, Any]]
) -> None:
    clary_sandbox.faults.refuse_capacity(instance_type="ml.g5.*")
    clary_sandbox.client("sagemaker").create_training_job(**make_training_request(clary_sandbox, "other"))
    job = ended("other")
    assert "CapacityError" not in job.get("FailureReason", "")
    assert "SelectedInstanceType" not in job["ResourceConfig"]


def test_processing_jobs_choose_too(clary_sandbox: Sandbox) -> None:
    clary_sandbox.faults.refuse_capacity(instance_type="ml.c5.xlarge")
    client = clary_sandbox.client("sagemaker")
    made = make_processing_request(clary_sandbox, "tidy")
    made["AppSpecification"]["ContainerEntrypoint"] = ["python3", "-c", "pass"]
    made["ProcessingResources"] = {
        "ClusterConfig": {"InstancePreferences": WANTED, "InstanceCount": 1, "VolumeSizeInGB": 1}
    }
    client.create_processing_job(**made)

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.describe_processing_job(ProcessingJobName="tidy")
        return found if found["ProcessingJobStatus"] != "InProgress" else None

    job = until(look, "the end of tidy")
    assert job["ProcessingJobStatus"] == "Completed", job
    assert job["ProcessingResources"]["ClusterConfig"]["SelectedInstanceType"] == "ml.m5.xlarge"


@pytest.mark.parametrize(
    ("resources", "others", "words"),
    [
        ({"InstanceType": "ml.m5.large", "InstancePreferences": WANTED, "InstanceCount": 1}, {}, "both InstanceType"),
        ({"InstancePreferences": WANTED}, {}, "InstanceCount is missing"),
        ({"InstancePreferences": [{**WANTED[0], "InstanceCount": 1}, WANTED[1]]}, {}, "InstanceCount is missing"),
        ({"InstancePreferences": [{**WANTED[0], "InstanceCount": 1}], "InstanceCount": 1}, {}, "beside the counts"),
        ({"InstancePreferences": [WANTED[0], WANTED[0]], "InstanceCount": 1}, {}, "repeats the InstanceType"),
        ({"InstancePreferences": WANTED, "InstanceCount": 1, "InstancePlacementConfig": {}}, {}, "InstancePlacement"),
        ({"InstancePreferences": WANTED, "InstanceCount": 1, "SelectedInstanceType": "ml.m5.large"}, {}, "to say"),
        (
            {"InstancePreferences": WANTED, "InstanceCount": 1},
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9},
            },
            "EnableManagedSpotTraining cannot",
        ),
        (
            {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeKmsKeyId": "alias/mine"},
            {},
            "has NVMe disks",
        ),
    ],
)
def test_what_excludes_what(idle: Sandbox, resources: dict[str, Any], others: dict[str, Any], words: str) -> None:
    made = make_training_request(
        idle, f"no-{time.time_ns()}", ResourceConfig={"VolumeSizeInGB": 1, **resources}, **others
    )
    with pytest.raises(ClientError, match=words) as caught:
        idle.client("sagemaker").create_training_job(**made)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
