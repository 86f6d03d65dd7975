"""The container's first process: starts the flow in a child, passes signals on, and explains a child that was killed.

A process that dies of a signal (no memory left, a crash in native code) can write no reason; its parent can. The parent
does nothing else, so it stays small and outlives what kills the child.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.runtime import failurefile, memory
from clary.secrets.redaction import MaskedStream

if TYPE_CHECKING:
    from types import FrameType

OPT_ML = Path("/opt/ml")
CHILD = "child"
"""Tells ``start.py`` that the process is the supervisor's child, begun anew in another Python."""
_PASSED_ON = (signal.SIGTERM, signal.SIGINT)
_NATIVE = {
    signal.SIGSEGV: "a crash in native code (segmentation fault)",
    signal.SIGBUS: "a crash in native code (bus error)",
    signal.SIGABRT: "native code gave up (abort)",
    signal.SIGILL: "the processor does not know an instruction (a package built for a newer one)",
    signal.SIGFPE: "an arithmetic fault in native code",
}


def supervise(opt_ml: Path = OPT_ML) -> int:
    """Run the flow in a child process and return the exit code of the container."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # the container's own streams
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    fault_log = os.memfd_create("clary-faults") if hasattr(os, "memfd_create") else -1
    kills_before = memory.kills()
    child = os.fork()
    if child == 0:
        be_the_child(opt_ml, fault_log)
    _pass_signals_to(child)
    status = _wait_for(child)
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    cause, summary = _explain(number, kills_before)
    frames = _faulting_frames(fault_log)
    sys.stderr.write("\n".join([f"clary: {summary}", *frames]) + "\n")
    failurefile.write(opt_ml, failurefile.compose(cause, summary, frames))
    return 128 + number


def be_the_child(opt_ml: Path, fault_log: int) -> None:
    """Run the flow, in the environment of the packages that came with the job if some did, and exit with its code."""
    code = 1
    try:
        _enter_dependencies(opt_ml, fault_log)
        from clary.runtime.main import run_job

        code = run_job(opt_ml, fault_log)
    except BaseException as error:  # noqa: BLE001 - nothing may return into the parent's code
        traceback.print_exc()
        failurefile.write(opt_ml, failurefile.compose("internal", f"{type(error).__name__}: {error}"))
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.finish() if isinstance(stream, MaskedStream) else stream.flush()
            except (OSError, ValueError):  # nobody reads it any more, or the user's code has closed it
                pass
        os._exit(code)


def _enter_dependencies(opt_ml: Path, fault_log: int) -> None:
    if not (opt_ml / "input" / "data" / "dependencies").is_dir():
        return
    from clary.runtime import dependencies

    if fault_log >= 0:
        os.set_inheritable(fault_log, True)  # noqa: FBT003 - the function's own signature
    try:
        dependencies.enter(opt_ml, [sys.argv[0], CHILD, str(fault_log)])
    except ConfigError as error:
        failurefile.write(opt_ml, failurefile.compose("image", f"{error.summary} Next step: {error.next_step}"))
        sys.stderr.write(f"clary: {error}\n")
        os._exit(1)


def _pass_signals_to(child: int) -> None:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)


def _wait_for(child: int) -> int:
    """Reap every process of the container, as its first one must, and return the child's status."""
    while True:
        ended, status = os.wait()
        if ended == child:
            return status


def _explain(number: int, kills_before: int | None) -> tuple[str, str]:
    if number in _NATIVE:
        return "user_code", f"The process ended with {signal.Signals(number).name}: {_NATIVE[signal.Signals(number)]}."
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    used = f"its peak was {memory.readable(peak)}" + (
        f" of {memory.readable(limit)}" if (limit := memory.limit()) else ""
    )
    if number == signal.SIGKILL and memory.exhausted(peak, kills_before):
        return "out_of_memory", f"The process was killed for want of memory (SIGKILL); {used}."
    return "interrupted", f"The process was killed by {signal.Signals(number).name} from outside; {used}."


def _faulting_frames(fault_log: int) -> list[str]:
    if fault_log < 0:
        return []
    os.lseek(fault_log, 0, os.SEEK_SET)
    lines = os.read(fault_log, 64 * 1024).decode(errors="replace").splitlines()
    frames = [line.strip() for line in lines if line.startswith("  File")]
    return list(reversed(frames))
