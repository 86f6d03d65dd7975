"""The rules of a new stack: what each type takes and needs, and what every field may look like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clary.errors import ClaryError
from clary.stacks import rules
from clary.stacks.components import assemble
from clary.stacks.draft import Draft
from clary.stacks.model import Stack
from clary.stacks.rules import Place

FOLDER = Path("/somewhere")
GOOD = Draft(
    name="demo",
    type="sagemaker",
    artifact_store="s3://my-bucket/some/prefix",
    container_registry="123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/kitaru",
    region="eu-central-1",
    execution_role="arn:aws:iam::123456789012:role/service-role/Jobs",
)
PLACE = Place("http://127.0.0.1:4566", "bucket", "arn:aws:iam::123456789012:role/sandbox", "123456789012", "us-east-1")


def build(draft: Draft, *, folder: Path = FOLDER, place: Place | None = None) -> Stack:
    return assemble(draft.name, rules.build(draft, folder=folder, place=place))


def refused(draft: Draft, place: Place | None = None) -> ClaryError:
    with pytest.raises(ClaryError) as error:
        build(draft, place=place)
    return error.value


def test_a_complete_draft_becomes_a_stack() -> None:
    stack = build(replace(GOOD, instance_type="ml.m5.large", credentials="aws-profile:me"))
    assert stack == Stack(
        name="demo",
        type="sagemaker",
        artifact_store="s3://my-bucket/some/prefix",
        region="eu-central-1",
        execution_role="arn:aws:iam::123456789012:role/service-role/Jobs",
        container_registry="123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/kitaru",
        credentials="aws-profile:me",
        settings={"instance_type": "ml.m5.large"},
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"artifact_store": "s3://b-1.x/", "container_registry": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/"},
        {"container_registry": "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a", "region": "cn-north-1"},
        {"container_registry": "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "region": "us-gov-west-1"},
        {"container_registry": "123456789012.dkr-ecr.eu-west-1.on.aws/a"},
        {"container_registry": "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu/a_b", "region": "eusc-de-east-1"},
        {"execution_role": "arn:aws-us-gov:iam::123456789012:role/R", "region": "us-iso-east-1"},
        {"execution_role": "arn:aws-cn:iam::123456789012:role/a.b+c=d,e@f_g-h"},
        {"endpoint_url": "http://127.0.0.1:4566/"},
        {"name": "A.b-c_1"},
    ],
)
def test_forms_of_every_partition_are_accepted(changes: dict[str, Any]) -> None:
    build(replace(GOOD, **changes))


def test_every_missing_field_is_named_at_once() -> None:
    error = refused(Draft("x", "sagemaker", region="eu-central-1"))
    assert error.code == "stack.missing_fields"
    assert error.details["missing"] == ["artifact_store", "container_registry", "execution_role"]
    for word in ("--artifact-store", "--container-registry", "--execution-role"):
        assert word in error.summary
    assert "--region" not in error.summary


def test_a_field_of_another_type_names_the_type_it_belongs_to() -> None:
    error = refused(Draft("x", "local", region="eu-central-1", execution_role="r"))
    assert error.code == "stack.foreign_field"
    assert error.summary == "SageMaker-only options require --type sagemaker: --region, --execution-role."
    assert refused(Draft("x", "sandbox", region="eu-central-1"), PLACE).code == "stack.foreign_field"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("artifact_store", "gs://bucket/x"),
        ("artifact_store", "s3://Up_Per/x"),
        ("artifact_store", "s3://a..b"),
        ("artifact_store", "s3://10.0.0.1"),
        ("artifact_store", "my-bucket"),
        ("container_registry", "docker.io/library/python"),
        ("container_registry", "123.dkr.ecr.eu-central-1.amazonaws.com"),
        ("container_registry", "123456789012.dkr.ecr.eu-central-1.amazonaws.com/UPPER"),
        ("region", "frankfurt"),
        ("execution_role", "SageMakerRole"),
        ("execution_role", "arn:aws:iam::123456789012:user/me"),
        ("execution_role", "arn:aws:iam::12:role/me"),
        ("instance_type", "m5.large"),
        ("endpoint_url", "127.0.0.1:4566"),
        ("endpoint_url", "http://user:secret@host"),
        ("credentials", "profile"),
    ],
)
def test_a_malformed_value_names_its_field_and_form(field: str, value: str) -> None:
    changed: dict[str, Any] = {field: value}
    error = refused(replace(GOOD, **changed))
    assert (error.code, error.field) == ("stack.bad_value", field)
    assert field.replace("_", "-") in error.summary.replace("_", "-")


def test_every_malformed_value_is_named_at_once() -> None:
    error = refused(replace(GOOD, region="x", execution_role="y"))
    assert [finding["field"] for finding in error.details["findings"]] == ["region", "execution_role"]


def test_broken_keys_on_the_command_line_are_not_repeated() -> None:
    error = refused(replace(GOOD, credentials="aws-access-keys:AKIDEXAMPLE:wJalrSECRET:more"))
    assert error.code == "stack.bad_value"
    assert "wJalrSECRET" not in str(error.to_dict())
    assert "AKIDEXAMPLE" not in str(error.to_dict())


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "x" * 64, "é"])
def test_names_of_a_wrong_form_are_refused(name: str) -> None:
    assert refused(replace(GOOD, name=name)).code == "stack.bad_name"


def test_kept_names_are_refused() -> None:
    assert refused(Draft("local")).code == "stack.reserved_name"
    assert refused(replace(GOOD, name="sandbox")).code == "stack.reserved_name"


def test_a_misspelt_type_gets_the_nearest() -> None:
    error = refused(Draft("x", "sagemker"))
    assert (error.code, error.next_step) == ("stack.unknown_type", "Did you mean 'sagemaker'?")
    assert "local, sagemaker, sandbox" in refused(Draft("x", "qqqq")).next_step


def test_a_local_stack_keeps_its_runs_in_a_folder(tmp_path: Path) -> None:
    assert build(Draft("x")).artifact_store == str(FOLDER)
    assert build(Draft("x", artifact_store=str(tmp_path))).artifact_store == str(tmp_path)
    assert refused(Draft("x", artifact_store="s3://bucket")).code == "stack.bad_value"


def test_a_sandbox_stack_is_a_sagemaker_stack_with_an_endpoint() -> None:
    stack = build(Draft("sandbox", "sandbox", instance_type="ml.m5.large"), place=PLACE)
    assert (stack.type, stack.endpoint_url, stack.region) == ("sagemaker", PLACE.endpoint_url, "us-east-1")
    assert stack.artifact_store.startswith("s3://bucket/")
    assert stack.settings == {"instance_type": "ml.m5.large"}
    assert refused(Draft("x", "sandbox")).code == "stack.sandbox_not_running"


def test_a_registry_of_another_region_is_pointed_out() -> None:
    assert rules.judge(build(GOOD)) == []
    elsewhere = build(replace(GOOD, region="us-east-1"))
    assert "eu-central-1" in rules.judge(elsewhere)[0]
