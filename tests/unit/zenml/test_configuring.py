"""Steps and pipelines that are configured after they were declared, in ZenML's way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clary import zenml
from clary.engine.retry import Retries
from clary.errors import UsageError
from clary.zenml.missing import PIPELINE_METHODS
from durable import first_attempt

SMALL = {"orchestrator": {"instance_type": "ml.m5.large", "tags": {"team": "ml"}}}


@zenml.step(runtime="isolated", settings=SMALL)
def fit(x: int) -> int:
    return x * x


@zenml.step
def double(x: int) -> int:
    return 2 * x


@zenml.pipeline(dynamic=True, settings=SMALL)
def parent(x: int) -> Any:
    return child.embed(x)


@zenml.pipeline(dynamic=True)
def child(x: int) -> Any:
    return double(double(x))


def refused(error: pytest.ExceptionInfo[UsageError], code: str, *said: str) -> None:
    assert error.value.code == code
    for words in said:
        assert words in f"{error.value.summary} {error.value.next_step}"


def test_a_copy_has_its_own_options() -> None:
    two = Retries(count=2, delay=0, backoff=1)
    changed = double.with_options(retry=zenml.StepRetryConfig(max_retries=2), enable_cache=True)
    assert (changed.name, changed.retries, changed.cache is not None) == ("double", two, True)
    assert (double.retries.count, double.cache) == (0, None)
    assert changed(4) == 8
    assert changed.entrypoint is double.function


def test_settings_are_laid_over_those_there_are_or_taken_in_their_place() -> None:
    more: dict[str, Any] = {"orchestrator.sagemaker": {"volume_size_in_gb": 50, "tags": {"cost": "7"}}}
    merged, taken = fit.with_options(settings=more), fit.with_options(settings=more, merge=False)
    assert merged.isolation is not None
    assert merged.isolation.resources == {
        "instance_type": "ml.m5.large",
        "volume_size_in_gb": 50,
        "tags": {"team": "ml", "cost": "7"},
    }
    assert taken.isolation is not None
    assert taken.isolation.resources == {"volume_size_in_gb": 50, "tags": {"cost": "7"}}


def test_configure_changes_the_step_itself() -> None:
    own = double.copy()
    assert own.configure(runtime=zenml.StepRuntime.ISOLATED) is own
    assert own.isolation is not None
    assert double.isolation is None


def test_a_pipeline_is_configured_likewise() -> None:
    changed = parent.with_options(enable_cache=True, settings={"orchestrator": {"volume_size_in_gb": 50}})
    assert (changed.call.cache, changed.call.settings) == (True, {"volume_size_in_gb": 50})
    assert parent.call.settings == {}
    own = parent.copy().configure(settings={"orchestrator": {"volume_size_in_gb": 9}}, merge=False)
    assert (own.options.settings, own.call.settings) == ({}, {"volume_size_in_gb": 9})
    with pytest.raises(UsageError) as caught:
        parent.with_options(run_name="mine")
    refused(caught, "zenml.not_available", "with_options(run_name=)")


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        double.with_options(enable_cash=True)
    refused(caught, "zenml.bad_option", "enable_cache")


def test_where_a_step_runs_is_not_changed_in_a_body(tmp_path: Path) -> None:
    @zenml.pipeline(dynamic=True)
    def body() -> Any:
        return fit.with_options(settings=SMALL)(2)

    outcome, _, _ = first_attempt("sqlite", tmp_path, body)
    assert isinstance(outcome.error, UsageError)
    assert "fit.entrypoint" in outcome.error.next_step


def test_a_pipeline_is_embedded_in_another(tmp_path: Path) -> None:
    outcome, _, _ = first_attempt("sqlite", tmp_path, parent, x=3)
    assert (outcome.error, outcome.value) == (None, 12)
    with pytest.raises(UsageError, match="outside the body"):
        child.embed(1)


@pytest.mark.parametrize("name", sorted(PIPELINE_METHODS))
def test_what_a_pipeline_cannot_do_is_told(name: str) -> None:
    with pytest.raises(UsageError, match="is not available here") as caught:
        getattr(parent, name)()
    assert caught.value.next_step
    assert not hasattr(parent, "nothing_of_the_kind")


def test_options_of_steps_are_no_pipelines() -> None:
    with pytest.raises(UsageError) as caught:
        zenml.pipeline(dynamic=True, retry={"max_retries": 1})
    refused(caught, "zenml.not_available", "@step(retry=")
