"""Options from every source: which wins, where each value comes from, what is frozen, and what a resume keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clary import Image, Retries, config, flow
from clary.agent import configuration
from clary.agent.targets import FlowTarget
from clary.errors import ClaryError, ConfigError, NotFoundError, UsageError, ValidationError
from clary.settings import layers, saved
from clary.settings.effective import Effective, differences, thawed
from clary.stacks.model import Stack, local_stack


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No option from anywhere, and an empty project folder to stand in."""
    for name in (*config.ENVIRONMENT, "KITARU_STACK", "KITARU_IMAGE", "KITARU_CACHE", "KITARU_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.setattr(configuration, "_told", set())
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return local_stack(str(tmp_path / "runs"))


def target(**options: Any) -> FlowTarget:
    @flow(name="shown", **options)
    def body() -> None: ...

    return FlowTarget(body, None, {"module": "m", "name": "shown"})


def origin_of(found: FlowTarget, stack: Stack, name: str) -> tuple[Any, str]:
    chosen = configuration.of(found, stack).option(name)
    return chosen.value, chosen.origin


def test_each_source_outranks_those_below(fresh: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert origin_of(target(), stack, "image") == (None, "default")
    with_image = replace(stack, image="of-stack")
    assert origin_of(target(), with_image, "image") == ("of-stack", "stack")
    saved.put("image", "of-saved")
    assert origin_of(target(), with_image, "image") == ("of-saved", "saved")
    (fresh / "pyproject.toml").write_text('[tool.clary]\nimage = "of-project"\n')
    assert origin_of(target(), with_image, "image") == ("of-project", "project")
    monkeypatch.setenv("CLARY_IMAGE", "of-environment")
    assert origin_of(target(), with_image, "image") == ("of-environment", "environment")
    layers.configure({"image": "of-configure"})
    assert origin_of(target(), with_image, "image") == ("of-configure", "configure")
    decorated = target(image="of-flow")
    assert origin_of(decorated, with_image, "image") == ("of-flow", "flow")
    asked = replace(decorated, flow=decorated.flow.with_options(image="of-run"))
    assert origin_of(asked, with_image, "image") == ("of-run", "run")


def test_a_bare_count_keeps_the_rest_of_the_flows_policy(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    decorated = target(retries=Retries(2, delay=9, on=(OSError,)))
    asked = replace(decorated, flow=decorated.flow.with_options(retries=5))
    found = configuration.configured(asked, stack, None).flow.retries
    assert (found.count, found.delay, found.on) == (5, 9, (OSError,))
    monkeypatch.setenv("CLARY_RETRIES", '{"count": 3, "jitter": false}')
    plain = configuration.configured(target(), stack, None).flow.retries
    assert (plain.count, plain.jitter, plain.delay) == (3, False, 1.0)


def test_settings_are_merged_key_by_key_with_their_origins(fresh: Path, stack: Stack) -> None:
    (fresh / "pyproject.toml").write_text('[tool.clary.settings]\ntags = {team = "ml", owner = "p"}\n')
    saved.put("tags.owner", "s")
    saved.put("instance_type", "ml.m5.large")
    from clary.sagemaker import settings

    found = configuration.of(target(tags={"cost": 1}), stack)
    resolved = settings.resolve(found.settings_layers, whole=False)
    assert dict(resolved.settings.tags) == {"team": "ml", "owner": "p", "cost": "1"}
    assert resolved.origins["tags.owner"].startswith("[tool.clary.settings]")
    assert resolved.origins["tags.cost"] == "the flow shown"
    assert "clary config list" in resolved.origins["instance_type"]


@pytest.mark.parametrize(
    ("variable", "text", "hint"),
    [
        ("CLARY_CACHE", "perhaps", "true or false"),
        ("CLARY_RETRIES", "many", "3"),
        ("CLARY_RETRIES", "-1", "count is 0 or more"),
        ("CLARY_RETRIES", '{"on": "OSError"}', "@flow"),
        ("CLARY_SETTINGS", "instance_type: x", "instance_type"),
        ("CLARY_SETTINGS", "[1]", "instance_type"),
        ("CLARY_ON_CHANGE", "rerunn", "'rerun'"),
    ],
)
def test_a_wrong_variable_is_named(
    variable: str, text: str, hint: str, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError) as caught:
        configuration.of(target(), stack)
    assert caught.value.code == "config.wrong_type"
    assert variable in caught.value.summary
    assert hint in caught.value.next_step


def test_configure_takes_all_back_and_nothing_where_a_value_is_wrong(stack: Stack) -> None:
    from clary import configure

    configure(image="a", cache=True)
    configure(image=None)
    assert config.configured() == {"cache": True}
    with pytest.raises(ConfigError):
        configure(image="b", retries=-1)
    assert config.configured() == {"cache": True}
    configure()
    assert config.configured() == {}


def test_saved_options_are_checked_listed_and_forgotten() -> None:
    assert saved.put("processor_role", "arn:aws:iam::123456789012:role/team") == "execution_role"  # another tool's word
    saved.put("retries", 4)
    saved.put("environment.A", "1")
    assert saved.flat(saved.load()) == {
        "execution_role": "arn:aws:iam::123456789012:role/team",
        "retries": {"count": 4},
        "environment.A": "1",
    }
    saved.remove("environment.A")
    assert "settings" in saved.load()
    assert "environment" not in saved.load()["settings"]
    refused: list[tuple[str, Any, type[ClaryError], str]] = [
        ("instence_type", "x", UsageError, "config.unknown_name"),
        ("imgae", "x", UsageError, "config.unknown_name"),
        ("tags.", "x", UsageError, "config.unknown_name"),
        ("volume_size_in_gb", 1 << 20, ValidationError, "settings.invalid"),
        ("cache", "maybe", ConfigError, "config.wrong_type"),
    ]
    for name, value, kind, code in refused:
        with pytest.raises(kind) as caught:
            saved.put(name, value)
        assert caught.value.code == code
    with pytest.raises(NotFoundError) as missing:
        saved.remove("retris")
    assert (missing.value.code, "retries" in missing.value.next_step) == ("config.not_saved", True)


def test_kitarus_settings_are_told_of_once(fresh: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITARU_STACK", "prod")
    (fresh / "pyproject.toml").write_text("[tool.kitaru]\nstack = 1\n")
    notes: list[str] = []

    class Heard:
        def note(self, text: str) -> None:
            notes.append(text)

    heard: Any = Heard()
    configuration.configured(target(), stack, heard)
    configuration.configured(target(), stack, heard)
    assert len(notes) == 2
    assert "CLARY_STACK" in notes[0]
    assert "[tool.clary]" in notes[1]


@pytest.mark.parametrize(
    ("variable", "step"),
    [
        ("CLARY_RETIRES", "did you mean CLARY_RETRIES?"),
        ("CLARY_INSTANCE_TYPE", "CLARY_SETTINGS"),
        ("CLARY_QQQQQQ", "docs/reference/settings.md"),
    ],
)
def test_a_variable_that_nothing_reads_is_told_of_once(
    variable: str, step: str, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*config.JOB_ENVIRONMENT, "CLARY_TEST_EXAMPLES", "CLARY_FUZZ_EXAMPLES", "CLARYVOYANT", "CLARY_STACK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv(variable, "3")
    with pytest.warns(UserWarning, match=variable) as told:
        configuration.configured(target(), stack, None)
    configuration.configured(target(), stack, None)
    assert [step in str(one.message) for one in told] == [True]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x", "must be a number, or a table of its fields: 'x'."),
        (True, "must be a number, or a table of its fields: True."),
        ({"count": -1}, "do not fit: retries.count is -1."),
        ({"cuont": 1}, "do not fit: retries has no field 'cuont'."),
    ],
)
def test_retries_that_do_not_fit_are_told_of_in_one_sentence(value: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        saved.put("retries", value)
    assert caught.value.summary == f"The retries of `clary config set retries` {problem}"


def test_what_holds_is_frozen_and_thawed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_SETTINGS", '{"tags": {"a": "1"}}')
    monkeypatch.setenv("CLARY_RETRIES", "2")
    found = configuration.of(target(image="i", odd={1, 2}), stack)
    frozen = json.loads(json.dumps(found.frozen({"tags.a": "x"})))
    assert frozen["options"]["retries"] == {"count": 2}
    assert frozen["origins"] == {
        "image": "the flow shown",
        "retries": "the environment variable CLARY_RETRIES",
        "cache": "default",
        "tags.a": "x",
    }
    kept = thawed(frozen)
    assert kept is not None
    assert [layer.origin for layer in kept] == ["environment"]  # the flow's comes with its code
    assert Effective.of(kept).option("retries").value == {"count": 2}
    assert thawed({"v": 1}) is None
    monkeypatch.setenv("CLARY_RETRIES", "7")
    monkeypatch.setenv("CLARY_SETTINGS", '{"tags": {"a": "2"}}')
    notes = differences(kept, layers.ambient())
    assert any("retries stays" in note and "7" in note for note in notes)
    assert any("--set tags=" in note for note in notes)


def test_fields_of_an_image_are_merged(fresh: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    on_sandbox = replace(stack, image="registry.example/python:3.11")
    (fresh / "pyproject.toml").write_text('[tool.clary.image]\napt = ["git"]\nenv = { A = "1", B = "1" }\n')
    monkeypatch.setenv("CLARY_IMAGE", '{"env": {"B": "2"}}')
    flowing = target(image=Image(requirements=["numpy"], env={"C": "3"}))
    assert origin_of(flowing, on_sandbox, "image") == (
        {
            "base": "registry.example/python:3.11",
            "apt": ["git"],
            "env": {"A": "1", "B": "2", "C": "3"},
            "requirements": ["numpy"],
        },
        "flow",
    )
    called = replace(flowing, flow=flowing.flow.with_options(image="whole:1"))
    assert origin_of(called, on_sandbox, "image") == ("whole:1", "run")


def test_a_dockerfile_says_all_by_itself(stack: Stack) -> None:
    found = origin_of(target(image=Image(dockerfile="Dockerfile")), replace(stack, image="base:1"), "image")
    assert found == ({"dockerfile": "Dockerfile"}, "flow")


def test_an_image_that_is_wrong_names_its_source(fresh: Path, stack: Stack) -> None:
    (fresh / "pyproject.toml").write_text('[tool.clary.image]\nbse = "x"\napt = "git"\n')
    with pytest.raises(ValidationError) as caught:
        origin_of(target(), stack, "image")
    assert caught.value.code == "image.invalid"
    assert "[tool.clary].image in" in caught.value.summary
    assert [one["path"] for one in caught.value.details["findings"]] == ["image.bse", "image.apt"]


def test_an_image_is_frozen_and_thawed_with_the_run(stack: Stack) -> None:
    found = configuration.of(target(image=Image(requirements=["numpy"])), stack)
    frozen = json.loads(json.dumps(found.frozen({})))
    assert frozen["image"] == {"requirements": ["numpy"]}
    assert thawed(frozen) == []
