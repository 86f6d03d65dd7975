"""``clary runs waits|answer``: what runs ask, and the answers."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from clary.agent.views import SETTLED
from clary.cli import following, output, params, run_text, state
from clary.cli.commands import Command
from clary.cli.output import say
from clary.errors import ConflictError, UsageError
from clary.stacks.model import LOCAL

if TYPE_CHECKING:
    from clary.agent.views import Observer, RunView
    from clary.stacks.model import Stack

_NAP = 0.05
"""Seconds between looks at a process that is about to leave its run."""
_run = click.argument("run", metavar="RUN")
_stack = click.option("--stack", "stack_name", metavar="NAME", help="Look on this stack only.")


@click.command("waits", cls=Command)
@click.argument("run", metavar="[RUN]", required=False)
@_stack
def waits(run: str | None, stack_name: str | None) -> None:
    """List what a run asks, or, without RUN, what the newest waiting runs of a stack ask."""
    from clary.agent import service
    from clary.stacks.service import resolve

    if run is not None:
        stack, identifier = params.find_run(run, stack_name)
        found = [service.get_run(stack, identifier)]
    else:
        stack = resolve(stack_name)
        found = service.list_runs(stack, limit=100, status="waiting")
    open_ = [(one, wait) for one in found for wait in one.waits if wait.outcome is None]

    def text() -> None:
        for one, wait in open_:
            say(f"{one.id}  {wait.name}: {wait.question}")
            run_text.wait_details(wait)
        if not open_:
            say("Nothing waits for an answer.")

    output.items([{"run": one.id, **vars(wait)} for one, wait in open_], text)


@click.command("answer", cls=Command)
@_run
@click.argument("name", required=False)
@click.argument("value", required=False)
@_stack
@click.option("--value", "given", metavar="JSON", help="The answer, in place of the argument VALUE.")
@click.option("--interactive", "-i", is_flag=True, help="Show the question and ask for the answer.")
@click.option("--abort", is_flag=True, help="End the wait without an answer: it raises in the flow.")
@click.option("--follow/--detach", default=None, help="Follow the run afterwards. Default: only where it goes on here.")
def answer(
    run: str,
    name: str | None,
    value: str | None,
    stack_name: str | None,
    given: str | None,
    interactive: bool,
    abort: bool,
    follow: bool | None,
) -> int:
    """Answer what a run asks, and let it go on.

    VALUE is read as JSON, else as text. NAME may be left out where only one answer is waited for. An answer that does
    not fit the question is refused, and the first one holds.
    """
    from clary.agent import service

    stack, identifier = params.find_run(run, stack_name)
    view = service.get_run(stack, identifier)
    name, text = _name_and_value(view, name, value, given)
    if interactive:
        name, text = _asked(view, name)
    elif text is None and not abort:
        raise UsageError(
            "cli.usage",
            "No answer was given.",
            next_step=f"Write it behind the name: clary runs answer {identifier} {name or 'NAME'} VALUE; or use -i.",
            field="value",
        )
    answered = service.answer(stack, identifier, name, _value(view, name, text), abort=abort)
    return _go_on(stack, answered, follow=follow)


def _value(view: RunView, name: str | None, text: str | None) -> Any:
    """Read an answer as JSON, else as text; an empty one is the empty text, or null where only that fits."""
    from clary.agent import answers

    if text:
        return params.value(text)
    schemas = [one.schema for one in view.waits if one.outcome is None and name in (None, one.name, one.path)]
    is_null = schemas and not answers.fits(schemas[0], "") and answers.fits(schemas[0], None)
    return None if text is None or is_null else ""


def ask(stack: Stack, view: RunView) -> RunView | None:
    """Ask at the terminal for what a followed run waits for; None where it is left waiting."""
    from clary.agent import service
    from clary.errors import ValidationError

    for wait in view.waits:
        while wait.outcome is None:
            say()
            say(f"{output.style(wait.name, bold=True)}: {wait.question}")
            run_text.wait_details(wait)
            text = click.prompt("Answer (nothing leaves the run waiting)", default="", show_default=False, err=True)
            if not text:
                return None
            try:
                view = service.answer(stack, view.id, wait.path, params.value(text))
            except ValidationError as error:
                output.warn(str(error.summary))
                continue
            break
    return view


def _name_and_value(
    view: RunView, name: str | None, value: str | None, given: str | None
) -> tuple[str | None, str | None]:
    """Tell a lone argument apart: the name of a wait, or, where only one answer is waited for, the answer."""
    if given is not None:
        if value is not None:
            raise UsageError(
                "cli.usage", "The answer is given twice.", next_step="Give VALUE or --value.", field="value"
            )
        return name, given
    if value is None and name is not None:
        known = {spelling for wait in view.waits for spelling in (wait.name, wait.path)}
        if name not in known:
            return None, name
    return name, value


def _asked(view: RunView, name: str | None) -> tuple[str | None, str]:
    if state.current().json or not state.interactive():
        raise UsageError(
            "cli.usage",
            "There is no terminal to ask at.",
            next_step="Give the answer as VALUE or with --value.",
            field="interactive",
        )
    for wait in view.waits:
        if wait.outcome is None and name in (None, wait.name, wait.path):
            say(wait.question)
            run_text.wait_details(wait)
            return wait.path, str(click.prompt("Answer", err=True))
    return name, ""


def _go_on(stack: Stack, answered: RunView, *, follow: bool | None) -> int:
    """Let the run go on and follow it where that is asked for; a local one that nobody lives for goes on here."""
    idle_here = stack.type == LOCAL and answered.status == "waiting"
    if not (idle_here if follow is None else follow):
        output.item(answered.to_dict(), lambda: _say_answered(answered))
        return 0

    def begin(observer: Observer) -> RunView:
        if idle_here:
            return _taken_over(stack, answered, observer)
        observer.submitted(answered)
        return _as_others(answered) if stack.type == LOCAL else answered

    return following.follow(stack, begin, detach=False)


def _taken_over(stack: Stack, waiting: RunView, observer: Observer) -> RunView:
    """Go on with a local run here, unless its own process, which was about to leave it, has seen the answer too."""
    from clary.agent import service

    run = waiting
    while run.status == "waiting":
        try:
            return service.resume(stack, run.id, observer=observer)
        except ConflictError as error:
            if error.code not in ("run.is_live", "run.is_completed"):
                raise
        time.sleep(_NAP)
        run = service.get_run(stack, run.id)
    return _as_others(run)


def _as_others(run: RunView) -> RunView:
    """Return a run as one that another process runs, which is watched to its end."""
    return run if run.status in SETTLED else replace(run, reused=True)


def _say_answered(run: RunView) -> None:
    given = [wait for wait in run.waits if wait.outcome is not None]
    if given:
        say(f"Recorded for run {run.id}: {given[-1].name} = {json.dumps(given[-1].answer, ensure_ascii=False)}")
    run_text.next_steps(run)
