"""Runs of pipelines, their steps and outputs, as ZenML's code asks for them."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from clary import zenml
from clary.errors import ClaryError, UsageError
from clary.zenml.outputs import names_of
from command_line import CommandLine, clary

__all__ = ["clary"]


@zenml.step
def ingest(count: int) -> tuple[Annotated[list[int], "features"], Annotated[int, "label"]]:
    zenml.log_metadata({"count": count})
    return list(range(count)), count


@zenml.step
def square(x: int) -> int:
    return x * x


@zenml.step
def choose(values: list[int]) -> Annotated[int, "best"]:
    zenml.save_artifact({"of": len(values)}, "champion")
    return max(values)


@zenml.step
def told(best: int) -> Any:
    place = zenml.get_step_context()
    loaded = [zenml.load_artifact(name) for name in ("champion", "best", "label")]
    return [place.step_name, place.pipeline.name, place.step_run.name, loaded, best]


@zenml.pipeline(dynamic=True, name="training")
def train(count: int = 3) -> Any:
    features, _ = ingest(count)
    best = choose(square.map(features))
    told(best)
    return told(best)


@zenml.step
def asks_for_nothing() -> Any:
    return zenml.load_artifact("nothing")


@zenml.pipeline(dynamic=True)
def loads() -> Any:
    return asks_for_nothing()


@zenml.pipeline(dynamic=True)
def waits() -> Any:
    return zenml.wait(bool, name="go", timeout=0)


@pytest.fixture
def run(clary: CommandLine) -> zenml.PipelineRun:
    """A run of the pipeline on this machine."""
    made = train(count=4)
    assert isinstance(made, zenml.PipelineRun)
    return made


def test_a_run_tells_its_state_times_and_inputs(run: zenml.PipelineRun) -> None:
    assert (run.status, run.status.value) == (zenml.ExecutionStatus.COMPLETED, "completed")
    assert (run.status.is_successful, run.status.is_finished, run.status.is_failed) == (True, True, False)
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.end_time >= run.start_time
    assert (run.config.name, run.config.parameters) == ("training", {"count": 4})
    assert run.run_metadata == {}


def test_steps_have_zenmls_names(run: zenml.PipelineRun) -> None:
    mapped = [f"map:square:{index}" for index in range(4)]
    assert sorted(run.steps) == sorted(["ingest", "choose", "told", "told_2", *mapped])
    assert run.steps["map:square:2"].output.load() == 4
    assert run.steps["ingest"].run_metadata == {"count": 4}
    assert run.steps["ingest"].status.is_successful


def test_outputs_have_their_names(run: zenml.PipelineRun) -> None:
    ingested = run.steps["ingest"]
    assert list(ingested.outputs) == ["features", "label"]
    assert ingested.outputs["features"][0].load() == [0, 1, 2, 3]
    assert ingested.outputs["label"][0].load() == 4
    chosen = run.steps["choose"]
    assert (chosen.outputs["best"][0].load(), chosen.output.load()) == (9, 9)
    assert chosen.outputs["champion"][0].load() == {"of": 4}
    assert list(run.steps["map:square:0"].outputs) == ["output"]


def test_a_step_knows_where_it_is_and_what_the_run_has_kept(run: zenml.PipelineRun) -> None:
    assert run.result() == ["told_2", "training", "told_2", [{"of": 4}, 9, 4], 9]


def test_a_name_that_nothing_has_is_told_with_those_there_are(clary: CommandLine) -> None:
    with pytest.raises(ClaryError) as caught:
        loads()
    assert caught.value.code == "artifact.not_found"


def test_a_run_that_waits_is_paused(clary: CommandLine) -> None:
    waiting = waits()
    assert (waiting.status, waiting.status.is_finished, waiting.end_time) == ("paused", False, None)


def test_artifacts_are_loaded_in_a_run_only() -> None:
    with pytest.raises(UsageError) as caught:
        zenml.load_artifact("model")
    assert caught.value.code == "zenml.outside_run"
    assert "clary artifacts get RUN model" in caught.value.next_step
    with pytest.raises(UsageError) as caught:
        zenml.save_artifact(1, "model")
    assert caught.value.code == "zenml.outside_run"


def test_unnamed_outputs_are_counted() -> None:
    @zenml.step
    def pair() -> tuple[int, Annotated[str, "word"]]:
        return 1, "x"

    assert names_of(pair.name) == ("output_0", "word")
    assert names_of("of another process") == ("output",)


@pytest.mark.parametrize("name", ["inputs", "model"])
def test_what_a_step_is_not_told_is_refused(name: str, clary: CommandLine) -> None:
    @zenml.step
    def asks() -> Any:
        return getattr(zenml.get_step_context(), name)

    @zenml.pipeline(dynamic=True)
    def body() -> Any:
        return asks()

    with pytest.raises(UsageError, match="is not available here"):
        body()
