"""Click commands with the habits of every ``clary`` command: ``-o json``, ``--debug``, near misses, lazy groups.

Listing a group's commands or showing its help imports none of their modules: each entry carries its own summary, and a
test compares it with the command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import click

from clary.cli.state import State
from clary.errors import UsageError, nearest

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True)
class Lazy:
    """A command that is imported when it is used."""

    target: str
    """``module:attribute``."""
    summary: str
    """Its line in the group's help."""


class Choice(click.Choice[str]):
    """An enumerated value; a misspelt one gets the nearest right one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value, or fail with what was probably meant."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            hint = nearest(str(value), [str(choice) for choice in self.choices])
            if not hint:
                raise
            self.fail(f"{error.message} Did you mean '{hint}'?", param, ctx)


class Command(click.Command):
    """One command: every one of them takes ``-o/--output`` and ``--debug``."""

    output_flags: tuple[str, ...] = ("-o", "--output")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {}).update(CONTEXT)
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(
                list(self.output_flags),
                type=Choice(["text", "json"]),
                default="text",
                show_default=True,
                expose_value=False,
                callback=_take_output,
                is_eager=True,
                help="How to print: for people, or as JSON with nothing else on stdout.",
            ),
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_take_debug,
                is_eager=True,
                help="Show the traceback of an error.",
            ),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note the command's name for the output, then read the arguments: refusing them names it too."""
        ctx.ensure_object(State).command = command_name(ctx)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group whose commands may be ``Lazy``; a misspelt command gets the nearest right one.

    Those of ``lazy_hidden`` are in no list: they are there for those who type them out of habit.
    """

    command_class = Command

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, Lazy] | None = None,
        lazy_after: Mapping[str, Lazy] | None = None,
        lazy_hidden: Mapping[str, Lazy] | None = None,
        aliases: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("context_settings", {}).update(CONTEXT)
        super().__init__(*args, **kwargs)
        self.lazy = {**(lazy or {}), **(lazy_after or {})}
        self._after = list(lazy_after or {})
        self._hidden = dict(lazy_hidden or {})
        self.aliases = dict(aliases or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        """Return the names in the order they were declared; those of ``lazy_after`` come last."""
        first = [name for name in self.lazy if name not in self._after]
        return [*first, *self.commands, *self._after]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing it if it is lazy."""
        name = self.aliases.get(cmd_name, cmd_name)
        lazy = self.lazy.get(name) or self._hidden.get(name)
        if lazy is None:
            return super().get_command(ctx, name)
        module, _, attribute = lazy.target.partition(":")
        return cast("click.Command", getattr(import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command under its canonical name. Raises UsageError ``cli.no_such_command``."""
        name = self.aliases.get(args[0], args[0])
        command = self.get_command(ctx, name)
        if command is not None or name.startswith("-"):
            return (name, command, args[1:]) if command else super().resolve_command(ctx, args)
        meant = nearest(args[0], [*self.list_commands(ctx), *self.aliases])
        ctx.ensure_object(State).command = command_name(ctx)
        raise UsageError(
            "cli.no_such_command",
            f"There is no command '{ctx.command_path} {args[0]}'.",
            next_step=f"Did you mean `{ctx.command_path} {meant}`?" if meant else f"Run `{ctx.command_path} --help`.",
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command table without importing the lazy ones."""
        rows = []
        for name in self.list_commands(ctx):
            if name in self.lazy:
                rows.append((name, self.lazy[name].summary))
            elif not self.commands[name].hidden:
                rows.append((name, self.commands[name].get_short_help_str(limit=80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def command_name(ctx: click.Context) -> str:
    """Return the command of a context as the JSON output names it: canonical, without ``clary``."""
    return ctx.command_path.partition(" ")[2]


def _take_output(ctx: click.Context, _param: click.Parameter, value: str) -> None:
    ctx.ensure_object(State).json = value == "json"


def _take_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(State).debug = True
