"""The flow's side of isolated calls: what the engine asks, and what it is given back."""

from __future__ import annotations

import inspect
import json
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

from clary.artifacts import encode
from clary.engine import failure
from clary.errors import AwsError, ClaryError, JournalError, UsageError
from clary.runtime.isolated.dispatch import Dispatcher
from clary.runtime.isolated.finding import find_checkpoint
from clary.runtime.isolated.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.engine.execution import Call, Execution
    from clary.flows.isolation import Isolation
    from clary.journal.records import Record
    from clary.runtime.isolated.dispatch import Ticket

_QUIET_SECONDS = 30.0
"""For which the end of a run waits for a request that is under way, before it stops the jobs of its calls."""


class IsolatedCalls:
    """Runs the calls of isolated checkpoints in jobs of their own (``clary.engine.extensions.Elsewhere``)."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._lock = threading.Lock()
        self._tickets: dict[str, Ticket] = {}
        self._specs: dict[str, Record] = {}
        self._kept: dict[str, Record] = {}
        self._dispatcher = Dispatcher(self)

    # -- what the engine asks

    def takes(self, call: Call) -> bool:
        """Tell whether the call's checkpoint is isolated."""
        return isolation_of(call) is not None

    def begin(self, call: Call, at: float, needed: Callable[[], bool], ready: Callable[[], object]) -> None:
        """Queue the call; ``ready`` is called when its result is there."""
        self._ticket(call, at, needed).tell(ready)

    def run(self, call: Call) -> Record:
        """Return the encoded value of the call, waiting for its job; raises what the body raised."""
        ticket = self._ticket(call)
        ticket.ended.wait()
        with self._lock:
            self._tickets.pop(call.path, None)
        if not ticket.used:  # a result that was there has been lost since: then it has to run
            return self.run(call)
        return self._taken(ticket)

    # -- what the dispatcher needs

    @property
    def execution(self) -> Execution:
        """The attempt whose calls these are."""
        return self._execution

    @property
    def spec(self) -> Record:
        """What this attempt runs, as it was frozen at submit."""
        with self._lock:
            journal = self._execution.journal
            digest = journal.state.attempts[journal.attempt].spec["digest"]
            if digest not in self._specs:
                self._specs[digest] = _read_spec(self._execution, digest)
            return self._specs[digest]

    def jobs(self) -> Jobs:
        """Return the way to SageMaker's jobs."""
        return Jobs(self.spec["sagemaker"])

    def template(self, call: Call) -> Record:
        """Return what was made of the checkpoint at submit: ``{request, environment}``; raises ``call.not_planned``."""
        known = self.spec.get("checkpoints", {})
        if call.callee.name not in known:
            raise UsageError(
                "call.not_planned",
                f"The checkpoint {call.callee.name} is isolated, and the submit did not find it, so no job of its own "
                "was checked for it.",
                next_step="Define or import it at the top of the flow's module, then resume the run with that code.",
                details={"known": sorted(known)},
            )
        found: Record = known[call.callee.name]
        return found

    def task(self, call: Call) -> Record:
        """Return what the call's job reads: the function, its arguments, what it belongs to."""
        journal = self._execution.journal
        function = inspect.unwrap(call.callee.function)
        find_checkpoint(function.__module__, function.__qualname__, call.callee.name)
        return {
            "v": 1,
            "run": journal.state.run,
            "attempt": journal.attempt,
            "spec": journal.state.attempts[journal.attempt].spec["digest"],
            "path": call.path,
            "name": call.callee.name,
            "module": function.__module__,
            "qualname": function.__qualname__,
            "arguments": {name: self._encoded(call, name, value) for name, value in call.bound.items()},
        }

    def stop_jobs(self) -> list[str]:
        """Stop every job of a call that may be under way; return the names of those that could not be stopped."""
        self._dispatcher.join(_QUIET_SECONDS)
        left = self._execution.journal.state.open_call_jobs()
        return [one["job"] for one in left if not self._stopped(one["job"])]

    # -- inside

    def _ticket(self, call: Call, at: float = 0.0, needed: Callable[[], bool] | None = None) -> Ticket:
        with self._lock:
            ticket = self._tickets.get(call.path)
            if ticket is None:
                isolation = cast("Isolation", isolation_of(call))
                ticket = self._tickets[call.path] = self._dispatcher.add(call, isolation.limit, at, needed)
        return ticket

    def _taken(self, ticket: Ticket) -> Record:
        """Record what came back with the outcome, and return or raise it."""
        if ticket.error is not None and ticket.end is None:
            raise ticket.error
        result = ticket.result or {}
        if ticket.end is not None:
            self._execution.write(*result.get("records", ()), ticket.end)
        if ticket.error is not None:
            raise ticket.error
        if "error" in result:
            raise _raised(result, self._execution)
        output: Record = result["output"]
        return output

    def _encoded(self, call: Call, name: str, value: Any) -> Record:
        """Encode an argument; a large one that many calls share is stored once."""
        mark = call.inputs.get(name)
        if mark is not None and mark in self._kept:
            return self._kept[mark]
        encoded = encode(value, self._execution.store)
        if mark is not None and "at" in encoded:
            self._kept[mark] = encoded
        return encoded

    def _stopped(self, job: str) -> bool:
        for _ in range(3):
            try:
                self.jobs().stop(job)
            except (AwsError, JournalError) as error:
                print(f"clary: {job} could not be stopped: {error.summary}", file=sys.stderr)
            else:
                return True
        return False


def isolation_of(call: Call) -> Isolation | None:
    """Return how the call's checkpoint is isolated, None for one that runs in the flow's process."""
    found: Isolation | None = getattr(call.callee, "isolation", None)
    return found


def _raised(result: Record, execution: Execution) -> BaseException:
    error = failure.rebuild(result["error"], execution.store)
    if result.get("host"):
        error.add_note(f"On the host {result['host']} of the call's job.")
    if isinstance(error, Exception):
        return error
    return ClaryError(  # SystemExit and its like ended the call's process, not the flow's
        "call.exited",
        f"The call's body ended its process: {type(error).__name__}: {error}.",
        next_step="Return a value or raise an exception.",
    )


def _read_spec(execution: Execution, digest: str) -> Record:
    data = execution.store.get(f"specs/{digest}.json")
    if data is None:
        raise JournalError(
            "job.no_spec",
            f"The specification {execution.store.url(f'specs/{digest}.json')} is gone.",
            next_step="Resume the run from the project: clary runs resume RUN.",
        )
    spec: Record = json.loads(data)
    return spec
