"""``clary cache``: what checkpoints may take from other runs, why one did not, and clearing it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from clary.cli import format as human
from clary.cli import output, params, state
from clary.cli.commands import Group
from clary.cli.output import say
from clary.errors import UsageError
from clary.files import size_text

if TYPE_CHECKING:
    from clary.agent.cache import CacheEntry, CallReuse

_stack = click.option("--stack", "stack_name", metavar="NAME", help="The stack to look at. Default: the current one.")
_checkpoint = click.option("--checkpoint", metavar="NAME", help="Only results of this checkpoint.")


@click.group("cache", cls=Group)
def cache() -> None:
    """See and clear what checkpoints take from other runs."""


@cache.command("list")
@_stack
@_checkpoint
def list_(stack_name: str | None, checkpoint: str | None) -> None:
    """List the results that runs may take, newest first."""
    from clary.agent import cache as service
    from clary.agent.place import place_of
    from clary.stacks.service import resolve

    stack = resolve(stack_name)
    found = service.entries(place_of(stack), checkpoint)

    def text() -> None:
        if found:
            output.table(("CHECKPOINT", "MADE", "RUN", "CALL", "TOOK", "RESULT"), [_cells(one) for one in found])
        else:
            say(f"The cache of {stack.name} is empty. A checkpoint fills it with @checkpoint(cache=True).")

    output.items([one.to_dict() for one in found], text)


@cache.command("why")
@click.argument("run", metavar="RUN")
@click.option("--stack", "stack_name", metavar="NAME", help="Look on this stack only.")
def why(run: str, stack_name: str | None) -> None:
    """Tell for each cached call of RUN whose result it took, or what was different."""
    from clary.agent import cache as service
    from clary.agent.place import place_of

    stack, identifier = params.find_run(run, stack_name)
    found = service.why(place_of(stack), identifier)

    def text() -> None:
        for one in found:
            _say_why(one)
        if not found:
            say(f"No call of {identifier} has asked the cache.")

    output.items([one.to_dict() for one in found], text)


@cache.command("clear")
@_stack
@_checkpoint
@click.option("--older-than", type=params.Seconds(), metavar="DURATION", help="Only results older than 30d, 12h, ….")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(stack_name: str | None, checkpoint: str | None, older_than: float | None, yes: bool) -> None:
    """Clear the cache: results are not taken any more. What runs have recorded stays as it is."""
    from clary.agent import cache as service
    from clary.agent.place import place_of
    from clary.stacks.service import resolve

    stack = resolve(stack_name)
    what = f"results of {checkpoint}" if checkpoint else "all results"
    aged = f" older than {human.duration(older_than)}" if older_than is not None else ""
    if not yes:
        _agree(f"Clear {what}{aged} from the cache of {stack.name}?")
    cleared = service.clear(place_of(stack), checkpoint, older_than)
    output.item(
        {"stack": stack.name, "checkpoint": checkpoint, "older_than": older_than, "cleared": cleared},
        lambda: say(f"Cleared: {cleared} result{'' if cleared == 1 else 's'}."),
    )


def _agree(question: str) -> None:
    if not state.interactive() or state.current().json:
        raise UsageError(
            "cache.not_agreed",
            "The cache would be cleared, and nobody can be asked.",
            next_step="Add --yes.",
            field="yes",
        )
    click.confirm(question, abort=True, err=True)


def _cells(one: CacheEntry) -> list[str]:
    size = f" ({size_text(one.size)})" if one.size else ""
    shown = textwrap.shorten(one.preview, 40, placeholder="…") + size
    return [one.checkpoint, human.ago(one.made), one.run, one.path, human.duration(one.seconds), shown]


def _say_why(one: CallReuse) -> None:
    if one.reused:
        say(f"{output.style('↻', 'cyan')} {one.path}  from {one.call} of run {one.run}")
        return
    closest = f" (closest: {one.call} of run {one.run})" if one.run else ""
    say(f"{output.style('✗', 'yellow')} {one.path}  {'; '.join(one.reasons)}{closest}")
