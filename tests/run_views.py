"""Runs to show, and services that answer with them: what the command line is tested against."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

import clary.agent
from clary.agent.views import (
    SETTLED,
    ArtifactView,
    AttemptView,
    CallView,
    FailureView,
    Observer,
    PhaseView,
    RunView,
)
from clary.errors import NotFoundError
from clary.flows import Flow, flow
from clary.stacks.model import Stack

if TYPE_CHECKING:
    from clary.flows.flow import CallOptions

ROLE = "arn:aws:iam::123456789012:role/team"
RUN = "01KB1Z0000AAAAAAAAAAAAAAAA"
BEGAN = 1_795_300_000.0
PHASES = (
    PhaseView("Starting", BEGAN, BEGAN + 1, "Launching instances"),
    PhaseView("Downloading", BEGAN + 1, BEGAN + 1.5),
    PhaseView("Training", BEGAN + 1.5, None),
)
FAILURE = FailureView(
    "user_code", "ZeroDivisionError: division by zero", "Mend flow.py:12.", "no", ("flow.py:12 in f",), 1
)


def call(number: int, attempt: int = 1, status: str = "completed") -> CallView:
    """Return one recorded call of 0.42 s."""
    return CallView(f"train#{number}", "train", status, attempt, BEGAN, BEGAN + 0.42, preview="0.97")


def run_view(status: str = "completed", **changes: Any) -> RunView:
    """Return a run on SageMaker with everything in it."""
    over = status in SETTLED
    made = RunView(
        id=RUN,
        flow="digits",
        stack="gpu",
        status=status,
        created=BEGAN,
        started=BEGAN,
        ended=BEGAN + 12.3 if over else None,
        inputs={"models": "8"},
        result="0.97" if status == "completed" else None,
        failure=FAILURE if status == "failed" else None,
        attempts=(AttemptView(1, status, "clary-digits-1", BEGAN, None, 34 if over else None, PHASES),),
        calls=(call(1), call(2)),
        artifacts=(ArtifactView("model", "s3://bucket/values/abc", "sklearn", 1_258_291),),
    )
    return replace(made, **changes)


@flow
def digits(models: int = 2, name: str = "x") -> int:
    """A flow to name on the command line; the services here never run it."""
    return models


@dataclass(frozen=True)
class Target:
    """What ``load_target`` returns."""

    flow: Flow[Any, Any]


@dataclass
class Services:
    """A stand-in for ``clary.agent.service`` that tells a prepared story and notes what it was asked."""

    ended: RunView = field(default_factory=run_view)
    story: Callable[[Observer], None] = lambda observer: None
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    lines: list[tuple[str, float, str]] = field(default_factory=list)
    under_way: bool = False
    """Whether a watch of the run was broken off: then the run goes on."""

    def load_target(self, target: str) -> Target:
        return Target(digits)

    def start(self, target: Target, inputs: Mapping[str, Any], stack: Stack, *, observer: Observer) -> RunView:
        self.asked.append(("start", dict(inputs), stack.name))
        return self._begin(stack, observer)

    def resume(
        self, stack: Stack, run_id: str, *, on_change: str | None, observer: Observer, call: CallOptions
    ) -> RunView:
        self.asked.append(("resume", run_id, on_change))
        return self._begin(stack, observer)

    def follow(self, stack: Stack, run_id: str, observer: Observer) -> RunView:
        self.asked.append(("follow", run_id))
        self.under_way = True
        self.story(observer)
        self.under_way = False
        return self.ended

    def stop(self, stack: Stack, run_id: str) -> RunView:
        self.asked.append(("stop", run_id))
        self.story = lambda observer: None
        self.ended = run_view("stopped", stack=stack.name)
        return self.ended if stack.type == "local" else run_view("stopping", stack=stack.name)

    def wait(self, stack: Stack, run_id: str, timeout: float | None) -> RunView:
        self.asked.append(("wait", run_id, timeout))
        return self.ended

    def get_run(self, stack: Stack, run_id: str) -> RunView:
        self.asked.append(("get_run", run_id))
        return run_view("running", stack=stack.name) if self.under_way else self.ended

    def list_runs(self, stack: Stack, *, limit: int, status: str | None, flow: str | None = None) -> list[RunView]:
        self.asked.append(("list_runs", stack.name, limit, status, flow))
        return [self.ended] if status in {None, self.ended.status} and flow in {None, self.ended.flow} else []

    def find_run(self, prefix: str, stack: Stack | None) -> tuple[Stack, str]:
        if not RUN.startswith(prefix.upper()):
            raise NotFoundError("run.not_found", f"There is no run {prefix!r}.", next_step="Run `clary runs list`.")
        return stack or Stack("gpu", "sagemaker", "s3://bucket/x"), RUN

    def logs(self, stack: Stack, run_id: str, *, follow: bool) -> Iterator[tuple[str, float, str]]:
        self.asked.append(("logs", run_id, follow))
        yield from self.lines

    def _begin(self, stack: Stack, observer: Observer) -> RunView:
        submitted = replace(self.ended, status="submitted", stack=stack.name)
        observer.submitted(submitted)
        if stack.type == "local":
            self.story(observer)
            return self.ended
        return submitted


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    """The services behind the commands, told by the test."""
    stand_in = Services()
    module = types.ModuleType("clary.agent.service")
    for name in (
        "load_target",
        "start",
        "resume",
        "follow",
        "stop",
        "wait",
        "get_run",
        "list_runs",
        "find_run",
        "logs",
    ):
        setattr(module, name, getattr(stand_in, name))
    monkeypatch.setitem(sys.modules, "clary.agent.service", module)
    monkeypatch.setattr(clary.agent, "service", module, raising=False)
    return stand_in
