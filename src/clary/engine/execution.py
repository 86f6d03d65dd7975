"""One attempt at a flow's body: every call of a checkpoint comes through here, is replayed or run, and recorded."""

from __future__ import annotations

import contextvars
import inspect
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from clary.artifacts import decode, digest, encode
from clary.engine import divergence, failure
from clary.engine.scope import Scope, current_scope
from clary.errors import Interruption, SerializationError
from clary.journal import records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from clary.journal.records import Record
    from clary.journal.writer import Journal
    from clary.objects import ObjectStore

_MUTABLE = (list, dict, set, bytearray)
_WATCHED_ARRAY = 1 << 20
"""Bytes up to which an array argument is looked at again after the call."""


class Callee(Protocol):
    """What the engine must know of a checkpoint."""

    name: str
    function: Callable[..., Any]

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
    inputs: dict[str, str | None]
    """Digests of the arguments by parameter name; None is compared by nobody."""


class Execution:
    """One attempt at one run's flow. Safe from any thread."""

    def __init__(
        self,
        journal: Journal,
        store: ObjectStore,
        *,
        on_change: str = divergence.ERROR,
        on_call: Callable[[Record], None] | None = None,
    ) -> None:
        self.journal = journal
        self.store = store
        self.on_change = on_change
        self.recorded = dict(journal.state.calls)
        self.values = dict(journal.state.values)
        self.committed = list(self.recorded)
        """Paths of the recorded calls in the order of the log; grows as calls are recorded."""
        self.news = threading.Condition()
        """Guards ``committed`` and ``ended``; notified when either changes."""
        self.ended: BaseException | None = None
        self.replayed: set[str] = set()
        self.root = Scope(self, "")
        self._on_call = on_call
        journal.listener = self._announce
        self.workers = min(32, (os.cpu_count() or 1) + 4)
        """Threads for submitted calls, as many as ThreadPoolExecutor takes by default."""
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.journal.state.run

    def pool(self) -> ThreadPoolExecutor:
        """Return the threads of this attempt, made at the first need."""
        with self._pool_lock:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="clary-call")
            return self._pool

    def drain(self) -> None:
        """Wait for calls that were submitted and never asked for: what a flow has begun belongs to its run."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def close(self, reason: BaseException) -> None:
        """Let nothing more be started; wake whoever waits for a call that will not come."""
        with self.news:
            self.ended = self.ended or reason
            self.news.notify_all()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def make(self, callee: Callee, path: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Call:
        """Return the call; raises TypeError when the arguments do not fit the checkpoint's parameters."""
        bound = callee.signature.bind(*arguments, **keywords)
        bound.apply_defaults()
        inputs = {name: digest(value) for name, value in bound.arguments.items()}
        return Call(path, callee, arguments, keywords, inputs)

    def is_recorded(self, call: Call) -> bool:
        """Tell whether the record answers this call; raises DivergenceError when it answers another one."""
        record = self.recorded.get(call.path)
        if record is None:
            return False
        difference = divergence.compare(record, call)
        if difference is None or self.on_change == divergence.ACCEPT:
            self.replayed.add(call.path)
            return True
        if self.on_change == divergence.RERUN:
            return False
        raise divergence.error(self.run_id, call, difference)

    def replay(self, call: Call) -> Any:
        """Return what the record holds for the call, or raise the recorded failure."""
        record = self.recorded[call.path]
        if record["kind"] == records.CALL_FAILED:
            error = failure.rebuild(record["error"], self.store)
            failure.mark(error, call.path)
            raise error
        return decode(record["output"], self.store)

    def perform(self, call: Call) -> Any:
        """Return the call's result: from the record, or by running its body here and recording it."""
        if self.is_recorded(call):
            return self.replay(call)
        started = time.time()
        try:
            value = self._context(call).run(call.callee.function, *call.arguments, **call.keywords)
            if inspect.iscoroutine(value):
                value = self._run_coroutine(call, value)
            record = self._finished(call, value, started)
        except Interruption:
            raise
        except Exception as error:
            self._write(self._failed(call, error, started))
            raise
        self._write(record)
        return value

    async def perform_async(self, call: Call) -> Any:
        """Do as ``perform`` does, in an event loop."""
        if self.is_recorded(call):
            return self.replay(call)
        started = time.time()
        token = current_scope.set(Scope(self, call.path))
        try:
            value = await call.callee.function(*call.arguments, **call.keywords)
            record = self._finished(call, value, started)
        except Interruption:
            raise
        except Exception as error:
            await self._write_async(self._failed(call, error, started))
            raise
        finally:
            current_scope.reset(token)
        await self._write_async(record)
        return value

    def recorded_value(self, kind: str, scope: Scope, make: Callable[[], Any]) -> Any:
        """Return a reading of clock or chance: the recorded one, or a new one that is recorded first."""
        path = scope.next_path(kind)
        if path in self.values:
            return self.values[path]
        value = make()
        self.journal.write({"kind": records.VALUE, "path": path, "value": value})
        return value

    def _context(self, call: Call) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(current_scope.set, Scope(self, call.path))
        return context

    def _run_coroutine(self, call: Call, coroutine: Any) -> Any:
        """Run the body of an async checkpoint in a thread that has no loop."""
        return self._context(call).run(run_in_new_loop, coroutine)

    def _finished(self, call: Call, value: Any, started: float) -> Record:
        self._refuse_changed_arguments(call)
        return self._record(call, records.CALL, started, "output", encode(value, self.store))

    def _failed(self, call: Call, error: Exception, started: float) -> Record:
        failure.mark(error, call.path)
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
            "started": started,
            "ended": time.time(),
        }

    def _write(self, record: Record) -> None:
        try:
            self.journal.write(record)
        except BaseException as error:
            self.close(error)
            raise

    async def _write_async(self, record: Record) -> None:
        if self.journal.log.immediate:
            self._write(record)
        else:
            import asyncio

            await asyncio.to_thread(self._write, record)  # not this attempt's threads: they may all be waiting

    def _announce(self, record: Record) -> None:
        """Tell whoever waits of one durable record; called in the order of the log."""
        if record["kind"] not in (records.CALL, records.CALL_FAILED):
            return
        with self.news:
            self.committed.append(record["path"])
            self.news.notify_all()
        if self._on_call is not None:
            self._on_call(record)

    def _refuse_changed_arguments(self, call: Call) -> None:
        bound = call.callee.signature.bind(*call.arguments, **call.keywords)
        for name, value in bound.arguments.items():
            size = getattr(value, "nbytes", 0)
            if not (isinstance(value, _MUTABLE) or 0 < size <= _WATCHED_ARRAY):
                continue
            before = call.inputs[name]
            if before is not None and digest(value) != before:
                raise SerializationError(
                    "call.argument_changed",
                    f"{call.path} changed its argument “{name}”; a replayed call would not.",
                    next_step="Change a copy and return it.",
                    field=name,
                )


def run_in_new_loop(coroutine: Any) -> Any:
    """Run a coroutine to its end in a loop whose tasks are numbered children of their makers."""
    from clary.engine.loops import run

    return run(coroutine)
