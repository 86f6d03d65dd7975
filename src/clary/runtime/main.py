"""The job itself: find the run, unpack the code, run one attempt, leave a reason where it failed."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from clary.engine import failure
from clary.engine.attempt import EXIT_FAILED, EXIT_STOPPED, EXIT_TRY_AGAIN, Outcome, run_attempt
from clary.errors import ClaryError, ConfigError, Retry, StopRequested
from clary.journal.log import ObjectLog
from clary.runtime import failurefile, loading, project, stopping
from clary.runtime.heartbeat import Heartbeat
from clary.runtime.isolated.calls import IsolatedCalls
from clary.runtime.isolated.entry import run_call
from clary.runtime.isolated.hosts import Hosts
from clary.runtime.isolated.tasks import CALL_VARIABLE
from clary.runtime.pointer import ATTEMPT_VARIABLE, RUN_VARIABLE, Pointer
from clary.runtime.waking import JobWaker

if TYPE_CHECKING:
    from pathlib import Path

    from clary.engine.attempt import Body
    from clary.engine.execution import Execution
    from clary.journal.state import RunState
    from clary.journal.writer import Journal
    from clary.objects import ObjectStore

_NOTHING_GOES_ON = frozenset({"completed", "failed", "stopped"})
"""Ends of an attempt after which no call may run on. An interrupted one's calls are taken up by the next attempt."""


def run_job(opt_ml: Path, fault_log: int = -1) -> int:
    """Run the attempt that the environment points to and return the exit code.

    ``fault_log`` is a file descriptor for the stacks of a crash in native code, which the parent reads.
    """
    stopping.obey_sigterm()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT])
    faulthandler.enable(fault_log if fault_log >= 0 else 2, all_threads=False)
    try:
        if CALL_VARIABLE in os.environ:
            return run_call(opt_ml)
        if not Hosts.read(opt_ml).leads:
            print("clary: the first host runs the flow; this one has nothing to do.")
            return 0
        return _finish(opt_ml, _run(opt_ml))
    except (StopRequested, KeyboardInterrupt):
        return EXIT_STOPPED
    except ClaryError as error:
        return _give_up(opt_ml, error)


def _run(opt_ml: Path) -> Outcome:
    pointer = Pointer.parse(_variable(RUN_VARIABLE))
    attempt = _attempt_number(_variable(ATTEMPT_VARIABLE))
    store = pointer.open_store()
    waker = JobWaker(attempt)
    heartbeats: list[Heartbeat] = []
    isolated: list[IsolatedCalls] = []

    def begin(journal: Journal) -> None:
        waker.attach(journal)
        heartbeats.append(Heartbeat(journal, store))
        heartbeats[0].start()

    def extend(execution: Execution) -> None:
        stopping.watch(execution)
        execution.elsewhere = IsolatedCalls(execution)
        isolated.append(execution.elsewhere)

    try:
        outcome = run_attempt(
            ObjectLog(store, pointer.run),
            store,
            lambda state: _load_flow(opt_ml, store, state, attempt, waker),
            attempt,
            host=os.environ.get("HOSTNAME") or socket.gethostname(),
            on_open=begin,
            waker=waker,
            extend=extend,
        )
        if outcome.status in _NOTHING_GOES_ON and outcome.exit_code != EXIT_TRY_AGAIN and isolated:
            isolated[-1].stop_jobs()
        return outcome
    finally:
        for heartbeat in heartbeats:
            heartbeat.stop()


def _load_flow(opt_ml: Path, store: ObjectStore, state: RunState, attempt: int, waker: JobWaker) -> Body:
    """Import the flow that the attempt names, from the code channel."""
    spec = project.read_spec(store, state.attempts[attempt].spec["digest"])
    waker.read(spec)
    project.set_variables(spec)
    module = project.load(project.unpack(opt_ml, spec), spec)
    flow = loading.find_flow(module, spec["flow"]["name"])
    if flow is None:
        raise ConfigError(
            "flow.not_found",
            f"{spec['flow'].get('file') or spec['flow']['module']} has no flow “{spec['flow']['name']}”.",
            next_step="Check the flow's name in the code that was sent.",
        )
    body: Body = flow.specified(spec.get("options", {}))
    return body


def _finish(opt_ml: Path, outcome: Outcome) -> int:
    if outcome.status == "completed":
        if outcome.replayed:
            print(f"clary: {outcome.replayed} calls were in the record and did not run again.")
        if outcome.left_over:
            print(f"clary: {outcome.lost()}")
    elif outcome.status == "waiting":
        print("clary: the run waits, and goes on in a job of its own.")
    elif outcome.status == "failed":
        assert outcome.error is not None
        print(failure.for_people(outcome.error), file=sys.stderr, end="")
        recorded = (outcome.failure or {}).get("error", {})
        kind = recorded.get("type", type(outcome.error).__name__)
        message = recorded.get("message", str(outcome.error))
        cause = (outcome.failure or {}).get("cause", "internal")
        step = f" Next step: {recorded['next_step']} [{recorded['code']}]" if "next_step" in recorded else ""
        text = failurefile.compose(cause, f"{kind}: {message}{step}", recorded.get("frames", ()))
        failurefile.write(opt_ml, text)
    else:
        print(f"clary: {outcome.error}")
    return outcome.exit_code


def _give_up(opt_ml: Path, error: ClaryError) -> int:
    print(f"clary: {error}", file=sys.stderr)
    cause = failure.cause_of(error)
    if cause == "user_code":
        cause = "internal"  # the user's code has not been reached
    failurefile.write(
        opt_ml, failurefile.compose(cause, f"{error.summary} Next step: {error.next_step} [{error.code}]")
    )
    return EXIT_FAILED if error.retry is Retry.NO else EXIT_TRY_AGAIN


def _attempt_number(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(
            "job.bad_pointer",
            f"{ATTEMPT_VARIABLE} holds no number: {text[:200]!r}.",
            next_step=f"Jobs of Clary are made by Clary, which sets {ATTEMPT_VARIABLE}; do not set it by hand.",
            field=ATTEMPT_VARIABLE,
        )
    return int(text)


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigError(
            "job.bad_pointer",
            f"{name} is not set in the job's environment.",
            next_step="Jobs of Clary are made by Clary, which sets it; do not start this entry point by hand.",
            field=name,
        ) from None
