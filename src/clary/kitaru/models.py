"""What ``KitaruClient`` returns: plain, frozen data with Kitaru's names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clary.kitaru.context import marks_of
from clary.kitaru.errors import FailureOrigin, origin_of, translated
from clary.kitaru.statuses import ExecutionStatus, status_of

if TYPE_CHECKING:
    from clary.agent.views import CallView, RunView, WaitView
    from clary.kitaru.client import KitaruClient
    from clary.kitaru.replays import ReplaySubmission
    from clary.stacks.model import Stack


@dataclass(frozen=True)
class PendingWait:
    """What an execution asks."""

    wait_id: str
    name: str
    question: str | None
    schema: dict[str, Any] | None
    metadata: dict[str, Any]
    entered_waiting_at: datetime | None


@dataclass(frozen=True)
class FailureInfo:
    """Why an execution or a checkpoint failed."""

    message: str
    exception_type: str | None
    traceback: str | None
    origin: FailureOrigin


@dataclass(frozen=True)
class LogEntry:
    """One line of output."""

    message: str
    level: str | None = None
    timestamp: str | None = None
    source: str | None = None
    checkpoint_name: str | None = None
    module: str | None = None
    filename: str | None = None
    lineno: int | None = None

    @classmethod
    def of(cls, _host: str, when: float, text: str, source: str) -> LogEntry:
        """Return the entry for a line that was printed at ``when``, in epoch seconds."""
        return cls(text, timestamp=datetime.fromtimestamp(when, UTC).isoformat(), source=source)


@dataclass(frozen=True)
class ArtifactRef:
    """One kept value."""

    artifact_id: str
    name: str
    kind: str | None
    save_type: str
    producing_call: str | None
    metadata: dict[str, Any]
    _stack: Any = field(repr=False)
    _run: str = field(repr=False)

    def load(self) -> Any:
        """Return the value. One that was pickled runs code: you trust whoever may write to the artifact store."""
        with translated():
            return _artifacts().get(self._stack, self._run, self.artifact_id.partition(":")[2], trust=True)


@dataclass(frozen=True)
class CheckpointCall:
    """One recorded call of a checkpoint."""

    call_id: str
    name: str
    status: ExecutionStatus
    started_at: datetime | None
    ended_at: datetime | None
    failure: FailureInfo | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    _stack: Any = field(default=None, repr=False)
    _run: str = field(default="", repr=False)

    @property
    def artifacts(self) -> list[ArtifactRef]:
        """Its output; none where it failed. What a checkpoint has saved is listed with the execution."""
        if self.status is not ExecutionStatus.COMPLETED:
            return []
        with translated():
            return [_ref(self._stack, self._run, {}, _artifacts().describe(self._stack, self._run, self.call_id))]


@dataclass(frozen=True)
class Execution:
    """One execution as it was when it was asked for."""

    exec_id: str
    flow_id: str
    flow_name: str
    status: ExecutionStatus
    started_at: datetime | None
    ended_at: datetime | None
    stack_name: str
    metadata: dict[str, Any]
    status_reason: str | None
    failure: FailureInfo | None
    pending_wait: PendingWait | None
    checkpoints: list[CheckpointCall]
    _stack: Any = field(repr=False)
    _client: KitaruClient = field(repr=False)

    @property
    def artifacts(self) -> list[ArtifactRef]:
        """What it has kept."""
        return self.list_artifacts()

    def list_checkpoints(self) -> list[CheckpointCall]:
        """Return the recorded calls."""
        return list(self.checkpoints)

    def list_artifacts(self) -> list[ArtifactRef]:
        """Return what it has kept: saved values, and outputs of checkpoints."""
        with translated():
            found = _artifacts().list_artifacts(self._stack, self.exec_id)
        return [_ref(self._stack, self.exec_id, self.metadata, one) for one in found if one.kind != "result"]

    def refresh(self) -> Execution:
        """Return it as it is now."""
        return self._client.executions.get(self.exec_id)

    def retry(self) -> Execution:
        """Do as ``client.executions.retry``."""
        return self._client.executions.retry(self.exec_id)

    def resume(self) -> Execution:
        """Do as ``client.executions.resume``."""
        return self._client.executions.resume(self.exec_id)

    def cancel(self) -> Execution:
        """Do as ``client.executions.cancel``."""
        return self._client.executions.cancel(self.exec_id)

    def replay(self, *, at: str, **options: Any) -> ReplaySubmission:
        """Do as ``client.executions.replay``."""
        return self._client.executions.replay(self.exec_id, at=at, **options)


def execution(view: RunView, stack: Stack, client: KitaruClient) -> Execution:
    """Return a run in Kitaru's shape."""
    open_ = [one for one in view.waits if one.outcome is None]
    return Execution(
        **fields_of(view),
        failure=failure_info(view),
        pending_wait=pending_wait(open_[0]) if open_ else None,
        checkpoints=[_call(one, stack, view.id) for one in view.calls],
        _stack=stack,
        _client=client,
    )


def fields_of(view: RunView) -> dict[str, Any]:
    """Return the plain fields of an execution."""
    return {
        "exec_id": view.id,
        "flow_id": view.flow,
        "flow_name": view.flow,
        "status": status_of(view.status),
        "started_at": _time(view.started or view.created),
        "ended_at": _time(view.ended),
        "stack_name": view.stack,
        "metadata": dict(view.facts),
        "status_reason": None if view.failure is None else view.failure.summary,
    }


def pending_wait(wait: WaitView) -> PendingWait:
    """Return an open wait in Kitaru's shape."""
    return PendingWait(wait.path, wait.name, wait.question, wait.schema or None, wait.metadata, _time(wait.asked))


def artifact_ref(stack: Stack, view: RunView, name: str) -> ArtifactRef:
    """Return one kept value of a run; raises NotFoundError ``artifact.not_found``."""
    return _ref(stack, view.id, view.facts, _artifacts().describe(stack, view.id, name))


def _ref(stack: Stack, run: str, facts: Mapping[str, Any], found: Any) -> ArtifactRef:
    saved = found.kind == "saved"
    marks = marks_of(facts, found.name)
    return ArtifactRef(
        artifact_id=f"{run}:{found.name}",
        name=found.name if saved else _checkpoint_name(found.name),
        kind=marks["type"] if saved else "output",
        save_type="manual" if saved else "step_output",
        producing_call=None if saved else found.name,
        metadata={"type": found.type, "size": found.size, "preview": found.preview, "tags": marks["tags"]},
        _stack=stack,
        _run=run,
    )


def _call(view: CallView, stack: Stack, run: str) -> CheckpointCall:
    status = status_of(view.status)
    failure = None
    if status is ExecutionStatus.FAILED:
        failure = FailureInfo(view.preview, view.preview.partition(":")[0], None, FailureOrigin.USER_CODE)
    times = _time(view.started), _time(view.ended)
    return CheckpointCall(view.path, view.name, status, *times, failure, _stack=stack, _run=run)


def failure_info(view: RunView) -> FailureInfo | None:
    """Return why a run failed, in Kitaru's shape; None where it did not."""
    told = view.failure
    if told is None:
        return None
    kind, colon, _ = told.summary.partition(": ")
    origin = FailureOrigin.DIVERGENCE if kind == "DivergenceError" else origin_of(told.cause)
    return FailureInfo(told.summary, kind if colon else None, "\n".join(told.frames) or None, origin)


def _checkpoint_name(path: str) -> str:
    return path.rsplit("/", 1)[-1].partition("#")[0].partition("@")[0]


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _artifacts() -> Any:
    return importlib.import_module("clary.agent.artifacts")
