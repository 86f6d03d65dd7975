"""Rules beyond the model, one case each; and how findings become an error."""

from __future__ import annotations

from typing import Any

import pytest

from clary.errors import ValidationError
from clary.sagemaker.findings import Severity, errors_of, service_message
from clary.sagemaker.limits import service_model
from clary.sagemaker.rules import RULES
from clary.sagemaker.validation import check, validate
from sagemaker_requests import drop, good_request, put

TRAINING, PROCESSING = "CreateTrainingJob", "CreateProcessingJob"
LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:f"
OUTPUTS = "ProcessingOutputConfig.Outputs"


def changed(operation: str, *changes: tuple[str, Any]) -> dict[str, Any]:
    request = good_request(operation)
    for path, value in changes:
        drop(request, path) if value is ... else put(request, path, value)
    return request


def paths(operation: str, *changes: tuple[str, Any], severity: Severity = Severity.ERROR) -> list[str]:
    found = validate(operation, changed(operation, *changes))
    return [finding.path for finding in found if finding.severity is severity]


@pytest.mark.parametrize("operation", [TRAINING, PROCESSING])
def test_a_good_request_passes_without_a_word(operation: str) -> None:
    assert check(operation, good_request(operation)) == []


def spot_request(*changes: tuple[str, Any]) -> tuple[tuple[str, Any], ...]:
    return (
        ("EnableManagedSpotTraining", True),
        ("CheckpointConfig", {"S3Uri": "s3://bucket/checkpoints"}),
        ("StoppingCondition", {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600}),
        *changes,
    )


def test_a_spot_job_passes() -> None:
    assert validate(TRAINING, changed(TRAINING, *spot_request())) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ((("AlgorithmSpecification", ...),), ["AlgorithmSpecification"]),
        ((("ResourceConfig", ...),), ["ResourceConfig"]),
        ((("StoppingCondition", ...),), ["StoppingCondition"]),
        ((("AlgorithmSpecification.TrainingImage", ...),), ["AlgorithmSpecification.TrainingImage"]),
        ((("AlgorithmSpecification.AlgorithmName", "mine"),), ["AlgorithmSpecification.AlgorithmName"]),
        (
            (("AlgorithmSpecification.TrainingImageConfig", {"TrainingRepositoryAccessMode": "Vpc"}),),
            ["VpcConfig"],
        ),
        (
            (
                (
                    "AlgorithmSpecification.TrainingImageConfig",
                    {
                        "TrainingRepositoryAccessMode": "Platform",
                        "TrainingRepositoryAuthConfig": {"TrainingRepositoryCredentialsProviderArn": LAMBDA},
                    },
                ),
            ),
            ["AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAuthConfig"],
        ),
        ((("ResourceConfig.InstanceType", ...),), ["ResourceConfig.InstanceType"]),
        ((("ResourceConfig.InstanceCount", ...),), ["ResourceConfig.InstanceCount"]),
        ((("ResourceConfig.InstanceCount", 0),), ["ResourceConfig.InstanceCount"]),
        ((("ResourceConfig.VolumeSizeInGB", ...),), ["ResourceConfig.VolumeSizeInGB"]),
        (
            (
                (
                    "ResourceConfig.InstanceGroups",
                    [{"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "InstanceGroupName": "a"}],
                ),
                ("ResourceConfig.KeepAlivePeriodInSeconds", 60),
            ),
            [
                "ResourceConfig.InstanceType",
                "ResourceConfig.InstanceCount",
                "ResourceConfig.KeepAlivePeriodInSeconds",
            ],
        ),
        (
            (("ResourceConfig.InstancePreferences", [{"InstanceType": "ml.m5.xlarge"}]),),
            ["ResourceConfig.InstanceType"],
        ),
        (
            spot_request(
                ("ResourceConfig.InstanceType", ...),
                ("ResourceConfig.InstancePreferences", [{"InstanceType": "ml.m5.xlarge"}]),
            ),
            ["EnableManagedSpotTraining"],
        ),
        (
            spot_request(("StoppingCondition.MaxWaitTimeInSeconds", ...)),
            ["StoppingCondition.MaxWaitTimeInSeconds"],
        ),
        (
            spot_request(("StoppingCondition.MaxWaitTimeInSeconds", 3599)),
            ["StoppingCondition.MaxWaitTimeInSeconds"],
        ),
        ((("StoppingCondition.MaxWaitTimeInSeconds", 7200),), ["StoppingCondition.MaxWaitTimeInSeconds"]),
        (
            spot_request(("ResourceConfig.KeepAlivePeriodInSeconds", 60)),
            ["ResourceConfig.KeepAlivePeriodInSeconds"],
        ),
        ((("StoppingCondition.MaxRuntimeInSeconds", 28 * 86400 + 1),), ["StoppingCondition.MaxRuntimeInSeconds"]),
        ((("InputDataConfig", good_request()["InputDataConfig"] * 2),), ["InputDataConfig[1].ChannelName"]),
        ((("InputDataConfig.0.DataSource", {}),), ["InputDataConfig[0].DataSource"]),
        ((("VpcConfig", {"SecurityGroupIds": ["sg-1"], "Subnets": ["sg-2"]}),), ["VpcConfig.Subnets[0]"]),
        ((("VpcConfig", {"Subnets": ["subnet-1"]}),), ["VpcConfig.SecurityGroupIds"]),
        ((("Tags", [{"Key": "a", "Value": "1"}] * 2),), ["Tags[1].Key"]),
        ((("Tags.0.Key", "aws:x"),), ["Tags[0].Key"]),
    ],
)
def test_rules_of_training_jobs(changes: tuple[tuple[str, Any], ...], found: list[str]) -> None:
    assert paths(TRAINING, *changes) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            (
                ("EnableManagedSpotTraining", True),
                ("StoppingCondition.MaxWaitTimeInSeconds", 3600),
            ),
            ["CheckpointConfig"],
        ),
        ((("StoppingCondition.MaxRuntimeInSeconds", ...),), ["StoppingCondition.MaxRuntimeInSeconds"]),
        ((("AlgorithmSpecification.TrainingImage", "python:3.11"),), ["AlgorithmSpecification.TrainingImage"]),
        (
            (
                ("InputDataConfig.0.InputMode", "FastFile"),
                ("InputDataConfig.0.DataSource.S3DataSource.S3Uri", "s3://bucket/code"),
            ),
            ["InputDataConfig[0].DataSource.S3DataSource.S3Uri"],
        ),
    ],
)
def test_what_is_allowed_but_doubtful_is_a_warning(changes: tuple[tuple[str, Any], ...], found: list[str]) -> None:
    assert paths(TRAINING, *changes) == []
    assert [finding.path for finding in check(TRAINING, changed(TRAINING, *changes))] == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            (("ProcessingInputs", good_request(PROCESSING)["ProcessingInputs"] * 2),),
            ["ProcessingInputs[1].InputName"],
        ),
        (
            ((OUTPUTS, good_request(PROCESSING)["ProcessingOutputConfig"]["Outputs"] * 2),),
            [f"{OUTPUTS}[1].OutputName"],
        ),
        (
            (("ProcessingInputs.0.S3Input.LocalPath", "/opt/ml/processing"),),
            ["ProcessingInputs[0].S3Input.LocalPath"],
        ),
        (
            (("ProcessingInputs.0.S3Input.LocalPath", "/opt/ml/processing/../model"),),
            ["ProcessingInputs[0].S3Input.LocalPath"],
        ),
        ((("ProcessingInputs.0.S3Input.LocalPath", ...),), ["ProcessingInputs[0].S3Input.LocalPath"]),
        ((("ProcessingInputs.0.S3Input", ...),), ["ProcessingInputs[0]"]),
        (((f"{OUTPUTS}.0.S3Output.LocalPath", "/tmp/x"),), [f"{OUTPUTS}[0].S3Output.LocalPath"]),
        (
            ((f"{OUTPUTS}.0.FeatureStoreOutput", {"FeatureGroupName": "group"}),),
            [f"{OUTPUTS}[0]"],
        ),
        (
            (("ProcessingResources.ClusterConfig.InstanceType", ...),),
            ["ProcessingResources.ClusterConfig.InstanceType"],
        ),
        (
            (
                (
                    "ProcessingResources.ClusterConfig.InstancePreferences",
                    [{"InstanceType": "ml.m5.large"}],
                ),
            ),
            ["ProcessingResources.ClusterConfig.InstanceType"],
        ),
        ((("Environment.A", "x" * 257),), ["Environment.A"]),
        ((("StoppingCondition.MaxRuntimeInSeconds", 777601),), ["StoppingCondition.MaxRuntimeInSeconds"]),
        (
            (("NetworkConfig.VpcConfig", {"SecurityGroupIds": ["subnet-1"], "Subnets": ["subnet-1"]}),),
            ["NetworkConfig.VpcConfig.SecurityGroupIds[0]"],
        ),
    ],
)
def test_rules_of_processing_jobs(changes: tuple[tuple[str, Any], ...], found: list[str]) -> None:
    assert paths(PROCESSING, *changes) == found


def test_more_than_ten_inputs_are_refused_before_the_job_runs() -> None:
    one = good_request(PROCESSING)["ProcessingInputs"][0]
    entries = [one | {"InputName": f"in-{number}"} for number in range(11)]
    assert paths(PROCESSING, ("ProcessingInputs", entries)) == ["ProcessingInputs"]


def test_an_application_that_moves_its_data_itself_needs_no_folder() -> None:
    changes = (("ProcessingInputs.0.S3Input.LocalPath", ...), ("ProcessingInputs.0.AppManaged", True))
    assert validate(PROCESSING, changed(PROCESSING, *changes)) == []


def test_a_private_registry_in_the_vpc_is_no_doubt() -> None:
    changes = (
        ("AlgorithmSpecification.TrainingImage", "registry.example/app:1"),
        ("AlgorithmSpecification.TrainingImageConfig", {"TrainingRepositoryAccessMode": "Vpc"}),
        ("VpcConfig", {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}),
    )
    assert validate(TRAINING, changed(TRAINING, *changes)) == []


@pytest.mark.parametrize("value", [None, "text", 3, [], ["x"], {}, {"x": None}, [{}], [None]])
@pytest.mark.parametrize("operation", [TRAINING, PROCESSING])
def test_no_rule_stumbles_over_a_form_it_did_not_expect(operation: str, value: Any) -> None:
    model = service_model()
    members = model["shapes"][model["operations"][operation]["input"]["shape"]]["members"]
    assert members
    for member in members:
        request = good_request(operation) | {member: value}
        for rule in RULES[operation]:
            list(rule(request))


def test_an_operation_without_rules_has_its_model_only() -> None:
    assert validate("StopTrainingJob", {"TrainingJobName": "a"}) == []
    assert [finding.path for finding in validate("StopTrainingJob", {})] == ["TrainingJobName"]


def test_an_operation_that_is_not_in_the_model_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        validate("MakeTea", {})


def test_one_error_is_raised_in_its_own_words() -> None:
    with pytest.raises(ValidationError) as caught:
        check(TRAINING, changed(TRAINING, ("TrainingJobName", "a_b")))
    error = caught.value
    assert (error.code, error.field) == ("sagemaker.invalid_request", "TrainingJobName")
    assert "underscore" in error.next_step


def test_several_errors_are_raised_together() -> None:
    changes = (("TrainingJobName", "a_b"), ("ResourceConfig", ...), ("Environment.A", "hunter2" * 99))
    with pytest.raises(ValidationError) as caught:
        check(TRAINING, changed(TRAINING, *changes))
    error = caught.value
    assert [finding["path"] for finding in error.details["findings"]] == [
        "TrainingJobName",
        "Environment.A",
        "ResourceConfig",
    ]
    assert error.field == "TrainingJobName"
    assert all(path in error.summary for path in ("TrainingJobName", "Environment.A", "ResourceConfig"))
    assert "hunter2" not in str(error.to_dict())


def test_the_service_tells_its_rules_only_when_the_model_is_met() -> None:
    rule = changed(TRAINING, ("ResourceConfig", ...), ("StoppingCondition", ...))
    assert service_message(validate(TRAINING, rule)).startswith("ResourceConfig is missing")
    assert service_message(validate(TRAINING, put(rule, "TrainingJobName", "a_b"))).startswith("1 validation error")


def test_errors_of_leaves_warnings_out() -> None:
    found = validate(TRAINING, changed(TRAINING, ("ResourceConfig.InstanceType", "ml.m99.xlarge")))
    assert len(found) == 1
    assert errors_of(found) == []
