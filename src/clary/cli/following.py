"""Following a run in the foreground: to its end, or to Ctrl-C, which asks whether to stop the run or to leave it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from clary.agent.views import SETTLED, RunView
from clary.cli import output, run_text, state
from clary.cli.live import LiveView, SilentView
from clary.errors import UsageError
from clary.stacks.model import LOCAL, Stack

if TYPE_CHECKING:
    from clary.agent.views import Observer

DETACHED = (
    "Until somebody looks, nothing more is done for it: no retry after a lack of capacity or an interruption, no "
    "wake-up from a wait. Any `clary runs` command that looks at it catches up."
)
QUESTION = "Stop the run, or detach and leave it running? [s/D] "


def check_detach(stack: Stack, *, detach: bool) -> None:
    """Refuse to leave a run that would happen in this process: UsageError ``run.cannot_detach``."""
    if detach and stack.type == LOCAL:
        raise UsageError(
            "run.cannot_detach",
            f"A run on {stack.name!r} happens in this process, so there is nothing to detach from.",
            next_step="Leave --detach out; runs on a sagemaker stack can be left.",
            field="detach",
        )


def follow(stack: Stack, begin: Callable[[Observer], RunView], *, detach: bool) -> int:
    """Begin a run, or an attempt of one, and follow it; print how it ends and return the exit code.

    ``begin`` records and submits, and on a local stack runs to the end. 0: completed, or detached as asked. 1: it ended
    without a result. 3: it waits for an answer. 130: left by Ctrl-C, or stopped by it where the run was this process.
    """
    view: LiveView | SilentView = SilentView() if state.current().json else LiveView()
    run: RunView | None = None
    killed = False
    try:
        with clean_stdout(stack):
            run = begin(view)
        if (stack.type != LOCAL or run.reused) and not detach and run.status not in SETTLED:
            run = _until_settled(stack, run.id, view)
        while run.status == "waiting" and not detach and (answered := _answered(stack, run)) is not None:
            run = _gone_on(stack, answered, view)
    except KeyboardInterrupt:
        known = run or view.run
        if known is None:
            raise
        run = _interrupted(stack, known.id, view)
        if run is None:
            return state.INTERRUPTED
        killed = stack.type == LOCAL
    if detach and run.status not in SETTLED:
        _say_detached(stack, run)
        return 0
    view.finish()
    run = run_text.explained(run)
    output.item(run.to_dict(), lambda: run_text.summary(run))
    return state.INTERRUPTED if killed else state.exit_code(run.status)


def _answered(stack: Stack, run: RunView) -> RunView | None:
    """Ask whoever sits at the terminal what the run waits for; None where nobody does, or they leave it."""
    if state.current().json or not state.interactive():
        return None
    from clary.cli.runs_answer import ask

    return ask(stack, run)


def _gone_on(stack: Stack, run: RunView, view: LiveView | SilentView) -> RunView:
    from clary.agent import service

    if stack.type == LOCAL:
        return service.resume(stack, run.id, observer=view)
    return _until_settled(stack, run.id, view)


def _until_settled(stack: Stack, run: str, view: LiveView | SilentView) -> RunView:
    from clary.agent import service

    return service.follow(stack, run, view)


def _interrupted(stack: Stack, run: str, view: LiveView | SilentView) -> RunView | None:
    """Stop or leave a run after Ctrl-C. Returns the run if it was stopped, None if it was left running."""
    from clary.agent import service

    try:
        if not _wants_stop(stack):
            _leave(stack, run)
            return None
        stopped = service.stop(stack, run)
        if stopped.status in SETTLED:
            return stopped
        view.note("asked the job to stop; Ctrl-C again leaves it to itself")
        view.look_again()
        return _until_settled(stack, run, view)
    except KeyboardInterrupt:
        click.echo(err=True)
        _leave(stack, run)
        return None


def _wants_stop(stack: Stack) -> bool:
    if stack.type == LOCAL:
        return True  # the run was this process: there is nothing to leave running
    if state.current().json or not state.interactive():
        return False
    click.echo("\n" + QUESTION, err=True, nl=False)
    # Not click.prompt: while readline sets the terminal up it holds a second Ctrl-C back until the next key.
    return sys.stdin.readline().strip().lower() in {"s", "stop"}


def _leave(stack: Stack, run: str) -> None:
    """Leave a run after Ctrl-C, with a last look at it: that asks for its job if Ctrl-C came before this was done."""
    from clary.agent import service

    _say_detached(stack, service.get_run(stack, run))


def _say_detached(stack: Stack, run: RunView) -> None:
    def text() -> None:
        if run.status in SETTLED:
            output.say(f"Run {run.id} is {output.status(run.status)} already.")
        else:
            output.say(f"Detached: run {run.id} goes on, on {stack.name}. {DETACHED}")
        run_text.next_steps(run)

    output.item(run.to_dict(), text)


@contextmanager
def clean_stdout(stack: Stack) -> Iterator[None]:
    """Send what a local run prints to stderr in JSON mode: the flow runs in this process, and stdout is for the JSON.

    Done on the file descriptor, so that libraries and child processes of the flow are caught too.
    """
    if stack.type != LOCAL or not state.current().json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
