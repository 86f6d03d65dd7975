"""One attempt at a flow's body: every call of a checkpoint comes through here, is replayed or run, and recorded."""

from __future__ import annotations

import contextvars
import inspect
import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from clary.artifacts import decode, encode
from clary.engine import arguments as given
from clary.engine import divergence, failure
from clary.engine.activity import Activity
from clary.engine.extensions import Shortcuts
from clary.engine.futures import running_loop
from clary.engine.scope import Scope, current_scope
from clary.engine.workers import Workers
from clary.errors import Fenced, Interruption, UsageError
from clary.journal import records

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator, Mapping

    from clary.engine.caching import Policy
    from clary.engine.extensions import Elsewhere
    from clary.engine.futures import CallFuture
    from clary.engine.loops import Outbox
    from clary.engine.retry import Retries
    from clary.engine.suspension import Waker
    from clary.journal.records import Record
    from clary.journal.writer import Journal
    from clary.objects import ObjectStore


class Callee(Protocol):
    """What the engine must know of a checkpoint."""

    name: str
    function: Callable[..., Any]
    retries: Retries
    timeout: float | None
    """Seconds after which a try of the body is ended."""
    cache: Policy
    """When a call may take the result of another run."""

    @property
    def signature(self) -> inspect.Signature:
        """Its parameters."""

    @property
    def source(self) -> str:
        """Digest of its own source."""


@dataclass(frozen=True)
class Call:
    """One call that has been made: who it is, what it is of, and with what."""

    path: str
    callee: Callee
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    bound: Mapping[str, Any]
    """The arguments by parameter name, defaults included."""
    inputs: dict[str, str | None]
    """What the arguments are compared by, by parameter name (``artifacts.mark_of``); None is compared by nobody."""


class Execution:
    """One attempt at one run's flow. Safe from any thread."""

    def __init__(
        self,
        journal: Journal,
        store: ObjectStore,
        *,
        on_change: str = divergence.ERROR,
        on_call: Callable[[Record], None] | None = None,
        waker: Waker | None = None,
    ) -> None:
        self.journal = journal
        self.store = store
        self.on_change = on_change
        self.shortcuts = Shortcuts()
        """Asked, in order, for the results of calls that are not in the record."""
        self.amend: Callable[[str, str, inspect.BoundArguments], tuple[tuple[Any, ...], dict[str, Any]]] | None = None
        """Given path, name and arguments of every call that is made: puts others in their place (a replay's)."""
        self.elsewhere: Elsewhere | None = None
        """Runs the bodies that do not run in this process."""
        self.waker = waker
        """None where the process may simply stay: on a laptop."""
        self.recorded = dict(journal.state.calls)
        self.values = journal.state.values
        self.tries = {path: (record["n"], record["next_at"]) for path, record in journal.state.tries.items()}
        """Calls that have failed and are tried again: how often they failed, and when the next try begins."""
        self.committed = list(self.recorded)
        """Paths of the recorded calls in the order of the log; grows as calls are recorded."""
        self.news = threading.Condition()
        """Guards ``committed`` and ``ended``; notified when either changes."""
        self.ended: BaseException | None = None
        self.replayed: set[str] = set()
        self.root = Scope(self, "")
        self.open_calls: set[CallFuture[Any]] = set()
        """Submitted calls that have not ended."""
        self.activity = Activity()
        self.outer_error: BaseException | None = None
        """What was being handled when the flow was called."""
        self.unseen_failures: dict[str, list[str]] = {}
        """Submitted calls that failed, and whose failure nobody has been given: by path, with those it came from."""
        self._hearers: list[Callable[[], object]] = []
        self._outboxes: WeakKeyDictionary[AbstractEventLoop, Outbox] = WeakKeyDictionary()
        self._found: dict[str, Record] = {}
        """Results that shortcuts had when calls were to begin elsewhere, by path."""
        self._process = os.getpid()
        self._on_call = on_call
        journal.listener = self._announce
        self.workers = Workers()
        """For submitted calls."""

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.journal.state.run

    def drain(self, below: str = "") -> None:
        """Wait for calls that were submitted and never asked for: what a flow has begun belongs to its run."""
        while waiting := [one for one in list(self.open_calls) if one.path.startswith(below)]:  # they may begin others
            for future in waiting:
                future.wait()
        if not below:
            self.workers.join()

    def close(self, reason: BaseException) -> None:
        """Let nothing more be started; wake whoever waits for a call that will not come."""
        with self.news:
            self.ended = self.ended or reason
        self._spread_news()
        self.workers.close()

    def make(
        self,
        callee: Callee,
        path: str,
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
        marks: given.Marks = given.NONE,
    ) -> Call:
        """Return the call; raises TypeError when the arguments do not fit the checkpoint's parameters.

        ``marks`` are those of objects that many calls are made with (``arguments.marks_of``).
        """
        self.refuse_to_begin(path)
        bound = callee.signature.bind(*arguments, **keywords)
        bound.apply_defaults()
        if self.amend is not None:
            arguments, keywords = self.amend(path, callee.name, bound)
        return Call(path, callee, arguments, keywords, bound.arguments, given.marked(bound.arguments, marks))

    def is_recorded(self, call: Call) -> bool:
        """Tell whether the record answers this call; raises DivergenceError when it answers another one."""
        record = self.recorded.get(call.path)
        if record is None:
            return divergence.is_renamed(self, call)
        difference = divergence.compare(record, call)
        if difference is None or self.on_change == divergence.ACCEPT:
            self.replayed.add(call.path)
            return True
        if self.on_change == divergence.RERUN:
            with self.news:  # its place in the log will be another
                self.committed = ["" if path == call.path else path for path in self.committed]
            return False
        raise divergence.error(self.run_id, call, difference, self.recorded)

    def replay(self, call: Call, *, submitted: bool = False) -> Any:
        """Return what the record holds for the call, or raise the recorded failure."""
        record = self.recorded[call.path]
        if record["kind"] == records.CALL_FAILED:
            error = failure.rebuild(record["error"], self.store)
            failure.mark(error, call.path)
            if submitted:
                self.unseen_failures[call.path] = failure.failed_calls(error)
            raise error
        return decode(record["output"], self.store)

    def perform(self, call: Call, *, submitted: bool = False) -> Any:
        """Return the call's result: from the record, or by running its body here and recording it.

        ``submitted`` says that whoever asked for the call is not the one that is given its failure here.
        """
        if self.is_recorded(call):
            return self.replay(call, submitted=submitted)
        if self.shortcuts and (ready := self._ready_made(call)) is not None:
            self.write(ready)
            return decode(ready["output"], self.store)
        return self._perform(call, submitted=submitted)

    def _perform(self, call: Call, *, submitted: bool) -> Any:
        """Run a call, as often as its retries allow, and record how it ended."""
        while True:
            self.rest_until(self._next_try(call))
            started = time.time()
            try:
                value, record = self._run(call, started)
            except Interruption:
                raise
            except Exception as error:
                if (failed_try := self._failed_try(call, error)) is not None:
                    self.write(failed_try)
                    self._begin_again(failed_try)
                    continue
                self.write(self._failed(call, error, started))
                if not submitted:
                    self.unseen_failures.pop(call.path, None)
                raise
            self.write(record)
            self.shortcuts.keep(call, record)
            return value

    async def perform_async(self, call: Call, *, submitted: bool = False) -> Any:
        """Do as ``perform`` does, in an event loop."""
        if self.is_recorded(call):
            return self.replay(call, submitted=submitted)
        is_elsewhere, loop = self.is_elsewhere(call), running_loop()
        # A call elsewhere goes on without this process: a flow that fails does not wait for it.
        with self.activity.of(call.path, None if is_elsewhere else loop):
            if is_elsewhere or self.shortcuts.take(call):
                return await self._perform_in_thread(call, submitted=submitted)
            return await self._perform_async(call, submitted=submitted)

    async def _perform_async(self, call: Call, *, submitted: bool) -> Any:
        """Do as ``_perform`` does, in an event loop."""
        from clary.engine import loops

        while True:
            if (at := self._next_try(call)) > time.time():
                await loops.rest_until(self, at)
            started = time.time()
            token = current_scope.set(Scope(self, call.path, in_call=True))
            try:
                value = await loops.run_body(call)
                record = self._finished(call, value, started)
            except Interruption:
                raise
            except Exception as error:
                await loops.settle(self, call)
                if (failed_try := self._failed_try(call, error)) is not None:
                    await self._write_async(failed_try)
                    self._begin_again(failed_try)
                    continue
                await self._write_async(self._failed(call, error, started))
                if not submitted:
                    self.unseen_failures.pop(call.path, None)
                raise
            finally:
                current_scope.reset(token)
            await self._write_async(record)
            if self.shortcuts.take(call):
                import asyncio

                await asyncio.to_thread(self.shortcuts.keep, call, record)
            return value

    async def _perform_in_thread(self, call: Call, *, submitted: bool) -> Any:
        """Perform a call beside the loop: what is asked for its result, or runs it, may take a while."""
        import asyncio

        ready = await asyncio.to_thread(self._ready_made, call)
        if ready is not None:
            await self._write_async(ready)
            return decode(ready["output"], self.store)
        if self.is_elsewhere(call):
            from clary.engine.loops import begun

            await begun(self, call)
            context = contextvars.copy_context()
            return await asyncio.to_thread(context.run, lambda: self._perform(call, submitted=submitted))
        return await self._perform_async(call, submitted=submitted)

    def recorded_value(self, kind: str, scope: Scope, make: Callable[[], Any]) -> Any:
        """Return a reading of clock or chance: the recorded one, or a new one that is recorded first."""
        path = scope.next_path(kind)
        if path in self.values:
            return self.values[path]
        value = make()
        self.journal.write({"kind": records.VALUE, "path": path, "value": value})
        return value

    def rest_until(self, moment: float) -> None:
        """Let time pass, to ``moment`` (epoch seconds); raises the reason where the flow ends meanwhile."""
        with self.news:
            while (left := moment - time.time()) > 0:
                self.refuse_ended()
                self.news.wait(left)

    def refuse_ended(self) -> None:
        """Raise the reason for which this attempt has ended, if it has."""
        if self.ended is not None:
            raise self.ended if isinstance(self.ended, Interruption) else Fenced("the flow has ended")

    def _ready_made(self, call: Call) -> Record | None:
        """Return the record of a call whose result is there already; None where it has to run."""
        if (known := self._found.pop(call.path, None)) is not None:
            return known
        if (found := self.shortcuts.find(call)) is None:
            return None
        return {**self._record(call, records.CALL, time.time(), "output", found.output), "origin": found.origin}

    def is_elsewhere(self, call: Call) -> bool:
        """Tell whether the call's body runs in another place than this process."""
        return self.elsewhere is not None and self.elsewhere.takes(call)

    def begin_elsewhere(self, call: Call, ready: Callable[[], object]) -> None:
        """Begin a call elsewhere unless its result is there; ``ready`` is called when it can be performed at once."""
        assert self.elsewhere is not None

        def needed() -> bool:
            found = self._ready_made(call)
            if found is not None:
                self._found[call.path] = found
            return found is None

        self.elsewhere.begin(call, self._next_try(call), needed, ready)

    def _run(self, call: Call, started: float) -> tuple[Any, Record]:
        """Run the call's body, here or elsewhere; return its value and its record."""
        if self.elsewhere is not None and self.is_elsewhere(call):
            output = self.elsewhere.run(call)
            return decode(output, self.store), self._record(call, records.CALL, started, "output", output)
        value = self._run_body(call)
        return value, self._finished(call, value, started)

    def _run_body(self, call: Call) -> Any:
        if call.callee.timeout is not None:
            if inspect.iscoroutinefunction(call.callee.function):
                from clary.engine import loops

                return self._run_coroutine(call, loops.run_body(call))
            from clary.engine.bodies import Child

            child = Child(self._context(call), call.callee.function, call.arguments, call.keywords)
            return child.result(call.callee.timeout, lambda: self.ended)
        value = self._context(call).run(call.callee.function, *call.arguments, **call.keywords)
        return self._run_coroutine(call, value) if inspect.iscoroutine(value) else value

    def _next_try(self, call: Call) -> float:
        """Return when the call may run (epoch seconds), 0 for at once."""
        return self.tries[call.path][1] if call.path in self.tries else 0.0

    def _failed_try(self, call: Call, error: Exception) -> Record | None:
        """Return the record of a failed try after which another follows; None when there is none."""
        number = self.tries.get(call.path, (0, 0.0))[0] + 1
        if self.ended is not None or not call.callee.retries.allows(number, error):
            return None
        self.drain(f"{call.path}/")  # none of its calls may still run when the body runs again
        below = [path for path in failure.failed_calls(error) if path.startswith(f"{call.path}/")]
        unseen = [path for path in self.unseen_failures if path.startswith(f"{call.path}/")]
        next_at = time.time() + call.callee.retries.pause(number)
        described = failure.describe(error, self.store)
        return records.try_failed(call.path, number, described, sorted({*below, *unseen}), next_at)

    def _begin_again(self, failed_try: Record) -> None:
        """Take in that a try has failed: calls below it that failed run again, those that returned do not."""
        self.tries[failed_try["path"]] = (failed_try["n"], failed_try["next_at"])
        below = f"{failed_try['path']}/"
        done = {path: record for path, record in list(self.journal.state.calls.items()) if path.startswith(below)}
        self.recorded.update(done)  # what has been recorded in this attempt is replayed as well
        again = set(failed_try["calls"])
        for path in again:
            self.recorded.pop(path, None)
            self.unseen_failures.pop(path, None)
        with self.news:  # their place in the log will be another
            self.committed = ["" if path in again else path for path in self.committed]

    def _context(self, call: Call) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(current_scope.set, Scope(self, call.path, in_call=True))
        return context

    def _run_coroutine(self, call: Call, coroutine: Any) -> Any:
        """Run the body of an async checkpoint in a thread that has no loop."""
        return self._context(call).run(self.run_coroutine, coroutine)

    def run_coroutine(self, coroutine: Any) -> Any:
        """Run a coroutine to its end in a loop of its own, in this thread."""
        from clary.engine import loops

        return loops.run(self, coroutine)

    def _finished(self, call: Call, value: Any, started: float) -> Record:
        given.refuse_changed(call)
        output = encode(value, self.store, label=f"the result of {call.path}")
        return self._record(call, records.CALL, started, "output", output)

    def _failed(self, call: Call, error: Exception, started: float) -> Record:
        """Return the record of a failure; raises Fenced where the flow has ended and will not see it."""
        failure.mark(error, call.path)
        # First this, then the question: whoever ends the flow does it the other way round, so no failure stays that
        # the flow has neither seen nor listed among those that run again.
        self.unseen_failures[call.path] = failure.failed_calls(error)
        self.refuse_ended()
        described = failure.describe(error, self.store)
        return self._record(call, records.CALL_FAILED, started, "error", described)

    def _record(self, call: Call, kind: str, started: float, part: str, content: Record) -> Record:
        return {
            "kind": kind,
            "path": call.path,
            "name": call.callee.name,
            "inputs": call.inputs,
            "source": call.callee.source,
            part: content,
            "started": self._began(call, started),
            "ended": time.time(),
        }

    def _began(self, call: Call, taken: float) -> float:
        """Return when a call began (epoch seconds): one in a job of its own long before its result was ``taken``."""
        jobs = self.journal.state.call_jobs.get(call.path) if self.is_elsewhere(call) else None
        return float(jobs[-1]["at"]) if jobs else taken

    def write(self, *ready: Record) -> None:
        """Make records durable; a failure to do so ends the attempt."""
        try:
            self.journal.write(*ready)
        except BaseException as error:
            self.close(error)
            raise

    async def _write_async(self, record: Record) -> None:
        if self.journal.log.immediate:
            self.write(record)
            return
        import asyncio

        loop = asyncio.get_running_loop()
        if loop not in self._outboxes:
            from clary.engine.loops import Outbox

            self._outboxes[loop] = Outbox(self.write)
        await self._outboxes[loop].put(record)

    def _announce(self, record: Record) -> None:
        """Tell whoever waits of one durable record; called in the order of the log."""
        ended = record["kind"] in (records.CALL, records.CALL_FAILED)
        if ended:
            self.tell_end(record["path"])
        if self._on_call is not None and (ended or record["kind"] in (records.TRY_FAILED, records.FLOW_RETRIED)):
            self._on_call(record)

    def tell_end(self, path: str) -> None:
        """Tell whoever waits that the call has ended: it is recorded, or was cancelled."""
        self.committed.append(path)
        self._spread_news()

    @contextmanager
    def hearing(self, hearer: Callable[[], object]) -> Iterator[None]:
        """Let ``hearer`` be called, from any thread, whenever there may be news."""
        self._hearers.append(hearer)
        try:
            yield
        finally:
            self._hearers.remove(hearer)

    def _spread_news(self) -> None:
        with self.news:
            self.news.notify_all()
        for hearer in list(self._hearers):
            hearer()

    def refuse_to_begin(self, path: str) -> None:
        """Refuse a call, a wait or a sleep that the flow begins after its end, on its way out, or in another process.

        What a ``finally`` or a context manager does while the run is suspended or stopped must not be recorded: the run
        goes on, and its end is still to come.
        """
        self.refuse_ended()
        if (failing := self.activity.failing) is not None and running_loop() is failing:
            scope = current_scope.get()
            if scope is not None and not scope.in_call:
                raise Fenced("the flow has failed")
        breaking = sys.exception()
        if isinstance(breaking, (Interruption, KeyboardInterrupt)) and breaking is not self.outer_error:
            raise breaking
        if os.getpid() != self._process:
            raise UsageError(
                "call.in_other_process",
                f"{path} was called in a process that the flow has forked; it cannot be recorded from there.",
                next_step="Call checkpoints in the flow's own process; .map() and .submit() run them side by side.",
            )
