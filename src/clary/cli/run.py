"""``clary run``: start a flow and follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clary.cli import params
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
@click.option(
    "--detach/--follow",
    "-d/-f",
    default=None,
    help="Return when the job was asked for, or follow the run to its end. Default: follow, unless the stack was made "
    "with --async.",
)
def run(target: str, stack_name: str | None, pairs: tuple[str, ...], detach: bool | None) -> int:
    """Run the flow TARGET, written as path/file.py:flow or module:flow, and follow it to its end.

    The exit code is 0 if the run completes and 1 if it does not. Ctrl-C asks whether to stop the run or to leave it.
    """
    given = params.inputs(pairs)
    from clary.agent import service
    from clary.cli.following import check_detach, follow
    from clary.stacks.service import resolve

    flow = service.load_target(target)
    inputs = flow.flow.bind(given)
    stack = resolve(stack_name, flow.flow.options.stack)
    detach = not stack.synchronous if detach is None else detach
    check_detach(stack, detach=detach)

    def begin(observer: Observer) -> RunView:
        return service.start(flow, inputs, stack, observer=observer)

    return follow(stack, begin, detach=detach)
