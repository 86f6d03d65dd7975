"""What a command line and a file ask for together: who wins, and what is refused before anything is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clary.errors import ClaryError
from clary.stacks.draft import Wish, file_keys, parse_extra, read_file, wish


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "stack.yaml"


def refused(call: Any, *arguments: Any) -> ClaryError:
    with pytest.raises(ClaryError) as error:
        call(*arguments)
    return error.value


def asked(file: Path, text: str, **options: Any) -> Wish:
    file.write_text(text)
    return wish(None, options, read_file(file))


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(file: Path) -> None:
    text = "name: a\ntype: sagemaker\nregion: eu-west-1\nactivate: false\nasync: true\n"
    got = asked(file, text, region="eu-central-1", verify=False)
    assert (got.draft.name, got.draft.type, got.draft.region) == ("a", "sagemaker", "eu-central-1")
    assert (got.activate, got.verify, got.draft.run_async) == (False, False, True)
    assert asked(file, text, activate=True).activate
    bare = wish("b", {})
    assert (bare.draft.type, bare.activate, bare.verify) == ("local", True, True)


def test_the_command_line_wins_whichever_way_it_and_the_file_say_a_thing(file: Path) -> None:
    in_extra = "name: a\ntype: sagemaker\nextra: {orchestrator: {region: us-east-1, image: x}}\n"
    got = asked(file, in_extra, region="eu-central-1").draft
    assert got.region == "eu-central-1"
    assert got.extra == {"orchestrator": {"image": "x"}}
    plain = "name: a\ntype: sagemaker\nregion: us-east-1\nartifact_store: s3://a\n"
    extra = {"orchestrator": {"region": "eu-central-1"}, "artifact_store": {"path": "s3://b"}}
    got = asked(file, plain, extra=extra).draft
    assert (got.region, got.artifact_store, got.extra) == ("eu-central-1", "s3://b", extra)


def test_extra_of_the_command_line_is_merged_over_the_files(file: Path) -> None:
    text = "name: a\nextra:\n  orchestrator:\n    tags: {team: ml, cost: x}\n    instance_type: ml.m5.large\n"
    extra = parse_extra(["orchestrator.tags.team=data", "container-registry.default-repository=r"])
    assert asked(file, text, extra=extra).draft.extra == {
        "orchestrator": {"tags": {"team": "data", "cost": "x"}, "instance_type": "ml.m5.large"},
        "container_registry": {"default_repository": "r"},
    }


def test_values_of_extra_are_yaml_dotted_paths_nest_and_the_last_wins() -> None:
    assert parse_extra(
        ["orchestrator.a.b=1", "orchestrator.a.c=[x, y]", "orchestrator.a.b=true", "orchestrator.d="]
    ) == {"orchestrator": {"a": {"b": True, "c": ["x", "y"]}, "d": None}}
    assert parse_extra(["orchestrator.url=http://x/?a=b"]) == {"orchestrator": {"url": "http://x/?a=b"}}


@pytest.mark.parametrize(
    "text", ["orchestrator", "orchestrator=1", "a.b", "=1", "orchestrator.=1", ".x=1", "orchestrator..x=1"]
)
def test_malformed_extra_states_its_form(text: str) -> None:
    error = refused(parse_extra, [text])
    assert (error.code, error.field) == ("stack.bad_extra", "extra")
    assert "TARGET.FIELD=VALUE" in error.summary


def test_an_unknown_target_gets_the_nearest_and_kitarus_sandbox_its_reason() -> None:
    assert "'orchestrator'" in refused(parse_extra, ["orchestratr.x=1"]).next_step
    assert refused(parse_extra, ["sandbox.x=1"]).code == "stack.no_sandbox_component"
    assert refused(parse_extra, ["orchestrator.x={"]).code == "stack.bad_value"


def test_hyphen_spellings_are_the_same_keys(file: Path) -> None:
    got = asked(file, "name: a\nartifact-store: /x\nextra:\n  container-registry: {default-repository: r}\n")
    assert got.draft.artifact_store == "/x"
    assert got.draft.extra == {"container_registry": {"default_repository": "r"}}


@pytest.mark.parametrize(
    ("text", "part", "hint"),
    [
        ("name: a\nartifact-store: x\nartifact_store: y\n", "both spellings", "one"),
        ("name: a\nregoin: x\n", "'regoin'", "region"),
        ("name: a\nqqqqq: x\n", "'qqqqq'", "artifact_store"),
        ("name: a\nactivate: maybe\n", "true or false", "activate"),
        ("name: a\nregion: [x]\n", "text", "region"),
        ("name: a\nextra: [x]\n", "extra", "orchestrator"),
        ("name: a\nextra: {orchestrator: 1}\n", "extra", "orchestrator"),
        ("name: a\ncomponents: {orchestrator: local}\n", "component", "flavor"),
        ("- a\n", "no keys", "key"),
        ("a: [\n", "cannot be read", "YAML"),
    ],
)
def test_a_wrong_file_says_what_and_where(file: Path, text: str, part: str, hint: str) -> None:
    file.write_text(text)
    error = refused(read_file, file)
    assert error.code == "stack.bad_file"
    assert str(file) in error.summary
    assert part in error.summary
    assert hint in error.next_step


def test_a_stack_that_zenml_exported_is_understood(file: Path) -> None:
    text = """
zenml_version: 0.98.0
stack_name: prod
components:
  orchestrator:
    type: orchestrator
    name: sm
    flavor: sagemaker
    configuration: {region: eu-central-1, execution_role: "arn:aws:iam::123456789012:role/R"}
  artifact_store: {name: store, flavor: s3, path: "s3://bucket/x"}
"""
    draft = asked(file, text).draft
    assert (draft.name, draft.type) == ("prod", "sagemaker")
    assert draft.components["orchestrator"]["options"]["region"] == "eu-central-1"
    assert draft.components["artifact_store"] == {"name": "store", "flavor": "s3", "options": {"path": "s3://bucket/x"}}


def test_a_file_that_is_not_there_and_a_stack_without_a_name(tmp_path: Path) -> None:
    assert refused(read_file, tmp_path / "none.yaml").code == "stack.bad_file"
    assert refused(wish, None, {}).code == "stack.no_name"


def test_every_documented_key_is_known() -> None:
    documented = (
        "name type activate artifact_store container_registry cluster region subscription_id resource_group workspace "
        "execution_role namespace credentials sandbox verify extra async"
    )
    assert set(documented.split()) <= set(file_keys())
