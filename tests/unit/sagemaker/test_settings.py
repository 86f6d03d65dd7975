"""Settings of a job: their layers, their other names, what is refused and how that is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from clary.errors import ValidationError
from clary.sagemaker import limits
from clary.sagemaker.findings import Severity
from clary.sagemaker.settings import DEFAULT, JobSettings, Resolved, Use, resolve, validate
from clary.sagemaker.settings_model import DEFAULT_MAX_RUNTIME, NAMES, Channel
from sagemaker_requests import ROLE

PLAN = "arn:aws:sagemaker:eu-west-1:123456789012:training-plan/spring"
LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:login"
VPC = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}


def of(*layers: Mapping[str, Any], use: Use = Use.ANY) -> Resolved:
    return resolve([(f"layer {number}", layer) for number, layer in enumerate(layers, start=1)], use=use)


def refused(values: Mapping[str, Any], use: Use = Use.FLOW) -> dict[str, str]:
    """Return path and message of every error about settings that stand alone."""
    found = validate(values, at="", use=use, whole=True)
    return {one.path: one.message for one in found if one.severity is Severity.ERROR}


def doubted(values: Mapping[str, Any], use: Use = Use.FLOW) -> dict[str, str]:
    found = validate(values, at="", use=use, whole=True)
    return {one.path: one.message for one in found if one.severity is Severity.WARNING}


# -- layers


def test_the_defaults_are_small_and_cheap() -> None:
    resolved = of()
    settings = resolved.settings
    assert settings == JobSettings()
    assert (settings.instance_type, settings.instance_count, settings.volume_size_in_gb) == (("ml.m5.xlarge",), 1, 30)
    assert settings.max_runtime_in_seconds == DEFAULT_MAX_RUNTIME == 3600
    assert resolved.origins == dict.fromkeys(NAMES, DEFAULT)
    assert validate({}, use=Use.FLOW, whole=True) == []


def test_only_what_was_set_overrides() -> None:
    resolved = of({"instance_type": "ml.c5.xlarge", "use_spot": True}, {"volume_size_in_gb": 100})
    assert resolved.settings.instance_type == ("ml.c5.xlarge",)
    assert resolved.settings.volume_size_in_gb == 100
    assert resolved.settings.use_spot is True


def test_objects_are_merged_and_lists_replaced() -> None:
    resolved = of(
        {"environment": {"A": "1", "B": "2"}, "subnets": ["subnet-1", "subnet-2"], "security_group_ids": ["sg-1"]},
        {"environment": {"B": "3"}, "subnets": ["subnet-3"], "request": {"Tags": [], "InfraCheckConfig": {}}},
        {"request": {"InfraCheckConfig": {"EnableInfraCheck": True}}},
    )
    assert resolved.settings.environment == {"A": "1", "B": "3"}
    assert resolved.settings.subnets == ("subnet-3",)
    assert resolved.settings.request == {"Tags": [], "InfraCheckConfig": {"EnableInfraCheck": True}}
    assert resolved.origins["environment.A"] == "layer 1"
    assert resolved.origins["environment.B"] == "layer 2"
    assert resolved.origins["subnets"] == "layer 2"
    assert resolved.origins["security_group_ids"] == "layer 1"
    assert resolved.origins["tags"] == DEFAULT


def test_a_channel_keeps_its_mode_when_only_its_address_changes() -> None:
    resolved = of(
        {"input_data": {"train": {"uri": "s3://bucket/a/", "mode": "FastFile"}}},
        {"input_data": {"train": "s3://bucket/b/", "test": "s3://bucket/c"}},
    )
    assert resolved.settings.input_data == {
        "train": Channel(uri="s3://bucket/b/", mode="FastFile"),
        "test": Channel(uri="s3://bucket/c"),
    }
    assert resolved.origins["input_data.train.mode"] == "layer 1"
    assert resolved.origins["input_data.train.uri"] == "layer 2"


def test_none_means_the_default() -> None:
    resolved = of(
        {"instance_type": "ml.c5.xlarge", "environment": {"A": "1", "B": "2"}, "tags": {"a": "1"}},
        {"instance_type": None, "environment": {"A": None}, "keep_alive_period_in_seconds": None, "tags": None},
        {"tags": {"b": "2"}},
    )
    assert resolved.settings.instance_type == ("ml.m5.xlarge",)
    assert resolved.settings.environment == {"B": "2"}
    assert resolved.settings.tags == {"b": "2"}
    assert (resolved.origins["instance_type"], resolved.origins["tags.b"]) == (DEFAULT, "layer 3")
    assert not resolved.origins.keys() & {"environment.A", "tags.a", "tags"}
    assert resolved.is_default("instance_type")
    assert not resolved.is_default("tags")


def test_none_inside_the_request_takes_a_member_out() -> None:
    resolved = of({"request": {"ProfilerConfig": {"DisableProfiler": True}}}, {"request": {"ProfilerConfig": None}})
    assert resolved.settings.request == {"ProfilerConfig": None}


def test_layers_are_left_as_they_are() -> None:
    layer: dict[str, Any] = {"environment": {"A": "1"}, "estimator_args": {"env": {"C": "3"}}}
    with pytest.raises(ValidationError, match="given twice"):
        of(layer, {"environment": {"B": "2"}})
    assert layer == {"environment": {"A": "1"}, "estimator_args": {"env": {"C": "3"}}}


def test_an_error_names_the_layer_that_set_the_value() -> None:
    bad = {"subnets": ["sg-1"], "security_group_ids": ["sg-1"]}
    with pytest.raises(ValidationError) as caught:
        resolve([("the stack gpu", {"instance_count": 0}), ("the flow digits", {"tags": {"aws:x": "1"}, **bad})])
    error = caught.value
    assert (error.code, error.field) == ("settings.invalid", "settings.instance_count")
    assert "settings.instance_count is 0; it must be at least 1. (Set by the stack gpu.)" in error.summary
    assert "settings.tags.aws:x begins with aws:" in error.summary
    assert error.summary.count("(Set by the flow digits.)") == 2
    assert {one["path"] for one in error.details["findings"]} == {
        "settings.instance_count",
        "settings.tags.aws:x",
        "settings.subnets[0]",
    }


def test_plain_data_and_back() -> None:
    settings = of({"instance_type": "ml.c5.xlarge", "input_data": {"train": "s3://bucket/a"}, **VPC}).settings
    plain = settings.to_dict()
    assert (plain["instance_type"], plain["subnets"]) == ("ml.c5.xlarge", ["subnet-1"])
    assert of(json.loads(json.dumps(plain))).settings == settings


def test_numbers_may_stand_where_text_is_wanted() -> None:
    settings = of({"environment": {"DEPTH": 3}, "instance_count": "2", "tags": {"cost-centre": 12}}).settings
    assert (settings.environment, settings.instance_count) == ({"DEPTH": "3"}, 2)
    assert settings.tags == {"cost-centre": "12"}


# -- names


@pytest.mark.parametrize(
    ("values", "name", "value"),
    [
        ({"instance-type": "ml.c5.xlarge"}, "instance_type", ("ml.c5.xlarge",)),
        ({"instance_type": ["ml.g5.xlarge", "ml.m5.xlarge"]}, "instance_type", ("ml.g5.xlarge", "ml.m5.xlarge")),
        ({"processor_role": ROLE}, "execution_role", ROLE),
        ({"processor_tags": {"a": "1"}}, "tags", {"a": "1"}),
        ({"tags": [{"Key": "a", "Value": "1"}]}, "tags", {"a": "1"}),
        ({"tags": []}, "tags", {}),
        ({"spot": True}, "use_spot", True),
        ({"use_spot_instances": "true"}, "use_spot", True),
        ({"max-wait": 7200, "spot": True}, "max_wait_in_seconds", 7200),
        ({"input_data_s3_uri": "s3://bucket/x"}, "input_data", {"training": Channel(uri="s3://bucket/x")}),
        ({"input_data_s3_uri": {"a": "s3://bucket/x"}}, "input_data", {"a": Channel(uri="s3://bucket/x")}),
        ({"input-data": {"a": {"uri": "s3://bucket/x", "content-type": "a/b"}}}, "input_data",
         {"a": Channel(uri="s3://bucket/x", content_type="a/b")}),
        ({"input_data_s3_mode": "FastFile"}, "input_mode", "FastFile"),
        ({"output_data_s3_uri": "s3://bucket/x"}, "output_data", "s3://bucket/x"),
        ({"bucket": "my-bucket"}, "output_data", "s3://my-bucket/"),
        ({"estimator_args": {"use_spot_instances": True}}, "use_spot", True),
        ({"estimator_args": {"max_wait": 7200, "use-spot-instances": True}}, "max_wait_in_seconds", 7200),
        ({"estimator_args": {"env": {"A": "1"}}}, "environment", {"A": "1"}),
        ({"estimator_args": {"train_instance_count": 2}}, "instance_count", 2),
        ({"estimator_args": {"role": ROLE}}, "execution_role", ROLE),
        ({"estimator_args": {"output_path": "s3://bucket/x"}}, "output_data", "s3://bucket/x"),
        ({"estimator_args": {"keep_alive_period_in_seconds": 60}}, "keep_alive_period_in_seconds", 60),
        ({"estimator_args": {"max_retry_attempts": 3}}, "max_retry_attempts", 3),
        ({"estimator_args": {"metric_definitions": [{"Name": "m", "Regex": "m=(.)"}]}}, "metric_definitions",
         {"m": "m=(.)"}),
        ({"estimator_args": VPC}, "subnets", ("subnet-1",)),
        ({"processor_args": {"network_config": VPC}}, "security_group_ids", ("sg-1",)),
        ({"processor_args": {"network_config": {"encrypt_inter_container_traffic": True}}},
         "encrypt_inter_container_traffic", True),
        ({"processor_args": {"volume_kms_key": "alias/a"}}, "volume_kms_key", "alias/a"),
        ({"processor_args": None, "use_training_step": True, "output_data_s3_mode": "EndOfJob"}, "use_spot", False),
    ],
)  # fmt: skip
def test_other_names(values: dict[str, Any], name: str, value: Any) -> None:
    assert getattr(of(values).settings, name) == value


@pytest.mark.parametrize(
    ("values", "path", "step"),
    [
        ({"instnce_type": "x"}, "instnce_type", "Did you mean instance_type?"),
        ({"colour": "blue"}, "colour", "job-settings.md"),
        ({3: "x"}, "3", "job-settings.md"),
        ({"estimator_args": {"instanse_count": 2}}, "estimator_args.instanse_count", "Did you mean instance_count?"),
        ({"estimator_args": {"zzz": 2}}, "estimator_args.zzz", "goes into request"),
        ({"estimator_args": {"hyperparameters": {}}}, "estimator_args.hyperparameters", "inputs to the flow"),
        ({"estimator_args": {"base_job_name": "x"}}, "estimator_args.base_job_name", "Use tags"),
        ({"estimator_args": {"rules": []}}, "estimator_args.rules", "request.DebugRuleConfigurations"),
        ({"estimator_args": ["x"]}, "estimator_args", "in place of estimator_args"),
        ({"estimator_args": {"network_config": {"vpc": 1}}}, "estimator_args.network_config.vpc", "security_group_ids"),
        ({"estimator_args": {"network_config": "x"}}, "estimator_args.network_config", "Set subnets"),
        ({"use_training_step": False}, "use_training_step", "Leave use_training_step out"),
        ({"output_data_s3_mode": "Continuous"}, "output_data_s3_mode", "checkpoint_s3_uri"),
        ({"pipeline_tags": {}}, "pipeline_tags", "use tags"),
        ({"aws_secret_access_key": "hunter2"}, "aws_secret_access_key", "never written"),
        ({"spot": True, "use_spot": True}, "use_spot", "Keep one"),
        ({"use-spot": True, "use_spot": True}, "use_spot", "Keep one"),
        ({"spot": True, "estimator_args": {"use_spot_instances": True}}, "estimator_args.use_spot_instances", "Keep"),
    ],
)
def test_names_without_a_place_are_refused(values: dict[Any, Any], path: str, step: str) -> None:
    [finding] = [one for one in validate(values, at="") if one.severity is Severity.ERROR]
    assert finding.path == path
    assert step in finding.next_step
    assert "hunter2" not in str(finding)


# -- types


@pytest.mark.parametrize(
    ("values", "path", "words"),
    [
        ({"instance_count": "many"}, "instance_count", "must be a whole number"),
        ({"instance_count": 1.5}, "instance_count", "must be a whole number"),
        ({"instance_count": True}, "instance_count", "must be a whole number"),
        ({"use_spot": "perhaps"}, "use_spot", "must be true or false"),
        ({"environment": {"A": ["x"]}}, "environment.A", "must be text"),
        ({"environment": {"A": True}}, "environment.A", "must be text"),
        ({"environment": "A=1"}, "environment", "must be an object"),
        ({"subnets": "subnet-1"}, "subnets", "must be a list"),
        ({"subnets": ["subnet-1", {}]}, "subnets[1]", "must be text"),
        ({"instance_type": [1.5, ["x"]]}, "instance_type[1]", "must be text"),
        ({"tags": [{"Key": "a"}]}, "tags", "must be an object"),
        ({"tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}, "tags", "must be an object"),
        ({"input_data": {"a": 3}}, "input_data.a", "must be an s3:// address, or an object with uri"),
        ({"input_data": {"a": {}}}, "input_data.a.uri", "is missing"),
        ({"input_data": {"a": {"uri": "s3://bucket/x", "mod": "File"}}}, "input_data.a.mod", "not a member"),
        ({"input_data": {"a": {"uri": "s3://bucket/x", "mode": "Banana"}}}, "input_data.a.mode", "File or FastFile"),
        ({"input_data_s3_mode": "Banana"}, "input_mode", "File or FastFile or Pipe"),
        ({"registry_access": "vpc"}, "registry_access", "Platform or Vpc"),
        ({"request": []}, "request", "must be an object"),
    ],
)
def test_types(values: dict[str, Any], path: str, words: str) -> None:
    found = refused(values)
    assert list(found) == [path]
    assert words in found[path]


def test_everything_is_said_at_once() -> None:
    found = refused(
        {
            "instnce_type": "x",
            "instance_count": "many",
            "volume_size_in_gb": 0,
            "tags": {"team": ["a"]},
            "environment": {"CLARY_X": "1", "LONG": "x" * 513},
            "max_retry_attempts": 31,
            "estimator_args": {"base_job_name": "x"},
            **VPC,
        }
    )
    assert found.keys() == {
        "instnce_type",
        "instance_count",
        "volume_size_in_gb",
        "tags.team",
        "environment.CLARY_X",
        "environment.LONG",
        "max_retry_attempts",
        "estimator_args.base_job_name",
    }


def test_values_that_may_be_secret_are_not_repeated() -> None:
    values = {
        "environment": {"TOKEN": ["hunter2"], "DEEP": "hunter2" * 100},
        "tags": {"password": "hunter2" * 100},
        "input_data": {"a": {"uri": "s3://bucket/x", "secret_token": "hunter2"}},
    }
    assert "hunter2" not in str([one.to_dict() for one in validate(values)])


# -- limits, and rules among settings


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"instance_count": 0}, "instance_count"),
        ({"volume_size_in_gb": 16385}, "volume_size_in_gb"),
        ({"max_runtime_in_seconds": 0}, "max_runtime_in_seconds"),
        ({"max_runtime_in_seconds": 28 * 86400 + 1}, "max_runtime_in_seconds"),
        ({"keep_alive_period_in_seconds": 21601}, "keep_alive_period_in_seconds"),
        ({"keep_alive_period_in_seconds": -1}, "keep_alive_period_in_seconds"),
        ({"max_pending_time_in_seconds": 60, "instance_type": "ml.p3.2xlarge"}, "max_pending_time_in_seconds"),
        ({"max_retry_attempts": 0}, "max_retry_attempts"),
        ({"instance_type": []}, "instance_type"),
        ({"instance_type": "m5.xlarge"}, "instance_type"),
        ({"instance_type": ["ml.m5.xlarge", "m5.xlarge"]}, "instance_type[1]"),
        ({"instance_type": ["ml.m5.xlarge", "ml.c5.xlarge", "ml.m5.xlarge"]}, "instance_type[2]"),
        ({"instance_type": [f"ml.m5.{n}xlarge" for n in (2, 4, 8, 12, 16, 24)]}, "instance_type"),
        ({"execution_role": "Runner"}, "execution_role"),
        ({"tags": {"aws:x": "1"}}, "tags.aws:x"),
        ({"tags": {"k" * 129: "1"}}, "tags." + "k" * 129),
        ({"tags": {"a": "1" * 257}}, "tags.a"),
        ({"tags": {f"k{n}": "1" for n in range(51)}}, "tags"),
        ({"environment": {"1A": "x"}}, "environment.1A"),
        ({"environment": {"A B": "x"}}, "environment['A B']"),
        ({"environment": {"A": "x" * 513}}, "environment.A"),
        ({"environment": {f"K{n}": "x" for n in range(99)}}, "environment"),
        ({"environment": {"CLARY_RUN": "x"}}, "environment.CLARY_RUN"),
        ({"subnets": ["sg-1"], "security_group_ids": ["sg-1"]}, "subnets[0]"),
        ({"subnets": ["subnet-1"], "security_group_ids": ["sg-1", "subnet-1"]}, "security_group_ids[1]"),
        ({"subnets": ["subnet-1"], "security_group_ids": [f"sg-{n}" for n in range(6)]}, "security_group_ids"),
        ({"volume_kms_key": "a key"}, "volume_kms_key"),
        ({"output_kms_key": "a key"}, "output_kms_key"),
        ({"output_data": "bucket/x"}, "output_data"),
        ({"output_data": "s3://Bucket/x"}, "output_data"),
        ({"checkpoint_s3_uri": "https://bucket/x"}, "checkpoint_s3_uri"),
        ({"checkpoint_s3_uri": "s3://bucket/x", "checkpoint_local_path": "kept"}, "checkpoint_local_path"),
        ({"input_data": {"a": "/tmp/x"}}, "input_data.a.uri"),
        ({"input_data": {"a b": "s3://bucket/x"}}, "input_data.a b"),
        ({"input_data": {"code": "s3://bucket/x"}}, "input_data.code"),
        ({"input_data": {f"c{n}": "s3://bucket/x" for n in range(19)}}, "input_data"),
        ({"input_data": {"a": {"uri": "s3://bucket/x", "content_type": "x" * 257}}}, "input_data.a.content_type"),
        ({"metric_definitions": {"m": "x" * 499 + "()"}}, "metric_definitions.m"),
        ({"metric_definitions": {f"m{n}": "(x)" for n in range(41)}}, "metric_definitions"),
        ({"training_plan": "spring"}, "training_plan"),
        ({"registry_access": "Vpc", "registry_credentials_lambda": "login", **VPC}, "registry_credentials_lambda"),
        ({"request": {"ResourceConfig": {"VolumeSizeInGB": -1}}}, "request.ResourceConfig.VolumeSizeInGB"),
        ({"request": {"StopingCondition": {}}}, "request.StopingCondition"),
        ({"request": {"MlflowConfig": {}}}, "request.MlflowConfig.MlflowResourceArn"),
        ({"request": {"TrainingJobName": "mine"}}, "request.TrainingJobName"),
        ({"request": {"Environment": {"CLARY_ATTEMPT": "7"}}}, "request.Environment.CLARY_ATTEMPT"),
        ({"request": {"InputDataConfig": [{"ChannelName": "a", "DataSource": {"S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": "s3://bucket/x"}}}]}}, "request.InputDataConfig"),
    ],
)  # fmt: skip
def test_limits(values: dict[str, Any], path: str) -> None:
    found = refused(values)
    assert list(found) == [path]
    assert path.partition("[")[0].partition(".")[0] in found[path] or path.startswith("environment")


@pytest.mark.parametrize(
    ("values", "use", "path"),
    [
        ({"use_spot": True, "keep_alive_period_in_seconds": 300}, Use.FLOW, "keep_alive_period_in_seconds"),
        ({"use_spot": True, "training_plan": PLAN}, Use.FLOW, "training_plan"),
        ({"use_spot": True, "instance_type": ["ml.g5.xlarge", "ml.m5.xlarge"]}, Use.FLOW, "use_spot"),
        ({"use_spot": True}, Use.CONTAINER, "checkpoint_s3_uri"),
        ({"training_plan": PLAN, "instance_type": ["ml.g5.xlarge", "ml.m5.xlarge"]}, Use.FLOW, "instance_type"),
        ({"use_spot": True, "max_wait_in_seconds": 3599}, Use.FLOW, "max_wait_in_seconds"),
        ({"max_wait_in_seconds": 7200}, Use.FLOW, "max_wait_in_seconds"),
        ({"enable_network_isolation": True}, Use.FLOW, "enable_network_isolation"),
        ({"subnets": ["subnet-1"]}, Use.FLOW, "security_group_ids"),
        ({"security_group_ids": ["sg-1"]}, Use.FLOW, "subnets"),
        ({"registry_access": "Vpc"}, Use.FLOW, "subnets"),
        ({"registry_credentials_lambda": LAMBDA}, Use.FLOW, "registry_access"),
        (
            {"registry_access": "Platform", "registry_credentials_lambda": LAMBDA},
            Use.FLOW,
            "registry_credentials_lambda",
        ),
        ({"checkpoint_local_path": "/opt/ml/kept"}, Use.FLOW, "checkpoint_s3_uri"),
        ({"volume_kms_key": "alias/a", "instance_type": "ml.g5.xlarge"}, Use.FLOW, "volume_kms_key"),
        ({"volume_kms_key": "alias/a", "instance_type": ["ml.m5.xlarge", "ml.r5d.xlarge"]}, Use.ANY, "volume_kms_key"),
    ],
)
def test_contradictions(values: dict[str, Any], use: Use, path: str) -> None:
    assert list(refused(values, use)) == [path]


@pytest.mark.parametrize(
    ("values", "use"),
    [
        ({"use_spot": True}, Use.FLOW),
        ({"use_spot": True, "checkpoint_s3_uri": "s3://bucket/x"}, Use.CONTAINER),
        ({"use_spot": True, "keep_alive_period_in_seconds": 0}, Use.FLOW),
        ({"enable_network_isolation": True}, Use.CONTAINER),
        ({"input_data": {"code": "s3://bucket/x"}}, Use.CONTAINER),
        ({"instance_count": 2}, Use.CONTAINER),
        ({"instance_count": 2}, Use.CALL),
        ({"volume_kms_key": "alias/a", "instance_type": "ml.c5n.xlarge"}, Use.FLOW),
        ({"registry_access": "Vpc", "registry_credentials_lambda": LAMBDA, **VPC}, Use.FLOW),
        ({"training_plan": PLAN, "instance_type": "ml.p5.48xlarge"}, Use.FLOW),
        ({"request": {"VpcConfig": None}, **VPC}, Use.FLOW),
    ],
)
def test_what_is_allowed(values: dict[str, Any], use: Use) -> None:
    assert validate(values, use=use, whole=True) == []


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"instance_count": 3}, "instance_count"),
        ({"instance_type": "ml.z9.xlarge"}, "instance_type"),
        ({"keep_alive_period_in_seconds": 7200}, "keep_alive_period_in_seconds"),
        ({"max_pending_time_in_seconds": 7200}, "max_pending_time_in_seconds"),
        ({"environment": {"SM_HOSTS": "x"}}, "environment.SM_HOSTS"),
        ({"metric_definitions": {"m": "x=[0-9]"}}, "metric_definitions.m"),
        ({"metric_definitions": {"m": "x=([0-9]"}}, "metric_definitions.m"),
        ({"input_data": {"a": {"uri": "s3://bucket/x", "mode": "FastFile"}}}, "input_data.a.uri"),
        ({"input_data": {"a": {"uri": "s3://bucket/x", "compression": "Gzip"}}}, "input_data.a.compression"),
    ],
)
def test_what_is_only_doubtful(values: dict[str, Any], path: str) -> None:
    assert refused(values) == {}
    assert list(doubted(values)) == [path]


@pytest.mark.parametrize(
    ("values", "other"),
    [
        ({"subnets": ["subnet-1"]}, {"security_group_ids": ["sg-1"]}),
        ({"max_wait_in_seconds": 7200}, {"use_spot": True}),
        ({"max_wait_in_seconds": 600, "use_spot": True}, {"max_runtime_in_seconds": 600}),
        ({"registry_credentials_lambda": LAMBDA}, {"registry_access": "Vpc", **VPC}),
    ],
)
def test_what_another_layer_can_supply_is_only_a_warning(values: dict[str, Any], other: dict[str, Any]) -> None:
    assert {one.severity for one in validate(values)} == {Severity.WARNING}
    assert of(values, other).warnings == ()
    assert {one.severity for one in resolve([("the stack", values)], whole=False).warnings} == {Severity.WARNING}
    with pytest.raises(ValidationError):
        of(values)


def test_fallback_types_need_a_botocore_that_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = limits.service_model()
    shapes = dict(model["shapes"])
    members = {k: v for k, v in shapes["ResourceConfig"]["members"].items() if k != "InstancePreferences"}
    shapes["ResourceConfig"] = {**shapes["ResourceConfig"], "members": members}
    monkeypatch.setattr(limits, "service_model", lambda: {**model, "shapes": shapes})
    found = refused({"instance_type": ["ml.g5.xlarge", "ml.m5.xlarge"]})
    assert list(found) == ["instance_type"]
    assert "which the installed botocore" in found["instance_type"]
    assert refused({"instance_type": ["ml.m5.xlarge"]}) == {}


def test_the_path_begins_where_the_settings_stand() -> None:
    [finding] = validate({"volume_size_in_gb": 0}, at="orchestrator")
    assert finding.path == "orchestrator.volume_size_in_gb"
    assert finding.message.startswith("orchestrator.volume_size_in_gb is 0")


def test_values_in_quotes_are_left_as_they_are() -> None:
    [finding] = validate({"execution_role": "InstanceCount RoleArn"}, at="")
    assert finding.message.startswith("execution_role is 'InstanceCount RoleArn';")


def test_the_import_is_cheap() -> None:
    script = "import sys, clary.sagemaker.settings; print([m for m in ('pydantic', 'botocore') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
