"""``KitaruClient``: looking at executions and moving them on. Each object is what was seen when it was asked for."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from clary.errors import NotFoundError
from clary.kitaru import statistics
from clary.kitaru.checkpoints import refuse
from clary.kitaru.errors import KitaruLogRetrievalError, KitaruRuntimeError, KitaruStateError, translated
from clary.kitaru.flows import service
from clary.kitaru.models import ArtifactRef, Execution, LogEntry, PendingWait, artifact_ref, execution, pending_wait
from clary.kitaru.replays import ReplaySubmission, Wanted, submit
from clary.kitaru.statuses import ExecutionStatus, status_of

_SCANNED = 1000
"""Executions that are looked through, the newest first, for those of one flow or one state."""


class KitaruClient:
    """The executions and artifacts of the stacks of this machine, by the current stack where none is named."""

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
        """Return executions of the current stack, newest first.

        ``limit`` is how many at most; ``page`` (from 1) and ``size`` (20) take a part. The newest 1,000 are looked at.
        """
        with translated():
            stack = service().choose_stack()
            views = service().list_runs(stack, limit=_SCANNED)
            wanted = None if status is None else ExecutionStatus(status)
            found = [
                view
                for view in views
                if flow in (None, view.flow) and (wanted is None or status_of(view.status) is wanted)
            ]
            if page is not None or size is not None:
                size = size or 20
                found = found[((page or 1) - 1) * size :][:size]
            return [execution(view, stack, self._client) for view in found[:limit]]

    def latest(self, *, flow: str | None = None, status: ExecutionStatus | str | None = None) -> Execution:
        """Return the newest execution; raises KitaruRuntimeError ``run.not_found`` where there is none."""
        found = self.list(flow=flow, status=status, limit=1)
        if not found:
            raise KitaruRuntimeError(
                "run.not_found",
                "There is no such execution on the current stack.",
                next_step="See which there are: clary runs list.",
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
        """Return the lines that an execution has printed, oldest first; ``limit`` the last ones."""
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
        return lines if limit is None else lines[-limit:]

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
            view = service().get_run(stack, run)
        return [pending_wait(one) for one in view.waits if one.outcome is None]

    def input(self, exec_id: str, *, wait: str, value: Any) -> Execution:
        """Answer a wait. On SageMaker the execution goes on at once; a local one with ``resume``.

        Raises KitaruWaitValidationError for a value that does not fit, KitaruStateError for a wait that is not open.
        """
        with translated():
            stack, run = service().find_run(exec_id)
            return execution(service().answer(stack, run, wait, value), stack, self._client)

    def abort_wait(self, exec_id: str, *, wait: str) -> Execution:
        """End a wait without an answer: it raises in the flow."""
        with translated():
            stack, run = service().find_run(exec_id)
            return execution(service().answer(stack, run, wait, None, abort=True), stack, self._client)

    def retry(self, exec_id: str) -> Execution:
        """Run the failed checkpoints of a failed execution again, under the same id."""
        with translated():
            stack, run = service().find_run(exec_id)
            return execution(service().retry(stack, run), stack, self._client)

    def resume(self, exec_id: str) -> Execution:
        """Let an execution go on whose wait was answered, or that was interrupted; one that goes on already does so.

        Raises KitaruStateError for one that still waits for input.
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
        """Return what an execution has kept: saved values, and outputs of checkpoints."""
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
            return artifact_ref(stack, service().get_run(stack, found), name)
