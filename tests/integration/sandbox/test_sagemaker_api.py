"""The SageMaker API as unmodified boto3 sees it."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from clary.sandbox.operations.shapes import projected
from integration.sandbox.conftest import make_processing_request, make_training_request
from patience import until

if TYPE_CHECKING:
    from clary.testing import Sandbox

_numbers = itertools.count(1)


def fresh(prefix: str = "job") -> str:
    return f"{prefix}-{time.time_ns()}-{next(_numbers)}"


@pytest.fixture(scope="module")
def sagemaker(idle: Sandbox) -> Any:
    return idle.client("sagemaker")


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_training_job_is_described_in_the_shape_of_the_model_and_without_tags(idle: Sandbox, sagemaker: Any) -> None:
    name = fresh()
    made = sagemaker.create_training_job(
        **make_training_request(
            idle,
            name,
            Tags=[{"Key": "team", "Value": "a"}],
            Environment={"A": "b"},
            HyperParameters={"depth": "3"},
            EnableManagedSpotTraining=True,
            StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90},
        )
    )
    assert made["TrainingJobArn"] == f"arn:aws:sagemaker:us-east-1:{idle.account}:training-job/{name}"
    shown = sagemaker.describe_training_job(TrainingJobName=name)
    del shown["ResponseMetadata"]
    assert "Tags" not in shown
    assert projected("DescribeTrainingJob", shown) == shown
    assert shown["TrainingJobStatus"] == "InProgress"
    assert [entry["Status"] for entry in shown["SecondaryStatusTransitions"]] == ["Starting", "Training"]
    assert shown["SecondaryStatusTransitions"][0]["EndTime"] <= shown["LastModifiedTime"]
    assert shown["Environment"] == {"A": "b"}
    assert shown["EnableManagedSpotTraining"] is True
    assert sagemaker.list_tags(ResourceArn=made["TrainingJobArn"])["Tags"] == [{"Key": "team", "Value": "a"}]


def test_raw_answers_have_no_member_outside_the_model(idle: Sandbox, sagemaker: Any) -> None:
    raw: list[bytes] = []
    sagemaker.meta.events.register("after-call.sagemaker", lambda http_response, **_: raw.append(http_response.content))
    name = fresh()
    sagemaker.create_training_job(**make_training_request(idle, name))
    calls = {
        "CreateTrainingJob": None,
        "DescribeTrainingJob": lambda: sagemaker.describe_training_job(TrainingJobName=name),
        "ListTrainingJobs": sagemaker.list_training_jobs,
        "ListProcessingJobs": sagemaker.list_processing_jobs,
    }
    for operation, call in calls.items():
        if call is not None:
            call()
        document = json.loads(raw[-1])
        assert projected(operation, document) == document


def test_a_name_is_used_once(idle: Sandbox, sagemaker: Any) -> None:
    request = make_training_request(idle, fresh())
    arn = sagemaker.create_training_job(**request)["TrainingJobArn"]
    code, message = refusal(sagemaker.create_training_job, **request)
    assert code == "ResourceInUse"
    assert arn in message
    processing = make_processing_request(idle, request["TrainingJobName"])
    assert sagemaker.create_processing_job(**processing)["ProcessingJobArn"].endswith(request["TrainingJobName"])


def test_unknown_jobs_are_validation_errors(sagemaker: Any) -> None:
    expected = ("ValidationException", "Requested resource not found.")
    assert refusal(sagemaker.describe_training_job, TrainingJobName="nobody") == expected
    assert refusal(sagemaker.stop_processing_job, ProcessingJobName="nobody") == expected


def test_limits_are_refused_in_the_services_words(idle: Sandbox, sagemaker: Any) -> None:
    code, message = refusal(sagemaker.create_training_job, **make_training_request(idle, "under_score"))
    assert code == "ValidationException"
    assert message.startswith("1 validation error detected: Value 'under_score' at 'trainingJobName'")
    wrong = make_training_request(idle, fresh(), Environment={"A": "x" * 513})
    assert refusal(sagemaker.create_training_job, **wrong)[0] == "ValidationException"


def test_stopping_twice_tells_the_status(idle: Sandbox, sagemaker: Any) -> None:
    name = fresh()
    sagemaker.create_training_job(**make_training_request(idle, name))
    sagemaker.stop_training_job(TrainingJobName=name)
    assert sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Stopped"
    code, message = refusal(sagemaker.stop_training_job, TrainingJobName=name)
    assert code == "ValidationException"
    assert message == "The request was rejected because the training job is in status Stopped."


def test_delete_frees_the_name_of_a_finished_job(idle: Sandbox, sagemaker: Any) -> None:
    request = make_training_request(idle, fresh())
    name = request["TrainingJobName"]
    sagemaker.create_training_job(**request)
    assert refusal(sagemaker.delete_training_job, TrainingJobName=name)[0] == "ResourceInUse"
    sagemaker.stop_training_job(TrainingJobName=name)
    sagemaker.delete_training_job(TrainingJobName=name)
    assert refusal(sagemaker.describe_training_job, TrainingJobName=name)[0] == "ValidationException"
    sagemaker.create_training_job(**request)


def test_remote_debugging_can_be_switched_while_it_runs(idle: Sandbox, sagemaker: Any) -> None:
    name = fresh()
    sagemaker.create_training_job(**make_training_request(idle, name))
    sagemaker.update_training_job(TrainingJobName=name, RemoteDebugConfig={"EnableRemoteDebug": True})
    assert sagemaker.describe_training_job(TrainingJobName=name)["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    keep = {"KeepAlivePeriodInSeconds": 0}
    assert refusal(sagemaker.update_training_job, TrainingJobName=name, ResourceConfig=keep)[0] == "ValidationException"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/nobody"},
            "Could not assume role arn:aws:iam::123456789012:role/nobody",
        ),
        ({"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket-here/x"}}, "no-such-bucket-here"),
    ],
)
def test_role_and_output_bucket_must_exist(idle: Sandbox, sagemaker: Any, changes: dict[str, Any], words: str) -> None:
    code, message = refusal(sagemaker.create_training_job, **make_training_request(idle, fresh(), **changes))
    assert code == "ValidationException"
    assert words in message


def test_the_role_must_trust_sagemaker(idle: Sandbox, sagemaker: Any) -> None:
    iam = idle.client("iam")
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName=fresh("role"), AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    code, message = refusal(sagemaker.create_training_job, **make_training_request(idle, fresh(), RoleArn=role))
    assert code == "ValidationException"
    assert "allows principal 'sagemaker.amazonaws.com' to assume the role" in message


def test_inputs_must_name_objects(idle: Sandbox, sagemaker: Any) -> None:
    uri = f"s3://{idle.bucket}/inputs/{fresh()}/"
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    channels = [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]
    request = make_training_request(idle, fresh(), InputDataConfig=channels)
    assert f'No S3 objects found under S3 URL "{uri}"' in refusal(sagemaker.create_training_job, **request)[1]
    idle.client("s3").put_object(Bucket=idle.bucket, Key=uri.partition(f"{idle.bucket}/")[2] + "a", Body=b"1")
    sagemaker.create_training_job(**request)


def test_lists_are_filtered_before_they_are_cut_into_pages(idle: Sandbox, sagemaker: Any) -> None:
    mark = f"listed{time.time_ns()}"
    names = [f"{mark}-{n:02}" for n in range(25)]
    for name in names:
        sagemaker.create_training_job(**make_training_request(idle, name, Environment={"end": "Completed"}))
    query = {"NameContains": mark, "StatusEquals": "Completed"}
    first = sagemaker.list_training_jobs(**query)
    assert len(first["TrainingJobSummaries"]) == 10
    pages = sagemaker.get_paginator("list_training_jobs").paginate(**query, SortBy="Name", SortOrder="Descending")
    shown = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    assert shown == sorted(names, reverse=True)
    assert sagemaker.list_training_jobs(NameContains=mark, StatusEquals="Failed")["TrainingJobSummaries"] == []
    after = first["TrainingJobSummaries"][4]["CreationTime"]
    later = sagemaker.list_training_jobs(NameContains=mark, CreationTimeAfter=after, MaxResults=100)
    assert len(later["TrainingJobSummaries"]) == 20
    assert refusal(sagemaker.list_training_jobs, NextToken="nonsense")[0] == "ValidationException"


def test_processing_jobs(idle: Sandbox, sagemaker: Any) -> None:
    name = fresh()
    sagemaker.create_processing_job(**make_processing_request(idle, name))
    shown = sagemaker.describe_processing_job(ProcessingJobName=name)
    assert shown["ProcessingJobStatus"] == "InProgress"
    assert shown["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    listed = sagemaker.list_processing_jobs(NameContains=name)["ProcessingJobSummaries"]
    assert [job["ProcessingJobName"] for job in listed] == [name]
    sagemaker.stop_processing_job(ProcessingJobName=name)
    assert sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "Stopped"


def test_tags_can_be_changed(idle: Sandbox, sagemaker: Any) -> None:
    arn = sagemaker.create_training_job(**make_training_request(idle, fresh()))["TrainingJobArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "3"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["b", "c"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "3"}]


def test_quotas_are_enforced_and_can_be_set(idle: Sandbox, sagemaker: Any) -> None:
    gpu = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    request = make_training_request(idle, fresh(), ResourceConfig=gpu)
    code, message = refusal(sagemaker.create_training_job, **request)
    assert code == "ResourceLimitExceeded"
    assert message.startswith(
        "The account-level service limit 'ml.g5.xlarge for training job usage' is 0 Instances, with current utilization"
        " of 0 Instances and a request delta of 1 Instances."
    )
    idle.quotas.set("ml.g5.xlarge for training job usage", 1)
    sagemaker.create_training_job(**request)
    again = make_training_request(idle, fresh(), ResourceConfig=gpu)
    assert "utilization of 1 Instances" in refusal(sagemaker.create_training_job, **again)[1]
    sagemaker.stop_training_job(TrainingJobName=request["TrainingJobName"])
    sagemaker.create_training_job(**again)
    quotas = idle.client("service-quotas")
    pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    listed = {quota["QuotaName"]: quota for page in pages for quota in page["Quotas"]}
    assert listed["ml.g5.xlarge for training job usage"]["Value"] == 1
    code = listed["ml.g5.xlarge for training job usage"]["QuotaCode"]
    assert quotas.get_service_quota(ServiceCode="sagemaker", QuotaCode=code)["Quota"]["Value"] == 1
    assert refusal(quotas.get_service_quota, ServiceCode="sagemaker", QuotaCode="L-0")[0] == "NoSuchResourceException"


def test_other_regions_and_accounts_are_apart(idle: Sandbox, sagemaker: Any) -> None:
    name = fresh()
    sagemaker.create_training_job(**make_training_request(idle, name))
    elsewhere = idle.client("sagemaker", region="eu-west-1")
    assert refusal(elsewhere.describe_training_job, TrainingJobName=name)[0] == "ValidationException"
    arn = elsewhere.create_training_job(**make_training_request(idle, name))["TrainingJobArn"]
    assert arn.startswith("arn:aws:sagemaker:eu-west-1:")


def test_credentials_of_a_role_work_in_the_account_of_the_role(idle: Sandbox) -> None:
    role = "arn:aws:iam::999999999999:role/other"
    given = idle.client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    assert idle.client("sts", **keys).get_caller_identity()["Account"] == "999999999999"
    statement = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    own = idle.client("iam", **keys).create_role(RoleName="own", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    theirs = idle.client("sagemaker", **keys)
    name = fresh()
    arn = theirs.create_training_job(**make_training_request(idle, name, RoleArn=own))["TrainingJobArn"]
    assert arn == f"arn:aws:sagemaker:us-east-1:999999999999:training-job/{name}"
    assert refusal(idle.client("sagemaker").describe_training_job, TrainingJobName=name)[0] == "ValidationException"


def test_credentials_that_have_expired_are_refused(idle: Sandbox) -> None:
    sts = idle.client("sts")
    # The SDK asks for 15 minutes at least; the sandbox takes seconds, as many as a busy machine needs for two requests.
    sts.meta.events.register("before-call.sts.AssumeRole", lambda params, **_: params["body"].update(DurationSeconds=5))
    given = sts.assume_role(RoleArn=idle.role, RoleSessionName="short")["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    client = idle.client("sagemaker", **keys)
    client.list_tags(ResourceArn=client.create_training_job(**make_training_request(idle, fresh()))["TrainingJobArn"])
    until(lambda: time.time() > given["Expiration"].timestamp() + 1, "the end of the credentials")
    assert refusal(client.list_training_jobs)[0] == "ExpiredTokenException"
    assert refusal(idle.client("s3", **keys).list_buckets)[0] == "ExpiredToken"


def test_what_is_not_offered_is_said(sagemaker: Any) -> None:
    code, message = refusal(sagemaker.list_models)
    assert code == "UnknownOperationException"
    assert message == "The sandbox does not offer ListModels."


def test_rates_are_enforced_by_default(own_idle: Sandbox) -> None:
    from botocore.config import Config

    client = own_idle.client("sagemaker", config=Config(retries={"total_max_attempts": 1}))
    answered = []

    def ask_often() -> None:
        for _ in range(100):  # the first requests of a slow machine may be too slow to be too many
            answered.append(client.list_training_jobs())

    assert refusal(ask_often) == ("ThrottlingException", "Rate exceeded")
    assert len(answered) >= 2
