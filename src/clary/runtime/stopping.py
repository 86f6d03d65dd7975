"""SIGTERM as an orderly stop: raised in the main thread, and again where the flow has swallowed it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from clary.engine.attempt import in_flow
from clary.errors import StopRequested

if TYPE_CHECKING:
    from types import FrameType

    from clary.engine.execution import Execution

AGAIN = 30.0
"""Seconds after which the stop is raised again, for as long as the flow's body still runs: a bare ``except:`` may have
swallowed it. SageMaker sends SIGKILL after 120; whoever cleans up in a ``finally`` is left alone for this long."""

_executions: list[Execution] = []


def obey_sigterm() -> None:
    """Stop in an orderly way from now on. In the main thread."""
    signal.signal(signal.SIGTERM, _stop)


def watch(execution: Execution) -> None:
    """Let the execution begin no further calls once the stop has come."""
    _executions[:] = [execution]


def _stop(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the heartbeat and the platform may both send one
    signal.signal(signal.SIGALRM, _stop_again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    reason = StopRequested("the platform asked the job to stop (SIGTERM)")
    for execution in _executions:
        execution.ended = execution.ended or reason  # the next call raises it, even if the flow swallows it here
    raise reason


def _stop_again(_number: int, frame: FrameType | None) -> None:
    """Raise only where the flow's body is still at work: what is done behind it must not be interrupted."""
    if in_flow(frame):
        raise StopRequested("the flow has not stopped (SIGTERM)")
