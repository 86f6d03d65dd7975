"""Replays in Kitaru's shape: one submission for one or several executions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from clary.errors import ClaryError
from clary.ids import new_id
from clary.kitaru import asking
from clary.kitaru.errors import KitaruBackendError, KitaruUsageError, translated
from clary.kitaru.names import call_name, call_path, checkpoint_name
from clary.kitaru.statuses import ExecutionStatus

if TYPE_CHECKING:
    from clary.kitaru.flows import FlowDefinition, FlowHandle


@dataclass(frozen=True)
class Wanted:
    """What is to be done otherwise than in the original, in Kitaru's words."""

    at: str
    flow: Mapping[str, Any] | None = None
    checkpoints: Mapping[str, Any] | None = None
    invocations: Mapping[str, Any] | None = None
    skip: Sequence[str] | None = None
    tag: str | None = None

    def plan(self, matched: dict[str, list[str]] | None = None) -> ReplayPlanDocument:
        """Return it as the submission tells it."""
        overrides = dict(self.flow or {}), dict(self.checkpoints or {}), dict(self.invocations or {})
        return ReplayPlanDocument(*overrides, list(self.skip or ()), matched or {})


@dataclass(frozen=True)
class ReplayPlanDocument:
    """What a replay was asked to do otherwise, as plain data."""

    flow_overrides: dict[str, Any] = field(default_factory=dict)
    checkpoint_overrides: dict[str, Any] = field(default_factory=dict)
    invocation_overrides: dict[str, Any] = field(default_factory=dict)
    skip: list[str] = field(default_factory=list)
    matched_targets: dict[str, list[str]] = field(default_factory=dict)
    """Names of the calls that each override is for, of the execution that was replayed last."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass
class ReplayResultRow:
    """One replay that was started and has not failed."""

    original_exec_ref: str
    original_exec_id: str
    replay_exec_id: str
    status: Literal["submitted", "completed"]
    compare_url: None = None
    handle: FlowHandle | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: value for name, value in vars(self).items() if name != "handle"}


@dataclass(frozen=True)
class ReplayFailureRow:
    """One execution whose replay could not be started, or failed."""

    original_exec_ref: str
    original_exec_id: str | None
    reason: str
    replay_exec_id: str | None = None
    """Of a replay that was started."""
    error_type: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class ReplaySkippedRow:
    """One execution that has not made the call from which it was to be replayed."""

    original_exec_ref: str
    original_exec_id: str | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class ReplaySummary:
    """How many of each."""

    submitted: int
    completed: int
    failed: int
    skipped: int = 0

    def to_json(self) -> dict[str, int]:
        """Return it as plain data."""
        return asdict(self)


@dataclass
class ReplaySubmission:
    """What came of a call of ``replay()``."""

    submission_id: str
    tag: str | None
    at: str
    wait: bool
    plan: ReplayPlanDocument
    results: list[ReplayResultRow] = field(default_factory=list)
    failures: list[ReplayFailureRow] = field(default_factory=list)
    skipped: list[ReplaySkippedRow] = field(default_factory=list)
    compare_url: None = None

    @property
    def summary(self) -> ReplaySummary:
        """How many were started, completed and failed, as far as it is known."""
        completed = sum(row.status == "completed" for row in self.results)
        return ReplaySummary(len(self.results), completed, len(self.failures), len(self.skipped))

    def wait_for_handles(self) -> ReplaySubmission:
        """Wait for the ends of all replays; raises for the first one that fails."""
        for row in self.results:
            if row.handle is not None:
                row.handle.wait()
                row.status = "completed"
        return self

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        rows = {name: [row.to_json() for row in getattr(self, name)] for name in ("results", "failures", "skipped")}
        plain = {name: getattr(self, name) for name in ("submission_id", "tag", "at", "wait", "compare_url")}
        return {**plain, **rows, "plan": self.plan.to_json(), "summary": self.summary.to_json()}


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
    originals = [execution] if isinstance(execution, str) else list(execution)
    if not originals or on_error not in (None, "collect", "fail"):
        raise KitaruUsageError(
            "kitaru.bad_option",
            f"on_error={on_error!r} is no choice." if originals else "There is no execution to replay.",
            next_step="Give “collect” or “fail”." if originals else "Give the id of one at least.",
            field="on_error" if originals else "execution",
        )
    alone = len(originals) == 1
    collect = on_error == "collect" or (on_error is None and not alone)
    waits = alone if wait is None else wait
    submission = ReplaySubmission(f"rs-{new_id()}", wanted.tag, wanted.at, waits, wanted.plan())
    started = [one for ref in originals if (one := _tried(ref, wanted, flow, submission, collect=collect)) is not None]
    for one in started:
        _settle(one, submission, collect=collect)
    return submission


def _tried(
    ref: str, wanted: Wanted, flow: FlowDefinition[..., Any] | None, submission: ReplaySubmission, *, collect: bool
) -> ReplayResultRow | None:
    """Start one replay; None where that was not possible, or makes no sense, and the others go on."""
    found = None
    try:
        with translated():
            found = _Original(ref)
            if collect and not found.has(wanted.at):
                submission.skipped.append(ReplaySkippedRow(ref, found.run, found.no_such(wanted.at)))
                return None
            submission.plan = wanted.plan(found.matched(wanted))
            return found.replayed(wanted, flow)
    except ClaryError as error:
        if not collect:
            raise
        original = None if found is None else found.run
        submission.failures.append(ReplayFailureRow(ref, original, error.summary, None, type(error).__name__))
    return None


def _settle(row: ReplayResultRow, submission: ReplaySubmission, *, collect: bool) -> None:
    """Put a started replay among the results, or, where it fails, among the failures."""
    assert row.handle is not None
    try:
        if submission.wait or row.handle.status.is_finished:
            _end_of(row, row.handle)
            row.status = "completed"
    except ClaryError as error:
        if not collect:
            raise
        failed = row.original_exec_ref, row.original_exec_id, error.summary, row.replay_exec_id, type(error).__name__
        submission.failures.append(ReplayFailureRow(*failed))
        return
    submission.results.append(row)


def _end_of(row: ReplayResultRow, handle: FlowHandle) -> None:
    """Wait for the end of a replay; raises for one that fails, KitaruBackendError where it did so at once, as here."""
    at_once = handle.status is ExecutionStatus.FAILED
    try:
        handle.wait()
    except ClaryError as error:
        if not at_once:
            raise
        raise KitaruBackendError(
            error.code,
            f"The replay {row.replay_exec_id} of {row.original_exec_id} has failed: {error.summary}",
            next_step=error.next_step,
            details=error.details,
        ) from error


class _Original:
    """An execution that is to be replayed."""

    def __init__(self, ref: str) -> None:
        from clary.kitaru.flows import service

        self._service = service()
        self._stack, self.run = self._service.find_run(ref)
        self._ref = ref
        self._calls = [call.path for call in self._service.get_run(self._stack, self.run).calls]

    def has(self, name: str) -> bool:
        """Tell whether it has made such a call, or calls of such a checkpoint."""
        return self._path(name) in self._calls or name in map(checkpoint_name, self._calls)

    def no_such(self, name: str) -> str:
        """Return in words that it has not."""
        return f"Execution {self.run} has no call {name!r}. It has: {', '.join(map(call_name, self._calls)) or 'none'}."

    def matched(self, wanted: Wanted) -> dict[str, list[str]]:
        """Return names of the calls that overrides are for."""
        found = {}
        for scope, overrides in (("checkpoint", wanted.checkpoints), ("invocation", wanted.invocations)):
            for name in overrides or {}:
                meant = [path for path in self._calls if path == self._path(name)]
                if scope == "checkpoint":
                    meant = [path for path in self._calls if checkpoint_name(path) == name] or meant
                found[f"{scope}:{name}"] = [call_name(path) for path in meant]
        return found

    def replayed(self, wanted: Wanted, flow: FlowDefinition[..., Any] | None) -> ReplayResultRow:
        """Start a replay of it."""
        from clary.flows import RunHandle
        from clary.kitaru.flows import FlowHandle

        names = set(map(checkpoint_name, self._calls))
        checkpoints = {name: one for name, one in (wanted.checkpoints or {}).items() if name in names}
        single = {name: one for name, one in (wanted.checkpoints or {}).items() if name not in names}
        changes = self._service.Changes(
            dict(wanted.flow or {}),
            checkpoints,
            {self._path(name): one for name, one in {**single, **(wanted.invocations or {})}.items()},
            tuple(self._path(name) for name in wanted.skip or ()),
        )
        view = self._service.replay(
            self._stack,
            self.run,
            self._path(wanted.at),
            changes,
            tag=wanted.tag,
            on_change="rerun" if self._mocks_before_cut(wanted) else None,
            flow=None if flow is None else self._service.target_of(flow),
        )
        asking.ask(view.id, flow)
        handle = FlowHandle(RunHandle(view.id, self._stack, self._service))
        return ReplayResultRow(self._ref, self.run, view.id, "submitted", handle=handle)

    def _mocks_before_cut(self, wanted: Wanted) -> bool:
        """Tell whether a copied output is replaced: what the flow gives it to then runs again, as in Kitaru."""
        overrides = [*(wanted.checkpoints or {}).items(), *(wanted.invocations or {}).items()]
        mocked = {name for name, one in overrides if isinstance(one, Mapping) and "output" in one}
        paths = mocked | set(map(self._path, mocked))
        cut = self._path(wanted.at)
        copied = self._calls[: self._calls.index(cut)] if cut in self._calls else self._calls
        return any(path in paths or checkpoint_name(path) in mocked for path in copied)

    def _path(self, name: str) -> str:
        return call_path(name, self._calls)
