"""``KitaruClient``: looking at executions and moving them on. Each object is what was seen when it was asked for."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from clary import flows
from clary.errors import ClaryError, NotFoundError
from clary.kitaru import statistics
from clary.kitaru.checkpoints import refuse
from clary.kitaru.errors import (
    KitaruLogRetrievalError,
    KitaruNoExecutionError,
    KitaruStateError,
    KitaruUsageError,
    translated,
)
from clary.kitaru.flows import service
from clary.kitaru.kept import ArtifactRef, Kept
from clary.kitaru.models import Execution, LogEntry, PendingWait, execution, open_waits, pending_wait
from clary.kitaru.replays import ReplaySubmission, Wanted, submit
from clary.kitaru.statuses import ExecutionStatus, status_of

_SCANNED = 1000
"""Executions that are looked through, the newest first, for those of one flow or one state."""


class KitaruClient:
    """The executions and artifacts of the stacks of this machine."""

    def __init__(
        self, *, server_url: str | None = None, auth_token: str | None = None, project: str | None = None
    ) -> None:
        for name, value in {"server_url": server_url, "auth_token": auth_token, "project": project}.items():
            if value is not None:
                refuse(f"KitaruClient({name}=)", "there is no server to ask.", "Leave it out: the stack is asked.")
        self.executions = Executions(self)
        self.artifacts = Artifacts(self)

    def __getattr__(self, name: str) -> Any:
        if name in ("deployments", "auth", "projects"):
            refuse(f"KitaruClient.{name}", "it belongs to a server, and Clary has none yet.", "Take it out.")
        raise AttributeError(name)


class Executions:
    """``client.executions``."""

    def __init__(self, client: KitaruClient) -> None:
        self._client = client

    def get(self, exec_id: str) -> Execution:
        """Return an execution, brought up to date."""
        with translated():
            stack, run = service().find_run(exec_id)
            return execution(service().get_run(stack, run), stack, self._client)

    def list(
        self,
        *,
        flow: str | None = None,
        status: ExecutionStatus | str | None = None,
        limit: int | None = None,
        page: int | None = None,
        size: int | None = None,
    ) -> builtins.list[Execution]:
        """Return executions of all stacks of this machine, newest first; a stack out of reach is left out.

        ``limit`` is how many at most; ``page`` (from 1) and ``size`` take a part. The newest 1,000 of each stack are
        looked at. Raises KitaruUsageError ``kitaru.bad_option``, and what is wrong with the current stack.
        """
        _check_counts(limit, page, size)
        wanted = _status(status)
        with translated():
            found = [
                (stack, view)
                for stack, view in _newest(flow, _SCANNED if wanted or page or limit is None else limit)
                if wanted in (None, status_of(view.status))
            ]
        if size is not None:
            found = found[((page or 1) - 1) * size :][:size]
        return [execution(view, stack, self._client) for stack, view in found[:limit]]

    def latest(self, *, flow: str | None = None, status: ExecutionStatus | str | None = None) -> Execution:
        """Return the newest execution; raises LookupError (``run.not_found``) where there is none."""
        found = self.list(flow=flow, status=status, limit=1)
        if not found:
            raise KitaruNoExecutionError(
                "run.not_found",
                "There is no such execution on the stacks of this machine.",
                next_step="See which there are: clary runs list --stack NAME.",
            )
        return found[0]

    def statistics(
        self,
        *,
        group_by: Sequence[Any] = (),
        metrics: Sequence[Any] = (),
        flow: str | None = None,
        status: ExecutionStatus | str | None = None,
        stack: str | None = None,
        tags: Sequence[str] | None = None,
        max_groups: int = 1000,
    ) -> statistics.ExecutionStatistics:
        """Count executions by flow, status, stack or time; see ``clary.kitaru.statistics``."""
        if tags:
            refuse("statistics(tags=)", "executions have no tags.", "Leave it out.")
        found = [one for one in self.list(flow=flow, status=status) if stack in (None, one.stack_name)]
        return statistics.collect(found, group_by, metrics, max_groups)

    def logs(
        self, exec_id: str, *, checkpoint: str | None = None, source: str = "step", limit: int | None = None
    ) -> builtins.list[LogEntry]:
        """Return the lines that an execution has printed, oldest first; ``limit`` how many of them."""
        if checkpoint is not None:
            refuse(
                "logs(checkpoint=)",
                "the checkpoints of an execution print into one log.",
                "Leave it out, and let the checkpoint print its name.",
            )
        try:
            stack, run = service().find_run(exec_id)
            lines = [LogEntry.of(host, when, text, source) for host, when, text in service().logs(stack, run)]
        except NotFoundError as error:
            raise KitaruLogRetrievalError(error.code, error.summary, next_step=error.next_step) from error
        return lines[:limit]

    def events(self, exec_id: str, **_options: Any) -> Any:
        """Not here: raises KitaruFeatureNotAvailableError."""
        refuse("events()", "no server streams them.", f"Follow the output: clary runs logs {exec_id} -f.")

    def cohort(self, **_options: Any) -> Any:
        """Not here: raises KitaruFeatureNotAvailableError."""
        refuse("cohort()", "there are no cohorts.", "Select with .list(flow=…, status=…), replay with .replay([…]).")

    def pending_waits(self, exec_id: str) -> builtins.list[PendingWait]:
        """Return what an execution asks and nobody has answered."""
        with translated():
            stack, run = service().find_run(exec_id)
            return [pending_wait(one) for one in open_waits(service().get_run(stack, run))]

    def input(self, exec_id: str, *, wait: str, value: Any) -> Execution:
        """Answer a wait. On SageMaker the execution goes on at once; a local one with ``resume``.

        Raises KitaruWaitValidationError for a value that does not fit, KitaruStateError for a wait that is not open.
        """
        with translated():
            stack, run = service().find_run(exec_id)
            return execution(service().answer(stack, run, wait, value), stack, self._client)

    def abort_wait(self, exec_id: str, *, wait: str) -> Execution:
        """Cancel an execution in place of answering what it asks; the flow does not go on.

        Raises KitaruStateError for a wait that is not open.
        """
        with translated():
            stack, run = service().find_run(exec_id)
            if not any(wait in (one.name, one.path) for one in open_waits(service().get_run(stack, run))):
                raise KitaruStateError(
                    "wait.not_found",
                    f"Execution {run} does not ask for {wait!r}.",
                    next_step=f"See what it asks: clary runs waits {run}.",
                    field="wait",
                )
            return execution(service().stop(stack, run), stack, self._client)

    def retry(self, exec_id: str) -> Execution:
        """Run the failed checkpoints of a failed execution again, under the same id."""
        with translated():
            stack, run = service().find_run(exec_id)
            return execution(service().retry(stack, run), stack, self._client)

    def resume(self, exec_id: str) -> Execution:
        """Let an execution go on whose wait was answered, or that was interrupted; one that goes on already does so.

        Raises KitaruStateError for one that still waits for input, has failed or was cancelled.
        """
        with translated():
            stack, run = service().find_run(exec_id)
            view = service().get_run(stack, run)
            if view.status == "waiting" and any(one.outcome is None for one in view.waits):
                raise KitaruStateError(
                    "kitaru.waits_for_input",
                    f"Execution {run} waits for input.",
                    next_step=f"Answer first: clary runs answer {run} VALUE.",
                    details={"run": run},
                )
            if view.status in _ENDED:
                raise KitaruStateError(
                    "kitaru.not_paused",
                    f"Execution {run} is {status_of(view.status)}: nothing of it is paused.",
                    next_step=f"Run what has failed again: .retry({run!r}). Else: clary runs resume {run}.",
                    details={"run": run},
                )
            if not status_of(view.status).is_successful and view.status not in _UNDER_WAY:
                view = service().resume(stack, run)
            return execution(view, stack, self._client)

    def replay(
        self,
        execution: str | Sequence[str],
        *,
        at: str,
        flow_overrides: Mapping[str, Any] | None = None,
        checkpoint_overrides: Mapping[str, Any] | None = None,
        invocation_overrides: Mapping[str, Any] | None = None,
        skip: Sequence[str] | None = None,
        tag: str | None = None,
        wait: bool | None = None,
        on_error: Literal["collect", "fail"] | None = None,
    ) -> ReplaySubmission:
        """Do as ``FLOW.replay`` does; the flow is found by the record, in the project that it came from."""
        wanted = Wanted(at, flow_overrides, checkpoint_overrides, invocation_overrides, skip, tag)
        return submit(execution, wanted, wait=wait, on_error=on_error, flow=None)

    def cancel(self, exec_id: str) -> Execution:
        """Ask an execution to stop: its SageMaker job is stopped, and it is ``cancelled`` when the job is gone."""
        with translated():
            stack, run = service().find_run(exec_id)
            return execution(service().stop(stack, run), stack, self._client)


_ENDED = frozenset({"failed", "timed_out", "stopped"})
_UNDER_WAY = frozenset({"queued", "preparing", "submitted", "starting", "running", "stopping"})


class Artifacts:
    """``client.artifacts``."""

    def __init__(self, client: KitaruClient) -> None:
        self._client = client

    def list(
        self,
        exec_id: str,
        *,
        name: str | None = None,
        kind: str | None = None,
        producing_call: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[ArtifactRef]:
        """Return what an execution has kept: outputs of checkpoints, and saved values."""
        found = self._client.executions.get(exec_id).list_artifacts()
        return [
            one
            for one in found
            if name in (None, one.name) and kind in (None, one.kind) and producing_call in (None, one.producing_call)
        ][:limit]

    def get(self, artifact_id: str) -> ArtifactRef:
        """Return an artifact by its id, ``EXECUTION:NAME``."""
        with translated():
            run, _, name = artifact_id.partition(":")
            stack, found = service().find_run(run)
            view = service().get_run(stack, found)
        return Kept(stack, found, view.flow).artifact(name)


def _newest(flow: str | None, limit: int) -> builtins.list[tuple[Any, Any]]:
    """Return the newest runs of each stack with that stack, newest first; one that two stacks share comes once."""
    current = service().choose_stack()
    found: dict[str, tuple[Any, Any]] = {}
    for stack in [current, *(one for one in flows.list_stacks() if one.name != current.name)]:
        try:
            views = service().list_runs(stack, limit=limit, flow=flow)
        except ClaryError:
            if stack is current:
                raise
            continue  # one stack out of reach must not hide the executions of another
        for view in views:
            found.setdefault(view.id, (stack, view))
    return sorted(found.values(), key=lambda pair: pair[1].created, reverse=True)


def _status(given: ExecutionStatus | str | None) -> ExecutionStatus | None:
    known = [str(one) for one in ExecutionStatus]
    if given is None or given.strip().lower() in known:
        return None if given is None else ExecutionStatus(given.strip().lower())
    raise KitaruUsageError(
        "kitaru.bad_option",
        f"status={given!r} is no state of an execution.",
        next_step=f"It is one of: {', '.join(known)}.",
        field="status",
    )


def _check_counts(limit: int | None, page: int | None, size: int | None) -> None:
    given = {"limit": limit, "page": page, "size": size}
    wrong = [name for name, value in given.items() if value is not None and value < 1]
    if wrong or (page is not None and size is None):
        raise KitaruUsageError(
            "kitaru.bad_option",
            f"{wrong[0]}={given[wrong[0]]} is no count." if wrong else "page= needs size=.",
            next_step="Give 1 or more." if wrong else "Say how many executions a page has.",
            field=wrong[0] if wrong else "size",
        )
