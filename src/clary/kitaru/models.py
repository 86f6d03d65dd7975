"""What ``KitaruClient`` returns: plain, frozen data with Kitaru's names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from clary.kitaru.errors import FailureOrigin, origin_of, translated
from clary.kitaru.kept import Kept, moment
from clary.kitaru.names import call_name, checkpoint_name
from clary.kitaru.statuses import ExecutionStatus, status_of

if TYPE_CHECKING:
    from clary.agent.views import CallView, RunView, WaitView
    from clary.kitaru.client import KitaruClient
    from clary.kitaru.kept import ArtifactRef
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
class CheckpointAttempt:
    """One try of a checkpoint's body."""

    attempt_id: str
    status: ExecutionStatus
    started_at: datetime | None
    """None for a try after which another followed."""
    ended_at: datetime | None
    metadata: dict[str, Any]
    failure: FailureInfo | None


@dataclass(frozen=True)
class CheckpointCall:
    """One recorded call of a checkpoint."""

    call_id: str
    """Its path."""
    name: str
    status: ExecutionStatus
    started_at: datetime | None
    ended_at: datetime | None
    original_call_id: str | None
    """Of a result that another execution has computed: that call."""
    _kept: Kept = field(repr=False, compare=False)
    parent_call_ids: list[str] = field(default_factory=list)
    """Empty: the record knows what a call was given, not which call had made it."""
    checkpoint_origin: Literal["user"] = "user"
    adapter: None = None
    adapter_checkpoint_kind: None = None
    replay_input_slots: list[str] = field(default_factory=list)
    replay_output_slots: list[str] = field(default_factory=list)

    @property
    def metadata(self) -> dict[str, Any]:
        """What its body has noted with ``log()``."""
        return self._kept.record.facts(self.call_id)

    @property
    def checkpoint_type(self) -> str | None:
        """What the checkpoint was declared with."""
        return self._kept.record.type_of(checkpoint_name(self.call_id))

    @property
    def failure(self) -> FailureInfo | None:
        """Why it failed; None where it did not."""
        if self.status is not ExecutionStatus.FAILED:
            return None
        return _failure_of_call(self._kept.record.failure(self.call_id) or {})

    @property
    def attempts(self) -> list[CheckpointAttempt]:
        """The tries of its body: those that failed, and the last one."""
        failed = [
            CheckpointAttempt(
                f"{self.call_id}:{record['n']}",
                ExecutionStatus.FAILED,
                None,
                moment(entry["at"]),
                {},
                _failure_of_call(record["error"]),
            )
            for entry, record in self._kept.record.failed_tries(self.call_id)
        ]
        last = f"{self.call_id}:{len(failed) + 1}"
        times = self.started_at, self.ended_at
        return [*failed, CheckpointAttempt(last, self.status, *times, self.metadata, self.failure)]

    @property
    def artifacts(self) -> list[ArtifactRef]:
        """Its output, and what its body has saved."""
        return self._kept.artifacts(self.call_id)

    @property
    def llm_usage_records(self) -> list[dict[str, Any]]:
        """Empty: Clary calls no models."""
        return []


@dataclass(frozen=True)
class ResolvedExecution:
    """What held for an execution when it was started last."""

    stack: str
    image: Any
    cache: bool | None
    retries: int


@dataclass(frozen=True)
class FrozenExecutionSpec:
    """What an execution was started with."""

    resolved_execution: ResolvedExecution
    version: int = 1


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
    status_reason: str | None
    failure: FailureInfo | None
    pending_wait: PendingWait | None
    original_exec_id: str | None
    """Of a replay: the execution that it replays."""
    replay_tag: str | None
    """Of a replay: its word for people."""
    checkpoints: list[CheckpointCall]
    _kept: Kept = field(repr=False, compare=False)
    _client: KitaruClient = field(repr=False, compare=False)
    project_id: None = None
    project_name: None = None
    llm_usage_summary: None = None
    """None: Clary calls no models."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What the flow's body has noted with ``log()``, and of what it is a replay."""
        told = {"original_exec_id": self.original_exec_id, "replay_tag": self.replay_tag}
        return {name: one for name, one in told.items() if one is not None} | self._kept.record.facts("")

    @property
    def artifacts(self) -> list[ArtifactRef]:
        """What it has kept: outputs of checkpoints, and saved values."""
        return self._kept.artifacts()

    @property
    def frozen_execution_spec(self) -> FrozenExecutionSpec:
        """What it was started with."""
        with translated():
            told = importlib.import_module("clary.agent.service").specification(self._kept.stack, self.exec_id)
        held = {one["name"]: one["value"] for one in told["values"]}
        parts = {name.removeprefix("image."): held[name] for name in held if name.startswith("image.")}
        resolved = ResolvedExecution(
            self.stack_name, held.get("image", parts or None), held.get("cache"), held.get("retries.count", 0)
        )
        return FrozenExecutionSpec(resolved)

    @property
    def llm_usage_records(self) -> list[dict[str, Any]]:
        """Empty: Clary calls no models."""
        return []

    def list_checkpoints(self) -> list[CheckpointCall]:
        """Return the recorded calls."""
        return list(self.checkpoints)

    def list_artifacts(self) -> list[ArtifactRef]:
        """Return what it has kept: outputs of checkpoints, and saved values."""
        return self.artifacts

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
    open_ = open_waits(view)
    replay = view.replay_of or {}
    kept = Kept(stack, view.id, view.flow)
    plain = {name: value for name, value in fields_of(view).items() if name != "metadata"}
    return Execution(
        **plain,
        failure=failure_info(view),
        pending_wait=pending_wait(open_[0]) if open_ else None,
        original_exec_id=replay.get("run"),
        replay_tag=replay.get("tag"),
        checkpoints=[_call(one, kept) for one in view.calls],
        _kept=kept,
        _client=client,
    )


def fields_of(view: RunView) -> dict[str, Any]:
    """Return the plain fields of an execution."""
    return {
        "exec_id": view.id,
        "flow_id": view.flow,
        "flow_name": view.flow,
        "status": status_of(view.status),
        "started_at": moment(view.started or view.created),
        "ended_at": moment(view.ended),
        "stack_name": view.stack,
        "metadata": dict(view.facts),
        "status_reason": None if view.failure is None else view.failure.summary,
    }


def open_waits(view: RunView) -> list[WaitView]:
    """Return what a run asks, which nobody has answered; nothing once it is over."""
    over = status_of(view.status).is_finished
    return [one for one in view.waits if one.outcome is None and not over]


def pending_wait(wait: WaitView) -> PendingWait:
    """Return an open wait in Kitaru's shape."""
    return PendingWait(wait.path, wait.name, wait.question, wait.schema or None, wait.metadata, moment(wait.asked))


def _call(view: CallView, kept: Kept) -> CheckpointCall:
    times = moment(view.started), moment(view.ended)
    original = (view.origin or {}).get("path")
    return CheckpointCall(view.path, call_name(view.path), status_of(view.status), *times, original, kept)


def _failure_of_call(error: Mapping[str, Any]) -> FailureInfo:
    kind, message = error.get("type"), error.get("message", "")
    return FailureInfo(f"{kind}: {message}", kind, error.get("traceback"), FailureOrigin.USER_CODE)


def failure_info(view: RunView) -> FailureInfo | None:
    """Return why a run failed, in Kitaru's shape; None where it did not."""
    told = view.failure
    if told is None:
        return None
    kind, colon, _ = told.summary.partition(": ")
    origin = FailureOrigin.DIVERGENCE if kind == "DivergenceError" else origin_of(told.cause)
    return FailureInfo(told.summary, kind if colon else None, "\n".join(told.frames) or None, origin)
