"""``clary run``: start a flow and follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clary.cli import call_options, params
from clary.cli.commands import Command

if TYPE_CHECKING:
    from clary.agent.views import Observer, RunView


@click.command("run", cls=Command)
@click.argument("target")
@click.option("--stack", "stack_name", metavar="NAME", help="The stack to run on. Default: the current one.")
@click.option(
    "--input",
    "-i",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input of the flow, the value read as JSON, else as text. May be repeated.",
)
@call_options.call_options
@click.option(
    "--key",
    metavar="KEY",
    help="Start a run of this flow under this key once on a stack: a second start shows the run that is there.",
)
@click.option(
    "--detach/--follow",
    "-d/-f",
    default=None,
    help="Return when the job was asked for, or follow the run to its end. Default: follow, unless the stack was made "
    "with --async.",
)
def run(target: str, pairs: tuple[str, ...], detach: bool | None, **options: Any) -> int:
    """Run the flow TARGET, written as path/file.py:flow or module:flow, and follow it to its end.

    The exit code is 0 if the run completes, 3 if it waits for an answer or a moment, and 1 if it does not complete.
    Ctrl-C asks whether to stop the run or to leave it.
    """
    given = params.inputs(pairs)
    from dataclasses import replace

    from clary.agent import service
    from clary.cli.following import check_detach, follow
    from clary.stacks.service import resolve

    found = service.load_target(target)
    flow = replace(found, flow=found.flow.with_call(call_options.given(options)))
    inputs = flow.flow.bind(given)
    stack = resolve(flow.flow.call.stack, flow.flow.options.stack)
    detach = not stack.synchronous if detach is None else detach
    check_detach(stack, detach=detach)

    def begin(observer: Observer) -> RunView:
        return service.start(flow, inputs, stack, observer=observer)

    return follow(stack, begin, detach=detach)
