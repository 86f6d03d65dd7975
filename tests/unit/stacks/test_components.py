"""Components: made of a flavor and options, put together to a stack and taken apart again; values read as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clary.errors import ClaryError
from clary.stacks import components, flavors
from clary.stacks.components import assemble, make, take_apart
from clary.stacks.draft import parse_extra, parse_value, read_file
from clary.stacks.flavors import Flavor
from clary.stacks.model import Stack

ROLE = "arn:aws:iam::123456789012:role/team"
RUNNER = {"region": "us-east-1", "execution_role": ROLE}
RUN = make("orchestrator", "run", "sagemaker", RUNNER)
KEEP = make("artifact_store", "keep", "s3", {"path": "s3://team-bucket/runs/"})
HERE = make("orchestrator", "here", "local", {})


def code_of(call: object, *arguments: object, **options: object) -> str:
    assert callable(call)
    with pytest.raises(ClaryError) as error:
        call(*arguments, **options)
    return error.value.code


def test_a_stack_is_what_its_components_provide() -> None:
    registry = make(
        "container_registry", "r", "aws", {"uri": "arn:aws:ecr:us-east-1:123456789012:repository/team/images"}
    )
    secrets = make("secrets_manager", "s", "ssm", {"prefix": "team/"})
    stack = assemble("whole", [RUN, KEEP, registry, secrets])
    assert stack == Stack(
        "whole",
        "sagemaker",
        "s3://team-bucket/runs",
        region="us-east-1",
        execution_role=ROLE,
        container_registry="123456789012.dkr.ecr.us-east-1.amazonaws.com/team/images",
        secrets={"flavor": "ssm", "prefix": "team/"},
    )


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([], "stack.incomplete"),
        ([RUN], "stack.incomplete"),
        ([KEEP], "stack.incomplete"),
        ([HERE, KEEP], "stack.mixed"),
        ([RUN, make("artifact_store", "f", "local", {"path": "/x"})], "stack.mixed"),
        (
            [
                make("orchestrator", "run", "sagemaker", {**RUNNER, "credentials": "aws-profile:a"}),
                make("artifact_store", "keep", "s3", {"path": "s3://team-bucket", "credentials": "aws-profile:b"}),
            ],
            "stack.conflict",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(parts: list[components.Component], code: str) -> None:
    assert code_of(assemble, "x", parts) == code


@pytest.mark.parametrize(
    "stack",
    [
        Stack("a", "local", "/somewhere"),
        Stack("b", "sagemaker", "s3://team-bucket/x", region="us-east-1", execution_role=ROLE),
        Stack(
            "c",
            "sagemaker",
            "s3://team-bucket/x",
            region="cn-north-1",
            execution_role=ROLE,
            container_registry="123456789012.dkr.ecr.us-east-1.amazonaws.com/team",
            image="image:1",
            scheduler_role=ROLE,
            endpoint_url="http://127.0.0.1:4566",
            endpoint_urls={"s3": "http://127.0.0.1:9000"},
            use_fips_endpoint=True,
            credentials="aws-profile:team",
            assume_role=ROLE,
            external_id="x",
            synchronous=False,
            secrets={"flavor": "aws", "prefix": "p/"},
            image_builder={"flavor": "kaniko", "kubernetes_context": "c"},
            settings={"instance_type": ["ml.m5.large", "ml.m5.xlarge"], "tags": {"a-b": "c"}},
        ),
    ],
)
def test_a_stack_taken_apart_is_the_same_when_put_together(stack: Stack) -> None:
    assert assemble(stack.name, take_apart(stack)) == stack


@pytest.mark.parametrize(
    "provides",
    [{}, {"artifact_store": ""}, {"artifact_store": "s3://x", "colour": "red"}, {"artifact_store": "x", "type": "k8s"}],
)
def test_a_flavor_that_provides_what_no_stack_can_use_is_broken(provides: dict[str, Any]) -> None:
    flavor = Flavor("artifact_store", "odd", "Odd.", (), lambda _options: provides)
    assert code_of(components.provided, flavor, {}) == "flavor.broken"


def test_a_refusal_has_a_step_for_every_problem() -> None:
    found, problems = flavors.find("orchestrator", "sagemaker").canonical({"regoin": "x", "aws_access_key_id": "y"})
    error = components.bad_options("orchestrator", problems)
    assert "Did you mean 'region'?" in error.next_step
    assert "--region=REGION" in error.next_step
    assert "aws-profile:NAME" in error.next_step
    assert error.field == "orchestrator.regoin"
    assert found == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ml.m5.large", "ml.m5.large"),
        ("100", 100),
        ("yes", True),
        ("", None),
        ("[a, b]", ["a", "b"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("2024-01-31", "2024-01-31"),
        ("2024-99-99", "2024-99-99"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("{{secrets.hf.token}}", "{{secrets.hf.token}}"),
        (" {{ secrets.hf.token }}", "{{ secrets.hf.token }}"),
        ("'1.10'", "1.10"),
        ("s3://bucket/a:b", "s3://bucket/a:b"),
        ("é 漢 🙂", "é 漢 🙂"),
        ("x" * 100_000, "x" * 100_000),
    ],
)
def test_values_are_plain_yaml(text: str, value: Any) -> None:
    assert parse_value(text, "x") == value


@pytest.mark.parametrize(
    "text",
    ["{a: 1", "a: b: c", "!!python/object:os.system {}", "9" * 5000, "[" * 1200, "!!binary YQ==", "a\x00b", "*x"],
)
def test_what_cannot_be_kept_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ClaryError) as error:
        parse_value(text, "--option")
    assert error.value.code == "stack.bad_value"
    assert len(str(error.value)) < 400


def test_a_stack_file_with_something_strange_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    for content in (b"name: !!binary YQ==", b"name: \xff", b"[" * 1200):
        file.write_bytes(content)
        assert code_of(read_file, file) == "stack.bad_file"


def test_hyphens_below_an_option_stay() -> None:
    extra = parse_extra(["artifact-store.some-option=1", "orchestrator.tags.cost-center=7"])
    assert extra == {"artifact_store": {"some_option": 1}, "orchestrator": {"tags": {"cost-center": 7}}}
