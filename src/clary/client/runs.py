"""``Client().runs``: runs as plain views, and what can be done with them."""

from __future__ import annotations

import builtins
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.agent import service
from clary.agent.views import STATUSES
from clary.errors import NotFoundError, UsageError, nearest
from clary.flows.flow import CallOptions

if TYPE_CHECKING:
    from clary.agent.replay import Changes
    from clary.agent.views import RunView, WaitView
    from clary.stacks.model import Stack

_COUNTED = 1000
"""Runs that numbers are about, unless more are asked for."""


@dataclass(frozen=True)
class Statistics:
    """Numbers about runs."""

    count: int
    by_status: Mapping[str, int]
    by_flow: Mapping[str, int]
    median_seconds: float | None
    """Of completed runs, from the first start to the end; None where there is none."""
    longest_seconds: float | None
    billable_seconds: int
    """Of all jobs of these runs, as far as SageMaker has told."""


class Runs:
    """The runs of a stack, a colleague's too."""

    def __init__(self, stack: str | None) -> None:
        self._stack = stack

    def find(self, run: str) -> tuple[Stack, str]:
        """Return the stack and the full id of a run.

        Raises NotFoundError ``run.not_found`` or ``run.none_yet``, UsageError ``run.ambiguous`` or ``run.bad_id``.
        """
        _check_id(run)
        if run == "latest":
            return self._place(), self.latest().id
        return service.find_run(run, None if self._stack is None else self._place())

    def get(self, run: str) -> RunView:
        """Return a run, brought up to date."""
        return service.get_run(*self.find(run))

    def list(self, *, limit: int = 20, status: str | None = None, flow: str | None = None) -> builtins.list[RunView]:
        """Return up to ``limit`` runs, newest first, of one status and one flow if they are named.

        Raises UsageError ``run.unknown_status``.
        """
        if status is not None and status not in STATUSES:
            raise _unknown_status(status)
        return service.list_runs(self._place(), limit=limit, status=status, flow=flow)

    def latest(self, *, flow: str | None = None) -> RunView:
        """Return the newest run, of one flow if it is named; raises NotFoundError ``run.none_yet``."""
        found = self.list(limit=1, flow=flow)
        if found:
            return found[0]
        raise NotFoundError(
            "run.none_yet",
            f"There is no run{'' if flow is None else f' of {flow}'} on the stack {self._place().name!r} yet.",
            next_step="Start one with FLOW.run(…), or name another stack: Client(stack=…).",
        )

    def statistics(self, *, limit: int = _COUNTED, flow: str | None = None) -> Statistics:
        """Return numbers about the newest ``limit`` runs."""
        runs = self.list(limit=limit, flow=flow)
        took = [
            run.ended - run.started
            for run in runs
            if run.status == "completed" and run.started is not None and run.ended is not None
        ]
        return Statistics(
            count=len(runs),
            by_status=dict(Counter(run.status for run in runs)),
            by_flow=dict(Counter(run.flow for run in runs)),
            median_seconds=statistics.median(took) if took else None,
            longest_seconds=max(took, default=None),
            billable_seconds=sum(attempt.billable_seconds or 0 for run in runs for attempt in run.attempts),
        )

    def logs(self, run: str, *, follow: bool = False) -> Iterator[tuple[str, float, str]]:
        """Yield a run's output as (host, epoch seconds, line), all attempts in order; with ``follow`` to its end."""
        return service.logs(*self.find(run), follow=follow)

    def wait(self, run: str, timeout: float | None = None) -> RunView:
        """Wait until nothing runs for a run any more; raises RunTimeoutError after ``timeout`` seconds."""
        return service.wait(*self.find(run), timeout)

    def result(self, run: str) -> Any:
        """Return the value of a completed run. Reading a pickled one runs code; see ``clary.agent.service.result``."""
        return service.result(*self.find(run))

    def stop(self, run: str) -> RunView:
        """Ask a run to stop."""
        return service.stop(*self.find(run))

    def resume(
        self,
        run: str,
        *,
        on_change: str | None = None,
        image: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> RunView:
        """Go on with a run that ended without a result, under the same id; what is recorded does not run again.

        Args:
            run: which.
            on_change: a recorded call whose code changed: ``error``, ``rerun`` or ``accept``.
            image: for this attempt and those after it; everything else holds as when the run was started.
            settings: of the job, likewise.
        """
        call = CallOptions(image=image, settings=dict(settings or {}))
        return service.resume(*self.find(run), on_change=on_change, call=call)

    def retry(self, run: str) -> RunView:
        """Run the calls again whose failure a run ended with, and only those; ConflictError ``run.not_failed``."""
        return service.retry(*self.find(run))

    def replay(
        self,
        run: str,
        at: str,
        *,
        changes: Changes | None = None,
        tag: str | None = None,
        on_change: str | None = None,
    ) -> RunView:
        """Start a new run whose record begins with a copy of a run's, up to the call ``at``; see ``FLOW.replay``."""
        return service.replay(*self.find(run), at, changes, tag=tag, on_change=on_change)

    def waits(self, run: str) -> builtins.list[WaitView]:
        """Return what a run has asked and nobody has answered."""
        return [wait for wait in self.get(run).waits if wait.outcome is None]

    def answer(self, run: str, name: str | None, value: Any) -> RunView:
        """Answer what a run has asked by that name; None: the only open question."""
        return service.answer(*self.find(run), name, value)

    def abort_wait(self, run: str, name: str | None = None) -> RunView:
        """End a wait without an answer: it raises in the flow."""
        return service.answer(*self.find(run), name, None, abort=True)

    def _place(self) -> Stack:
        return service.choose_stack(self._stack)


def _check_id(run: Any) -> None:
    if not isinstance(run, str) or not run:
        raise UsageError(
            "run.bad_id",
            f"{run!r} is no id of a run.",
            next_step="Give the id, the beginning of it, or “latest”; `clary runs list` shows them.",
            field="run",
        )


def _unknown_status(status: Any) -> UsageError:
    meant = nearest(str(status), STATUSES)
    hint = f"Did you mean “{meant}”? " if meant else ""
    return UsageError(
        "run.unknown_status",
        f"A run cannot be {status!r}.",
        next_step=f"{hint}The states of runs are: {', '.join(STATUSES)}.",
        field="status",
    )
