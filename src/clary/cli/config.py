"""``clary config``: what holds for a run and where each value comes from; options saved on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clary.cli import call_options, output
from clary.cli.commands import Group
from clary.cli.output import say

if TYPE_CHECKING:
    from clary.agent.configured import Value


@click.group("config", cls=Group)
def config() -> None:
    """Show what holds for a run and why, and save options on this machine.

    The first that says something wins: the run, the flow's decorator, configure(), CLARY_* variables, [tool.clary] of
    the nearest pyproject.toml, what is saved here, the stack, the default.
    """


@config.command("show")
@click.option("--flow", "target", metavar="FILE.py:FLOW", help="Of this flow, with what its decorator says.")
@click.option("--stack", "stack_name", metavar="NAME", help="On this stack. Default: the one that a run would use.")
def show(target: str | None, stack_name: str | None) -> None:
    """Show each option and job setting as it would hold for a run now, and where it comes from."""
    from clary.agent import configured

    values = configured.values(target, stack_name)

    def text() -> None:
        output.table(["NAME", "VALUE", "FROM"], [[one.name, _text(one), one.source] for one in values if one.told])
        say()
        say("Job settings that are not shown have no value; docs/reference/job-settings.md lists them.")

    output.items([one.to_dict() for one in values], text)


@config.command("set")
@click.argument("name")
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Save VALUE (YAML) for NAME: stack, image, cache, retries, on_change, or a job setting such as tags.team."""
    from clary.settings import saved
    from clary.stacks import service

    if name == "stack":
        kept, shown = name, service.use(value)[0].stack.name
    else:
        kept = saved.put(name, call_options.value(value, f"{name}={value}"))
        shown = _safe(kept, saved.flat(saved.load()).get(kept, value))

    def text() -> None:
        say(f"Saved {kept}: {_plain(kept, shown)}")
        say("`clary config show` tells what outranks it, and what holds.")

    output.item({"name": kept, "value": shown}, text)


@config.command("unset")
@click.argument("name")
def unset(name: str) -> None:
    """Forget what is saved for NAME."""
    from clary.settings import saved
    from clary.stacks import service
    from clary.stacks.model import LOCAL

    if name == "stack":
        service.use(LOCAL)
    else:
        saved.remove(name)
    output.item({"name": name}, lambda: say(f"Forgot {name}."))


@config.command("list")
def list_() -> None:
    """List what is saved on this machine; the saved stack is what `clary stack list` marks."""
    from clary.settings import saved

    kept = saved.flat(saved.load())

    def text() -> None:
        if kept:
            output.table(["NAME", "VALUE"], [[name, _plain(name, value)] for name, value in kept.items()])
        else:
            say("Nothing is saved. `clary config set NAME VALUE` saves an option.")

    output.items([{"name": name, "value": _safe(name, value)} for name, value in kept.items()], text)


def _text(one: Value) -> str:
    return "-" if one.value is None else _plain(one.name, one.value)


def _plain(name: str, value: Any) -> str:
    import json

    safe = _safe(name, value)
    return safe if isinstance(safe, str) else json.dumps(safe, ensure_ascii=False)


def _safe(name: str, value: Any) -> Any:
    from clary.agent.configured import safe

    return safe(name, value)
