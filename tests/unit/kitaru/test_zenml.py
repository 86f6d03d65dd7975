"""Dynamic pipelines in ZenML's shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clary import Image, zenml
from clary.engine.retry import Retries
from clary.errors import UsageError
from clary.zenml.missing import OPTIONS, REASONS
from durable import first_attempt


@zenml.step
def numbers(count: int) -> list[int]:
    return list(range(1, count + 1))


@zenml.step(retry=zenml.StepRetryConfig(max_retries=2, delay=1, backoff=0), enable_step_logs=True)
def add(a: int, b: Any) -> tuple[int, Any]:
    return a, b


def test_a_dynamic_pipeline_runs_as_theirs(tmp_path: Path) -> None:
    @zenml.step
    def tells(values: list[int]) -> Any:
        place = zenml.get_step_context()
        zenml.log_metadata({"count": len(values)})
        zenml.save_artifact(values, "kept")
        return [place.step_name, zenml.load_artifact("kept"), len(place.pipeline_run.id)]

    @zenml.pipeline(dynamic=True, enable_cache=False)
    def body(count: int) -> Any:
        handle = numbers(count)
        firsts, seconds = add.map(handle, zenml.unmapped(handle)).unpack()
        return [tells(firsts), seconds[0].load(), add(handle.chunk(1), 5)[0]]

    outcome, _, _ = first_attempt("sqlite", tmp_path, body, count=2)
    assert outcome.error is None, outcome.error
    assert outcome.value == [["tells", [1, 2], 26], [1, 2], 2]


def test_a_step_outside_a_pipeline_is_the_plain_function() -> None:
    assert numbers(2) == [1, 2]
    assert add.retries == Retries(count=2, delay=1, backoff=1)


def test_a_static_pipeline_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        zenml.pipeline(lambda: None)
    assert caught.value.code == "zenml.static_pipeline"


@pytest.mark.parametrize("name", sorted(REASONS))
def test_names_without_a_place_say_what_to_do(name: str) -> None:
    with pytest.raises(UsageError, match="is not available here"):
        getattr(zenml, name)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options_without_a_place_say_what_to_do(name: str) -> None:
    nothing: dict[str, Any] = {name: None}
    zenml.step(**nothing)
    given: dict[str, Any] = {name: "x"}
    with pytest.raises(UsageError, match="is not available here") as caught:
        zenml.step(**given)
    assert caught.value.next_step


def test_a_misspelt_option_gets_the_right_one() -> None:
    with pytest.raises(UsageError) as caught:
        zenml.step(enable_cash=True)
    assert "enable_cache" in caught.value.next_step


def test_settings_become_those_of_the_job() -> None:
    docker = zenml.DockerSettings(parent_image="repo:1", environment={"A": "1"})
    machine = zenml.SagemakerOrchestratorSettings(instance_type="ml.m5.large")

    @zenml.step(runtime="isolated", settings={"orchestrator.sagemaker": machine, "docker": docker})
    def fit() -> int:
        return 1

    assert fit.isolation is not None
    assert fit.isolation.image == "repo:1"
    assert fit.isolation.resources == {"instance_type": "ml.m5.large", "environment": {"A": "1"}}
    made = zenml.DockerSettings(requirements=["numpy"], apt_packages=["git"], skip_build=False, user="app")
    pipeline = zenml.pipeline(dynamic=True, settings={"docker": made})(fit.function)
    assert pipeline.options.image == Image(requirements=["numpy"], apt=["git"], user="app")
    wrong: list[dict[str, Any]] = [
        {"dokcer": {}},
        {"docker": {"required_integrations": ["sklearn"]}},
        {"docker": {"requirement": ["numpy"]}},
        {"resources": {"cpu_count": "two"}},
    ]
    for settings in wrong:
        with pytest.raises(UsageError) as caught:
            zenml.pipeline(dynamic=True, settings=settings)
        assert caught.value.next_step
