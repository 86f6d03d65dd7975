"""``clary runs waits|answer``: what runs ask, and the answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from clary.cli import following, output, params, run_text, state
from clary.cli.commands import Command
from clary.cli.output import say
from clary.errors import UsageError

if TYPE_CHECKING:
    from clary.agent.views import Observer, RunView
    from clary.stacks.model import Stack

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
@click.option("--follow/--detach", default=None, help="Follow the run afterwards. Default: only on a local stack.")
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
    answered = service.answer(stack, identifier, name, params.value(text or "null"), abort=abort)
    return _go_on(stack, answered, follow=stack.type == "local" if follow is None else follow)


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


def _go_on(stack: Stack, answered: RunView, *, follow: bool) -> int:
    from clary.agent import service

    if not follow:
        output.item(answered.to_dict(), lambda: _say_answered(answered))
        return 0

    def begin(observer: Observer) -> RunView:
        if stack.type != "local":
            observer.submitted(answered)
            return answered
        return service.resume(stack, answered.id, observer=observer)

    return following.follow(stack, begin, detach=False)


def _say_answered(run: RunView) -> None:
    given = [wait for wait in run.waits if wait.outcome is not None]
    if given:
        say(f"Recorded for run {run.id}: {given[-1].name} = {json.dumps(given[-1].answer, ensure_ascii=False)}")
    run_text.next_steps(run)
