"""Runs of pipelines as ZenML shows them: their state, steps, outputs and metadata, read when asked for."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from clary.artifacts import decode
from clary.kitaru.flows import service
from clary.kitaru.journaled import Journaled
from clary.kitaru.kept import moment
from clary.kitaru.names import call_name, checkpoint_name
from clary.zenml import outputs

if TYPE_CHECKING:
    from datetime import datetime

    from clary.flows import RunHandle


class ExecutionStatus(StrEnum):
    """Of a run or a step, in ZenML's words."""

    INITIALIZING = "initializing"
    PROVISIONING = "provisioning"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    COMPLETED = "completed"
    CACHED = "cached"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more comes."""
        return self.is_successful or self in (ExecutionStatus.FAILED, ExecutionStatus.STOPPED)

    @property
    def is_successful(self) -> bool:
        """Whether it completed."""
        return self in (ExecutionStatus.COMPLETED, ExecutionStatus.CACHED)

    @property
    def is_failed(self) -> bool:
        """Whether it failed."""
        return self is ExecutionStatus.FAILED


_OURS = {
    **dict.fromkeys(("queued", "preparing"), ExecutionStatus.INITIALIZING),
    **dict.fromkeys(("submitted", "starting"), ExecutionStatus.PROVISIONING),
    "waiting": ExecutionStatus.PAUSED,
    "stopping": ExecutionStatus.STOPPING,
    "completed": ExecutionStatus.COMPLETED,
    "stopped": ExecutionStatus.STOPPED,
    **dict.fromkeys(("failed", "timed_out", "interrupted", "lost"), ExecutionStatus.FAILED),
}


def status_of(status: str) -> ExecutionStatus:
    """Return ZenML's word for a state of a run or a call."""
    return _OURS.get(status, ExecutionStatus.RUNNING)


@dataclass(frozen=True)
class Output:
    """A value that a step has returned, or a part of it, or one that it has saved."""

    name: str
    _stack: Any = field(repr=False)
    _run: str = field(repr=False)
    _kept: str = field(repr=False)
    """By which name the run has kept it."""
    _part: int | None = field(default=None, repr=False)

    def load(self) -> Any:
        """Return the value. One that was pickled runs code: you trust whoever may write to the artifact store."""
        value = import_module("clary.agent.artifacts").get(self._stack, self._run, self._kept, trust=True)
        return value if self._part is None else value[self._part]


@dataclass(frozen=True)
class StepRun:
    """One recorded call of a step."""

    name: str
    """ZenML's: ``fit``, ``fit_2``, ``map:fit:0``."""
    id: str
    """Its path."""
    status: ExecutionStatus
    start_time: datetime | None
    end_time: datetime | None
    _stack: Any = field(repr=False)
    _run: str = field(repr=False)
    _record: Journaled = field(repr=False)

    @property
    def output(self) -> Output:
        """What it has returned, whole: ``.output.load()``."""
        return Output("output", self._stack, self._run, self.id)

    @property
    def outputs(self) -> dict[str, list[Output]]:
        """What it has returned and saved, by name; each is a list of one."""
        step = checkpoint_name(self.id)
        found = {
            name: [Output(name, self._stack, self._run, self.id, outputs.part_of(step, name))]
            for name in outputs.names_of(step)
        }
        saved = [name for name, path in self._record.savers.items() if path == self.id]
        return found | {name: [Output(name, self._stack, self._run, name)] for name in saved if name not in found}

    @property
    def run_metadata(self) -> dict[str, Any]:
        """What its code has noted by ``log_metadata``."""
        return self._record.facts(self.id)


@dataclass(frozen=True)
class RunConfiguration:
    """What a run was started with."""

    name: str
    """Of the pipeline."""
    parameters: dict[str, Any]


class PipelineRun:
    """A run of a pipeline."""

    def __init__(self, run: RunHandle[Any], stack: Any) -> None:
        self.id = run.id
        self.name = run.id
        self._run = run
        self._stack = stack

    @property
    def status(self) -> ExecutionStatus:
        """Its state now, in ZenML's words."""
        return status_of(self._run.status)

    @property
    def start_time(self) -> datetime | None:
        """When it began, UTC."""
        return moment(self._view().started)

    @property
    def end_time(self) -> datetime | None:
        """When it ended, UTC; None while it has not."""
        return moment(self._view().ended)

    @functools.cached_property
    def config(self) -> RunConfiguration:
        """What it was started with."""
        place = import_module("clary.agent.place").place_of(self._stack)
        state = place.read(self.id)
        given = {name: decode(value, place.store) for name, value in state.inputs.items()}
        return RunConfiguration(state.flow, given)

    @property
    def run_metadata(self) -> dict[str, Any]:
        """What the pipeline's body has noted by ``log_metadata``; what a step has noted is the step's."""
        return Journaled(self._stack, self.id).facts("")

    @property
    def steps(self) -> Mapping[str, StepRun]:
        """The recorded calls, by ZenML's names; those that a step has made stand behind those of the body."""
        record = Journaled(self._stack, self.id)
        found: dict[str, StepRun] = {}
        for one in sorted(self._view().calls, key=lambda call: "/" in call.path):
            cached = (one.origin or {}).get("kind") == "cache"
            status = ExecutionStatus.CACHED if cached else status_of(one.status)
            name, times = call_name(one.path), (moment(one.started), moment(one.ended))
            found.setdefault(name, StepRun(name, one.path, status, *times, self._stack, self.id, record))
        return found

    def result(self) -> Any:
        """Wait for the run and return what the pipeline returns, with values in place of artifacts."""
        return self._run.result()

    def _view(self) -> Any:
        return service().get_run(self._stack, self.id)

    def __repr__(self) -> str:
        return f"<run {self.id}>"
