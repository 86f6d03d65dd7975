"""Running the body of a call that has a time limit: in a process of its own, which can be ended whatever it does.

A thread cannot be ended from outside. A forked process can, and it sees all that the flow has in memory; what it
changes there is lost, as it is in every replay. Its value comes back by pickle.
"""

from __future__ import annotations

import contextvars
import ctypes
import os
import pickle
import select
import signal
import struct
import sys
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from clary.engine import failure
from clary.errors import SerializationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 20
_LOOK_SECONDS = 0.2
"""Between looks whether the flow has ended, or the process without a word."""
_LENGTH = struct.Struct(">Q")
"""Of what follows, before it."""


class Child:
    """One body in a process of its own."""

    def __init__(
        self,
        context: contextvars.Context,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
    ) -> None:
        self._read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child touches none of their locks
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            _run(write, context, function, arguments, keywords)
        os.close(write)

    def result(self, seconds: float, ended: Callable[[], BaseException | None]) -> Any:
        """Return the body's value or raise what it raised.

        Raises TimeoutError after ``seconds``; what ``ended`` returns as soon as it returns something. Either way, and
        whatever happens, the process is gone when this returns.
        """
        data = bytearray()
        deadline = time.monotonic() + seconds
        code: int | None = None
        try:
            while not _is_whole(data) and code is None:
                if (reason := ended()) is not None:
                    raise reason
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"the call has not ended within {seconds:g} seconds")
                if select.select([self._read], [], [], min(left, _LOOK_SECONDS))[0]:
                    chunk = os.read(self._read, _CHUNK)
                    data += chunk
                    if not chunk:
                        code = self._end(wait=True)
                else:
                    # Not the end of the pipe: another child, forked at the same moment, may hold its other end open.
                    code = self._exit_code()
            while code is not None and (rest := self._rest()):
                data += rest
        finally:
            os.close(self._read)
            if code is None:
                code = self._end(wait=_is_whole(data))
        return _outcome(bytes(data), code)

    def _rest(self) -> bytes:
        """Return what an ended process has left in the pipe."""
        ready = select.select([self._read], [], [], 0)[0]
        return os.read(self._read, _CHUNK) if ready else b""

    def _exit_code(self) -> int | None:
        """Return the exit code of the process if it has ended, and collect it."""
        found, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if found else None

    def _end(self, *, wait: bool) -> int:
        """Collect the process, ending it where it does not end by itself; return its exit code."""
        if not wait:
            self._signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while (code := self._exit_code()) is None:
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            time.sleep(0.005)
        return code

    def _signal(self, number: int) -> None:
        for send in (os.killpg, os.kill):  # its group, once it has one: it may have started others
            try:
                send(self.pid, number)
            except ProcessLookupError:
                continue
            return


def _run(
    write: int,
    context: contextvars.Context,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
) -> None:
    """Be the child: run the body, send what came of it, and end without the parent's own clean-up."""
    code = 1
    try:
        os.setpgid(0, 0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the parent's death ends it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with os.fdopen(write, "wb") as pipe:
            told = _told(context, function, arguments, keywords)
            pipe.write(_LENGTH.pack(len(told)) + told)
        code = 0
    except BrokenPipeError:
        pass  # the flow has ended, and nobody listens any more
    except BaseException:  # noqa: BLE001 - nothing may return into the parent's code
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _told(
    context: contextvars.Context,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
) -> bytes:
    try:
        return pickle.dumps((True, context.run(function, *arguments, **keywords)))
    except BaseException as error:  # noqa: BLE001 - it is raised again in the flow's process
        here = error.__traceback__
        assert here is not None
        return pickle.dumps((False, failure.to_send(error.with_traceback(here.tb_next))))


def _is_whole(data: bytes | bytearray) -> bool:
    return len(data) >= _LENGTH.size and len(data) - _LENGTH.size == _LENGTH.unpack_from(data)[0]


def _outcome(data: bytes, code: int) -> Any:
    if not _is_whole(data):
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise UsageError(
            "call.process_died",
            f"The process of the call ended without a result ({name}).",
            next_step="Look at the run's output; SIGKILL often means that the memory was used up.",
        )
    try:
        fine, value = pickle.loads(data[_LENGTH.size :])  # noqa: S301 - from the process that we have forked
    except Exception as error:
        raise SerializationError(
            "call.result_lost",
            f"What the call returned could not be read back from its process: {error}.",
            next_step="Return plain data, arrays or frames from a checkpoint with a timeout.",
        ) from error
    if fine:
        return value
    raise failure.received(value)
