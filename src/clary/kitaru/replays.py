"""Replays in Kitaru's shape: one submission for one or several executions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from clary.errors import ClaryError
from clary.ids import new_id
from clary.kitaru.errors import KitaruUsageError, translated
from clary.kitaru.statuses import ExecutionStatus

if TYPE_CHECKING:
    from clary.kitaru.flows import FlowDefinition, FlowHandle

_COUNTED = re.compile(r"(.+)_(\d+)")


@dataclass(frozen=True)
class Wanted:
    """What is to be done otherwise than in the original, in Kitaru's words."""

    at: str
    flow: Mapping[str, Any] | None = None
    checkpoints: Mapping[str, Any] | None = None
    invocations: Mapping[str, Any] | None = None
    skip: Sequence[str] | None = None
    tag: str | None = None


@dataclass
class ReplayResultRow:
    """One replay that was started."""

    original_exec_ref: str
    original_exec_id: str
    replay_exec_id: str
    status: ExecutionStatus
    compare_url: None = None
    handle: FlowHandle | None = None


@dataclass(frozen=True)
class ReplayFailureRow:
    """One execution whose replay could not be started, or failed while it was waited for."""

    original_exec_ref: str
    replay_exec_id: str | None
    message: str
    error_type: str


@dataclass(frozen=True)
class ReplaySummary:
    """How many of each."""

    submitted: int
    completed: int
    failed: int
    skipped: int = 0


@dataclass
class ReplaySubmission:
    """What came of a call of ``replay()``."""

    submission_id: str
    tag: str | None
    at: str
    wait: bool
    results: list[ReplayResultRow] = field(default_factory=list)
    failures: list[ReplayFailureRow] = field(default_factory=list)
    skipped: list[Any] = field(default_factory=list)
    compare_url: None = None

    @property
    def summary(self) -> ReplaySummary:
        """How many were started, completed and failed, as far as it is known."""
        completed = sum(row.status is ExecutionStatus.COMPLETED for row in self.results)
        return ReplaySummary(len(self.results), completed, len(self.failures), len(self.skipped))

    def wait_for_handles(self) -> ReplaySubmission:
        """Wait for the ends of all replays; failures go into ``failures``."""
        for row in self.results:
            if row.handle is None or row.status.is_finished:
                continue
            try:
                row.handle.wait()
            except ClaryError as error:
                self.failures.append(_failure(row.original_exec_ref, row.replay_exec_id, error))
            row.status = row.handle.status
        return self

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        rows = [{name: value for name, value in vars(row).items() if name != "handle"} for row in self.results]
        return {
            "submission_id": self.submission_id,
            "tag": self.tag,
            "at": self.at,
            "wait": self.wait,
            "results": rows,
            "failures": [asdict(row) for row in self.failures],
            "skipped": self.skipped,
            "summary": asdict(self.summary),
            "compare_url": self.compare_url,
        }


def submit(
    execution: str | Sequence[str],
    wanted: Wanted,
    *,
    wait: bool | None,
    on_error: Literal["collect", "fail"] | None,
    flow: FlowDefinition[..., Any] | None,
) -> ReplaySubmission:
    """Start a replay of each execution; see ``FlowDefinition.replay``. ``flow`` None: the code is found by the record.

    Raises KitaruUsageError ``kitaru.bad_option``, and, unless failures are collected, the first one.
    """
    if on_error not in (None, "collect", "fail"):
        raise KitaruUsageError(
            "kitaru.bad_option", f"on_error={on_error!r} is no choice.", next_step="Give “collect” or “fail”."
        )
    originals = [execution] if isinstance(execution, str) else list(execution)
    collect = on_error == "collect" or (on_error is None and not isinstance(execution, str))
    submission = ReplaySubmission(f"rs-{new_id()}", wanted.tag, wanted.at, wait is not False)
    for original in originals:
        try:
            with translated():
                submission.results.append(_started(original, wanted, flow))
        except ClaryError as error:
            if not collect:
                raise
            submission.failures.append(_failure(original, None, error))
    if submission.wait:
        submission.wait_for_handles()
    return submission


def _started(original: str, wanted: Wanted, flow: FlowDefinition[..., Any] | None) -> ReplayResultRow:
    from clary.flows import RunHandle
    from clary.kitaru.flows import FlowHandle, service

    door = service()
    stack, run = door.find_run(original)
    known = [call.path for call in door.get_run(stack, run).calls]
    changes = door.Changes(
        dict(wanted.flow or {}),
        dict(wanted.checkpoints or {}),
        {call_path(name, known): one for name, one in (wanted.invocations or {}).items()},
        tuple(call_path(name, known) for name in wanted.skip or ()),
    )
    target = None if flow is None else door.target_of(flow)
    view = door.replay(stack, run, call_path(wanted.at, known), changes, tag=wanted.tag, flow=target)
    handle = FlowHandle(RunHandle(view.id, stack, door))
    return ReplayResultRow(original, run, view.id, handle.status, handle=handle)


def call_path(name: str, known: Sequence[str]) -> str:
    """Return the path of a call that is named in Kitaru's words: ``fit`` is the first, ``fit_2`` the second."""
    if name in known or f"{name}#1" in known:
        return name if name in known else f"{name}#1"
    counted = _COUNTED.fullmatch(name)
    if counted is not None and f"{counted[1]}#{counted[2]}" in known:
        return f"{counted[1]}#{counted[2]}"
    named = [path for path in known if path.endswith(f"@{name}")]
    return named[0] if len(named) == 1 else name


def _failure(original: str, replay: str | None, error: ClaryError) -> ReplayFailureRow:
    return ReplayFailureRow(original, replay, error.summary, type(error).__name__)
