"""Settings and code as a whole request: only what was set, valid against the loaded model; names of jobs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.errors import ConfigError, ValidationError
from clary.ids import new_id
from clary.sagemaker.requests import JobCode, job_name, training_request
from clary.sagemaker.settings_model import Channel, JobSettings
from clary.sagemaker.validation import validate
from sagemaker_requests import IMAGE, ROLE

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
CODE = JobCode(image=IMAGE, output_s3_uri="s3://bucket/runs/output")


def made(settings: JobSettings | None = None, code: JobCode = CODE) -> dict[str, Any]:
    return training_request("digits-1", settings or JobSettings(execution_role=ROLE), code)


def test_the_smallest_request_holds_what_was_set_and_no_more() -> None:
    request = made()
    assert request == {
        "TrainingJobName": "digits-1",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/runs/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "ProfilerConfig": {"DisableProfiler": True},
    }
    assert validate("CreateTrainingJob", request) == []


def test_everything_set_reaches_its_place() -> None:
    settings = JobSettings(
        instance_type=("ml.p3.2xlarge",),
        instance_count=2,
        volume_size_in_gb=50,
        max_runtime_in_seconds=600,
        execution_role=ROLE,
        tags={"team": "vision"},
        use_spot=True,
        max_wait_in_seconds=900,
        max_pending_time_in_seconds=7200,
        checkpoint_s3_uri="s3://bucket/checkpoints",
        checkpoint_local_path="/opt/ml/kept",
        input_data={
            "train": Channel(uri="s3://bucket/train/", mode="FastFile", content_type="text/csv"),
            "listed": Channel(
                uri="s3://bucket/list.json",
                data_type="AugmentedManifestFile",
                attribute_names=("image",),
                distribution="ShardedByS3Key",
                compression="Gzip",
            ),
        },
        input_mode="Pipe",
        output_data="s3://bucket/models",
        registry_access="Vpc",
        registry_credentials_lambda="arn:aws:lambda:eu-west-1:123456789012:function:login",
        enable_infra_check=True,
        subnets=("subnet-1",),
        security_group_ids=("sg-1",),
        enable_network_isolation=True,
        encrypt_inter_container_traffic=True,
        volume_kms_key="alias/volume",
        output_kms_key="alias/output",
        environment={"A": "1"},
        metric_definitions={"accuracy": "accuracy=([0-9.]+)"},
        max_retry_attempts=3,
        enable_remote_debug=True,
        request={"SessionChainingConfig": {"EnableSessionTagChaining": True}, "ProfilerConfig": None},
    )
    code = JobCode(
        image=IMAGE,
        output_s3_uri="s3://bucket/output",
        entrypoint=("python3", "/opt/ml/input/data/runtime/start.py"),
        arguments=("--quiet",),
        channels=(("code", "s3://bucket/code/abc.tar.gz"), ("runtime", "s3://bucket/runtime/def/")),
        hyperparameters={"depth": "3"},
        environment={"CLARY_RUN": "s3://bucket/runs/x", "CLARY_ATTEMPT": "1"},
    )
    request = made(settings, code)
    assert validate("CreateTrainingJob", request) == []
    assert request["AlgorithmSpecification"] == {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python3", "/opt/ml/input/data/runtime/start.py"],
        "ContainerArguments": ["--quiet"],
        "MetricDefinitions": [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}],
        "TrainingImageConfig": {
            "TrainingRepositoryAccessMode": "Vpc",
            "TrainingRepositoryAuthConfig": {
                "TrainingRepositoryCredentialsProviderArn": "arn:aws:lambda:eu-west-1:123456789012:function:login"
            },
        },
    }
    assert request["HyperParameters"] == {"depth": "3"}
    assert request["Environment"] == {"A": "1", "CLARY_RUN": "s3://bucket/runs/x", "CLARY_ATTEMPT": "1"}
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["code", "runtime", "train", "listed"]
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"] == {
        "S3DataType": "S3Prefix",
        "S3Uri": "s3://bucket/code/abc.tar.gz",
        "S3DataDistributionType": "FullyReplicated",
    }
    assert request["InputDataConfig"][2:] == [
        {
            "ChannelName": "train",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": "s3://bucket/train/",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
            "InputMode": "FastFile",
            "ContentType": "text/csv",
        },
        {
            "ChannelName": "listed",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "AugmentedManifestFile",
                    "S3Uri": "s3://bucket/list.json",
                    "S3DataDistributionType": "ShardedByS3Key",
                    "AttributeNames": ["image"],
                }
            },
            "InputMode": "Pipe",
            "CompressionType": "Gzip",
        },
    ]
    assert request["OutputDataConfig"] == {"S3OutputPath": "s3://bucket/models", "KmsKeyId": "alias/output"}
    assert request["ResourceConfig"]["VolumeKmsKeyId"] == "alias/volume"
    assert request["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 600,
        "MaxWaitTimeInSeconds": 900,
        "MaxPendingTimeInSeconds": 7200,
    }
    assert request["VpcConfig"] == {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    assert request["CheckpointConfig"] == {"S3Uri": "s3://bucket/checkpoints", "LocalPath": "/opt/ml/kept"}
    assert request["RetryStrategy"] == {"MaximumRetryAttempts": 3}
    assert request["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    assert request["Tags"] == [{"Key": "team", "Value": "vision"}]
    assert request["InfraCheckConfig"] == {"EnableInfraCheck": True}
    assert request["SessionChainingConfig"] == {"EnableSessionTagChaining": True}
    assert "ProfilerConfig" not in request
    for flag in ("EnableManagedSpotTraining", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption"):
        assert request[flag] is True


def test_keep_alive() -> None:
    request = made(JobSettings(execution_role=ROLE, keep_alive_period_in_seconds=600))
    assert request["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert validate("CreateTrainingJob", request) == []


def test_several_types_are_preferences_in_their_order() -> None:
    request = made(JobSettings(execution_role=ROLE, instance_type=("ml.g5.xlarge", "ml.m5.xlarge"), instance_count=2))
    assert request["ResourceConfig"] == {
        "InstancePreferences": [{"InstanceType": "ml.g5.xlarge"}, {"InstanceType": "ml.m5.xlarge"}],
        "InstanceCount": 2,
        "VolumeSizeInGB": 30,
    }
    assert validate("CreateTrainingJob", request) == []


def test_a_training_plan() -> None:
    plan = "arn:aws:sagemaker:eu-west-1:123456789012:training-plan/spring"
    request = made(JobSettings(execution_role=ROLE, instance_type=("ml.p5.48xlarge",), training_plan=plan))
    assert request["ResourceConfig"]["TrainingPlanArn"] == plan
    assert validate("CreateTrainingJob", request) == []


def test_a_spot_job_waits_an_hour_unless_told_otherwise() -> None:
    settings = JobSettings(execution_role=ROLE, use_spot=True, max_runtime_in_seconds=100)
    assert made(settings)["StoppingCondition"] == {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 3700}


def test_half_a_vpc_is_sent_so_that_validation_can_say_so() -> None:
    request = made(JobSettings(execution_role=ROLE, subnets=("subnet-1",)))
    assert [finding.path for finding in validate("CreateTrainingJob", request)] == ["VpcConfig.SecurityGroupIds"]


def test_without_a_role_there_is_no_job() -> None:
    with pytest.raises(ConfigError) as caught:
        made(JobSettings())
    assert (caught.value.code, caught.value.field) == ("sagemaker.no_role", "execution_role")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"environment": {"CLARY_SOMETHING": "x"}}, "environment.CLARY_SOMETHING"),
        ({"request": {"TrainingJobName": "mine"}}, "request.TrainingJobName"),
        ({"request": {"TrainingJobName": None}}, "request.TrainingJobName"),
        ({"request": {"Environment": {"CLARY_RUN": "x"}}}, "request.Environment.CLARY_RUN"),
        ({"request": {"Environment": None}}, "request.Environment.CLARY_RUN"),
        ({"request": {"Environment": "x"}}, "request.Environment.CLARY_RUN"),
        ({"request": {"InputDataConfig": []}}, "request.InputDataConfig"),
        ({"request": {"InputDataConfig": None}}, "request.InputDataConfig"),
    ],
)
def test_what_clary_needs_cannot_be_changed(settings: dict[str, Any], field: str) -> None:
    code = JobCode(
        image=IMAGE, output_s3_uri="s3://b/o", environment={"CLARY_RUN": "1"}, channels=(("code", "s3://b/c"),)
    )
    with pytest.raises(ValidationError) as caught:
        made(JobSettings(execution_role=ROLE, **settings), code)
    assert (caught.value.code, caught.value.field) == ("sagemaker.reserved_setting", field)


@pytest.mark.parametrize(
    ("flow", "name"),
    [
        ("digits", "digits-01arz3ndektsv4rrffq69g5fav-1"),
        ("Train Größe_v2!", "train-grosse-v2-01arz3ndektsv4rrffq69g5fav-1"),
        ("日本", "01arz3ndektsv4rrffq69g5fav-1"),
        ("--", "01arz3ndektsv4rrffq69g5fav-1"),
        ("x" * 100, "x" * 34 + "-01arz3ndektsv4rrffq69g5fav-1"),
        ("x" * 33 + "_y", "x" * 33 + "-01arz3ndektsv4rrffq69g5fav-1"),
    ],
)
def test_names_of_jobs(flow: str, name: str) -> None:
    assert job_name(flow, RUN, 1) == name
    assert len(name) <= 63


@given(flow=st.text(max_size=200), attempt=st.integers(1, 10**6))
def test_every_name_is_one_that_sagemaker_takes(flow: str, attempt: int) -> None:
    run = new_id()
    name = job_name(flow, run, attempt)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)
    assert name == job_name(flow, run, attempt)
    assert name.endswith(f"{run.lower()}-{attempt}")


@pytest.mark.parametrize(("run", "attempt"), [("not-an-id", 1), (RUN.lower(), 1), (RUN, 0)])
def test_a_name_needs_a_run_and_an_attempt(run: str, attempt: int) -> None:
    with pytest.raises(ValueError, match="no run and attempt"):
        job_name("digits", run, attempt)
