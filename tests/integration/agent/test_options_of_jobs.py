"""Options, keys and progress of runs that are jobs: what was decided here holds there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import service
from clary.agent.place import place_of
from clary.agent.specs import spec_key
from clary.errors import ConfigError
from clary.flows.flow import CallOptions

if TYPE_CHECKING:
    from clary.agent.views import RunView
    from clary.stacks.model import Stack
    from integration.agent.conftest import Recorder

FLOW = """
import os
import time

from clary import checkpoint, configure, current_run, flow, progress

configure(image="not-in-a-job")
failed = []


@flow(retries=0)
def stubborn(value: int) -> int:
    if len(failed) < 2:
        failed.append(value)
        raise ValueError("not yet")
    return value


@flow
def signs_in() -> str:
    if current_run().attempt == 1:
        raise ValueError("not yet")
    return os.environ["API_TOKEN"][::-1]


@checkpoint(runtime="isolated")
def sign_in() -> str:
    return os.environ["API_TOKEN"][::-1]


@flow
def signs_in_apart() -> str:
    return sign_in()


@flow
def told(value: int) -> int:
    progress(1, 4, "begun")
    time.sleep(4)
    return value
"""


@pytest.fixture(autouse=True)
def flows(project: Path) -> None:
    (project / "options.py").write_text(FLOW)


def _start(stack: Stack, flow: str, call: CallOptions, observer: Recorder | None = None, **inputs: Any) -> RunView:
    found = service.load_target(f"options.py:{flow}")
    from clary import config

    config.configure()  # what the module has set in this process: jobs do not see it
    return service.start(replace(found, flow=found.flow.with_call(call)), inputs, stack, observer=observer)


def test_the_retries_of_a_run_hold_in_its_job_and_its_settings_in_the_request(stack: Stack) -> None:
    call = CallOptions(retries={"count": 2, "delay": 0.0}, settings={"tags": {"team": "ml"}, "volume_size_in_gb": 31})
    run = _start(stack, "stubborn", call, value=5)
    assert service.wait(stack, run.id, 60).status == "completed"
    values = {one["name"]: one for one in service.specification(stack, run.id)["values"]}
    assert (values["volume_size_in_gb"]["value"], values["volume_size_in_gb"]["source"]) == (31, "this run")
    assert values["retries.count"]["value"] == 2


def test_a_key_asks_for_one_job(stack: Stack, observer: Recorder) -> None:
    first = _start(stack, "stubborn", CallOptions(key="k"), value=5)
    again = _start(stack, "stubborn", CallOptions(key="k"), observer, value=5)
    assert (again.id, again.reused) == (first.id, True)
    assert service.wait(stack, first.id, 60).status == "failed"
    failed = _start(stack, "stubborn", CallOptions(key="k"), observer, value=5)
    assert (failed.id, failed.status, len(failed.attempts)) == (first.id, "failed", 1)
    assert "clary runs resume" in observer.of("note")[-1]


def test_progress_of_a_job_is_seen_by_whoever_follows(stack: Stack, observer: Recorder) -> None:
    run = _start(stack, "told", CallOptions(), value=5)
    assert service.follow(stack, run.id, observer).status == "completed"
    assert [line.message for lines in observer.of("progress") for line in lines][:1] == ["begun"]


def _spec_text(stack: Stack, run: str) -> str:
    kept = place_of(stack)
    attempt = kept.read(run).attempt
    assert attempt is not None
    return (kept.store.get(spec_key(attempt.spec["digest"])) or b"").decode()


def test_a_literal_secret_is_in_no_specification_and_a_further_attempt_has_it(stack: Stack, observer: Recorder) -> None:
    call = CallOptions(settings={"environment": {"API_TOKEN": "hunter2hunter2", "MODE": "fast"}})
    run = _start(stack, "signs_in", call, observer)
    assert [note for note in observer.of("note") if "{{secrets.NAME.API_TOKEN}}" in note]
    assert service.wait(stack, run.id, 60).status == "failed"
    service.resume(stack, run.id, observer=observer)
    assert service.wait(stack, run.id, 60).result == "'2retnuh2retnuh'"
    assert "hunter2" not in _spec_text(stack, run.id)
    assert '"MODE":"fast"' in _spec_text(stack, run.id)
    assert "hunter2" not in repr(observer.of("note"))


def test_the_job_of_a_call_has_the_secret_of_the_flows_job(stack: Stack) -> None:
    call = CallOptions(settings={"environment": {"API_TOKEN": "hunter2hunter2"}})
    run = _start(stack, "signs_in_apart", call)
    assert service.wait(stack, run.id, 90).result == "'2retnuh2retnuh'"
    assert "hunter2" not in _spec_text(stack, run.id)


def test_a_local_run_keeps_no_literal_secret_and_asks_for_it_again(
    local: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = CallOptions(settings={"environment": {"API_TOKEN": "hunter2hunter2"}})
    run = _start(local, "signs_in", call)
    assert "hunter2" not in _spec_text(local, run.id)
    with pytest.raises(ConfigError) as caught:
        service.resume(local, run.id)
    assert (caught.value.code, caught.value.field) == ("run.secret_not_kept", "environment.API_TOKEN")
    monkeypatch.setenv("CLARY_SETTINGS", '{"environment": {"API_TOKEN": "hunter2hunter2"}}')
    assert service.resume(local, run.id).status == "completed"
