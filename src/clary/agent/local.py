"""Running an attempt here, in this process, on a stack that is a folder of this machine."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clary.agent import configuration, isolated, output, progress, secrets
from clary.agent.locks import RunLock
from clary.agent.present import call_view, note_of, run_view
from clary.agent.specs import local_spec, store_spec
from clary.artifacts import encode, only_names
from clary.engine.attempt import Outcome, run_attempt
from clary.errors import ConflictError, StopRequested
from clary.ids import new_id
from clary.journal import records
from clary.journal.state import WAITING, RunState
from clary.journal.writer import append
from clary.runtime.isolated.local import LocalCalls
from clary.secrets.redaction import masked_output

if TYPE_CHECKING:
    from types import FrameType

    from clary.agent.keys import Once
    from clary.agent.place import Place
    from clary.agent.replay import Seed
    from clary.agent.targets import FlowTarget
    from clary.agent.views import Observer, RunView
    from clary.engine.execution import Execution
    from clary.engine.progress import Board
    from clary.journal.log import Log
    from clary.journal.records import Record
    from clary.journal.writer import Journal
    from clary.objects import ObjectStore

_PATIENCE, _NAP = 10.0, 0.02
"""Seconds for which another process that holds a run's lock may take to record it, and between looks."""
_DIED = "The process that ran it has died."
_raised: dict[str, BaseException] = {}
"""What the last run of this process raised, by run: in the same process a person gets the exception itself."""


def start(
    place: Place,
    target: FlowTarget,
    inputs: dict[str, Any],
    observer: Observer | None,
    seed: Seed | None = None,
    once: Once | None = None,
) -> RunView:
    """Record a new run and run it here to its end, with the variables of the settings' ``environment``.

    A replay begins with its ``seed``, which has its inputs. Where somebody else has just begun the run of the key in
    ``once``, that one is returned.

    Raises, with nothing recorded, SerializationError for an input that cannot be kept and what the variables' secrets
    raise (``secrets.local_environment``); KeyboardInterrupt after the run was recorded as stopped.
    """
    variables = _variables(place, target)
    with secrets.local_environment(place.stack, variables):
        return _start(place, target, inputs, variables, observer, seed, once)


def _start(
    place: Place,
    target: FlowTarget,
    inputs: dict[str, Any],
    variables: dict[str, str],
    observer: Observer | None,
    seed: Seed | None,
    once: Once | None,
) -> RunView:
    with only_names():  # the flow runs here: a path is the very place, to read from and to write to
        encoded = encode_inputs(inputs, place.store) if seed is None else seed.inputs
    origin, on_change = (None, "error") if seed is None else (seed.replay_of, seed.on_change)
    run = new_id() if once is None else once.run
    if once is not None and not once.claim():
        return _begun_by_another(place, once)
    spec = store_spec(place.store, local_spec(place.stack, target, variables))
    first = [
        records.created(
            run,
            flow=target.flow.name,
            stack=place.stack.name,
            spec=spec,
            inputs=encoded,
            by=who(),
            replay_of=origin,
            key=None if once is None else once.key,
        ),
        records.attempt(1, job=None, request=None, spec=spec, on_change=on_change),
    ]
    lock = RunLock(place.stack.artifact_store, run)
    # Before the run is recorded: whoever finds it must not take it for dead.
    if not lock.acquire() and once is not None:
        return _begun_by_another(place, once)
    try:
        state = RunState()
        with place.log(run) as log:
            if seed is not None:
                seed.write(log, state)
            if not append(log, state, lambda now: first if now.status == "absent" else None):
                assert once is not None  # else the id is new, and nobody writes here
                return _begun_by_another(place, once)
            return _run(place, log, state, target, observer)
    finally:
        lock.release()


def resume(place: Place, run: str, target: FlowTarget, on_change: str, observer: Observer | None) -> RunView:
    """Run a new attempt of a run here.

    Raises ConflictError: ``run.is_live`` when a living process has the run, ``run.is_completed``.
    """
    refuse_completed(place.read(run))
    variables = _variables(place, target)
    with secrets.local_environment(place.stack, variables):
        return _resume(place, run, target, variables, on_change, observer)


def _begun_by_another(place: Place, once: Once) -> RunView:
    """Return the run that another process has begun under the key; it may be just about to record it."""
    deadline = time.monotonic() + _PATIENCE
    while not once.begun() and time.monotonic() < deadline:
        time.sleep(_NAP)
    return replace(run_view(place.read(once.run), place.store), reused=True)


def encode_inputs(inputs: Mapping[str, Any], store: ObjectStore) -> Record:
    """Return the inputs of a flow as its record keeps them; raises SerializationError, naming the input."""
    return {name: encode(value, store, label=f"the input {name}") for name, value in inputs.items()}


def _variables(place: Place, target: FlowTarget) -> dict[str, str]:
    layers = configuration.of(target, place.stack).settings_layers
    return secrets.local_variables(*[values for _, values in layers])


def _resume(
    place: Place, run: str, target: FlowTarget, variables: dict[str, str], on_change: str, observer: Observer | None
) -> RunView:
    lock = RunLock(place.stack.artifact_store, run)
    if not lock.acquire():
        raise is_live(run)
    try:
        spec, state = store_spec(place.store, local_spec(place.stack, target, variables)), RunState()

        def claim(now: RunState) -> list[Record]:
            refuse_completed(now)
            number = max(now.attempts, default=0)
            before = [] if now.idle else [_interrupted(run, number, _DIED)]
            return [*before, records.attempt(number + 1, job=None, request=None, spec=spec, on_change=on_change)]

        with place.log(run) as log:
            append(log, state, claim)
            return _run(place, log, state, target, observer)
    finally:
        lock.release()


def mark_dead(place: Place, run: str) -> RunState:
    """Bring a run up to date: one that seems to be under way, and whose lock nobody holds, was interrupted."""
    state = place.read(run)
    if state.idle:
        return state

    def ended(now: RunState) -> list[Record] | None:
        if now.idle or now.attempt is None or RunLock(place.stack.artifact_store, run).held():
            return None
        return [_interrupted(run, now.attempt.number, _DIED)]

    with place.log(run) as log:
        append(log, state, ended)
    return state


def stop(place: Place, run: str) -> RunState:
    """Ask the process of a run to stop, if it lives."""
    state = mark_dead(place, run)
    if state.settled:
        return state
    with place.log(run) as log:
        append(log, state, stop_records)
    owner = RunLock(place.stack.artifact_store, run).owner()
    if owner is not None and owner != os.getpid():
        try:
            os.kill(owner, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it has just ended by itself
    return state


def stop_records(state: RunState) -> list[Record] | None:
    """Return what asks a run to stop; one that waits has nothing that could stop it later, and is stopped at once."""
    if state.settled or state.stop_requested:
        return None
    asked = records.stop_requested(who())
    return [asked, records.stopped(f"stopped by {asked['by']} while it waited")] if state.idle else [asked]


def refuse_waiting(state: RunState) -> None:
    """Raise ConflictError (``run.is_waiting``) for a run that an answer has to wake."""
    if state.status == WAITING and not state.due(time.time()):
        raise is_waiting(state)


def is_waiting(state: RunState) -> ConflictError:
    """Return the error for a run that waits, with how it goes on."""
    waits = state.open_waits()
    if state.due(time.time()):
        summary = f"Run {state.run} waits for nothing more, and has not gone on yet."
        step = f"Go on with `clary runs resume {state.run}` (in Python, with resume())."
    elif waits:
        summary = f"Run {state.run} waits for an answer: {waits[0]['question']}"
        step = f"Answer with `clary runs answer {state.run} {waits[0]['name']} VALUE`."
    else:
        summary = f"Run {state.run} sleeps."
        step = f"It goes on by itself; `clary runs show {state.run}` says when, `clary runs stop {state.run}` ends it."
    return ConflictError("run.is_waiting", summary, next_step=step, field="run", details={"run": state.run})


def raised(run: str) -> BaseException | None:
    """Return what a run in this very process raised, if it was the last one."""
    return _raised.get(run)


def is_live(run: str) -> ConflictError:
    """Return the error for a run that is under way."""
    return ConflictError(
        "run.is_live",
        f"Run {run} is under way.",
        next_step=f"Follow it with `clary runs logs {run} -f`. To begin anew from its record, stop it first.",
        field="run",
        details={"run": run},
    )


def refuse_completed(state: RunState) -> None:
    """Raise ConflictError (``run.is_completed``) for a run that has its result."""
    if state.status == "completed":
        raise ConflictError(
            "run.is_completed",
            f"Run {state.run} is completed: there is nothing left to go on with.",
            next_step=f"See it with `clary runs show {state.run}`, or start another with `clary run`.",
            field="run",
        )


def who() -> str:
    """Return who does something, for the record: the user's and the machine's names."""
    import getpass

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no name for this user id
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _run(place: Place, log: Log, state: RunState, target: FlowTarget, observer: Observer | None) -> RunView:
    attempt = max(state.attempts)
    if observer is not None:
        observer.submitted(run_view(state, place.store))
        if apart := isolated.checkpoints_of(target):
            names = ", ".join(sorted(one.name for one in apart))
            observer.note(f"Isolated checkpoints run in this process: there are no other machines here ({names}).")
        for record in state.calls.values():
            observer.call(call_view(record, place.store, state))

    boards: list[Board] = []
    journals: list[Journal] = []

    def opened(journal: Journal) -> None:
        journals.append(journal)
        boards.append(progress.board_here(place, journal, observer))

    def told(record: Record) -> None:
        if observer is None:
            return
        with output.not_kept():
            if (text := note_of(record, time.time())) is not None:
                observer.note(text)
            else:
                observer.call(call_view(record, place.store, journals[0].state, attempt=attempt))

    file = output.output_file(place.stack.artifact_store, state.run)
    with output.kept_output(file), masked_output(), _orderly_stop(), _closing(boards):
        outcome = run_attempt(
            log,
            place.store,
            lambda _: target.flow,
            attempt,
            host=socket.gethostname(),
            on_call=told,
            on_open=opened,
            extend=_extend,
        )
    _raised.clear()
    if outcome.error is not None and outcome.status == "failed":
        _raised[state.run] = outcome.error
    if outcome.left_over and observer is not None:
        observer.note(outcome.lost())
    if outcome.status == "failed" and outcome.failure is None and outcome.error is not None:
        raise outcome.error  # the record could not be written, so it does not tell
    return run_view(_closed(log, state, attempt, outcome), place.store)


@contextmanager
def _closing(boards: list[Board]) -> Iterator[None]:
    """Close, at the end of the block, the boards that it has made."""
    try:
        yield
    finally:
        for board in boards:
            board.close()


def _extend(execution: Execution) -> None:
    """Let isolated checkpoints run here too: there is no other place."""
    execution.elsewhere = LocalCalls(execution)


def _closed(log: Log, state: RunState, attempt: int, outcome: Outcome) -> RunState:
    """Record the end of an attempt that a signal ended, which the attempt itself does not."""

    def ended(now: RunState) -> list[Record] | None:
        if now.settled or outcome.status != "interrupted":
            return None
        return [_interrupted(now.run, attempt, f"{outcome.error}.")]

    append(log, state, ended)
    return state


def _interrupted(run: str, attempt: int, summary: str) -> Record:
    failure = {
        "cause": "interrupted",
        "summary": summary,
        "next_step": f"Go on where it was with `clary runs resume {run}`. Recorded checkpoints do not run again.",
        "retry": "yes",
    }
    return records.attempt_ended(attempt, "interrupted", failure)


@contextmanager
def _orderly_stop() -> Iterator[None]:
    """Turn SIGTERM into an orderly end, where this thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop_now(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise StopRequested("the process was asked to end (SIGTERM)")

    before = signal.signal(signal.SIGTERM, stop_now)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
