"""A component's options on the command line: every ``--key=value`` that is no option of the command is the flavor's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clary.cli.commands import Command, command_name
from clary.cli.state import State
from clary.errors import ClaryError, UsageError, nearest
from clary.stacks.flavors import KINDS, find, names, with_article

if TYPE_CHECKING:
    from clary.stacks.flavors import Flavor

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Given = tuple[str, str]
"""An option as it was typed: its name without the hyphens, and its value."""

_GIVEN = "clary.cli.component_options"
_CLOSE = 0.85
"""How alike a name must be to an option of the command to be called a misspelling of it."""


class OptionsCommand(Command):
    """A command that takes the options of a flavor beside its own; ``given()`` returns them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the flavor's options apart; the rest is click's."""
        ctx.ensure_object(State).command = command_name(ctx)
        takes_value = {
            spelling: not (param.is_flag or param.count)
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            for spelling in (*param.opts, *param.secondary_opts)
        }
        ours, ctx.meta[_GIVEN] = split(args, takes_value)
        return super().parse_args(ctx, ours)


_OF_JOBS = "For tags of jobs, and so of their costs, give the orchestrator --tags.NAME=VALUE."
_CREDENTIALS = "Give the source of the credentials as an option: --credentials=aws-profile:NAME."
_DOCUMENTED = {
    "label": ("Components of Clary have no labels.", _OF_JOBS),
    "connector": ("Clary has no service connectors.", _CREDENTIALS),
    "resource_id": ("Clary has no service connectors, and so no resources of theirs.", _CREDENTIALS),
    "secret": (
        "A component has no secrets of its own: they are referred to by name where they are needed.",
        "For a variable of jobs, give the orchestrator --environment.NAME={{secrets.SECRET.KEY}}.",
    ),
    "remove_secret": (
        "A component has no secrets of its own: they are referred to by name where they are needed.",
        "Take the option out that refers to it: remove-attribute NAME OPTION.",
    ),
}
"""Options that ZenML documents for every component, why they are not here, and what to do instead."""
_SHORT = {"label": "-l", "connector": "-c", "resource_id": "-r"}


def documented_options(command: Decorated) -> Decorated:
    """Add the short options of other tools, only to refuse them by name; the long ones come as the flavor's."""
    for name, short in _SHORT.items():
        command = click.option(short, name, hidden=True, expose_value=False, callback=_refuse_short)(command)
    return command


def _refuse_short(_ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise _documented(str(param.name))


def _documented(name: str) -> ClaryError:
    why, step = _DOCUMENTED[name]
    return UsageError("component.foreign_option", why, next_step=step, field=name)


def given() -> list[Given]:
    """Return the flavor's options of the running command, in their order."""
    return list(click.get_current_context().meta[_GIVEN])


def split(words: Sequence[str], takes_value: Mapping[str, bool]) -> tuple[list[str], list[Given]]:
    """Return the words that are the command's, and the options that are the flavor's.

    ``takes_value`` has the command's own options: whether a value follows. ``--key=value`` and ``--key value`` are the
    same; a value that begins with a hyphen needs the first form, unless it is a number. After ``--`` there are no
    options. Raises UsageError ``component.no_value``.
    """
    left = deque(words)
    ours: list[str] = []
    theirs: list[Given] = []
    while left:
        word = left.popleft()
        if word == "--":
            return [*ours, word, *left], theirs
        name, equals, value = word.partition("=")
        if not word.startswith("--") or name in takes_value:
            ours.append(word)
            if left and _value_follows(word, takes_value):
                ours.append(left.popleft())
        elif not name[2:].strip("-_."):
            raise UsageError(
                "component.bad_option",
                f"{name} names no option.",
                next_step="Write --NAME=VALUE.",
            )
        elif equals:
            theirs.append((name[2:], value))
        elif left and _is_value(left[0]):
            theirs.append((name[2:], left.popleft()))
        else:
            raise UsageError(
                "component.no_value",
                f"The option {name} has no value.",
                next_step=f"Write {name}=VALUE; what is on or off is {name}=true or {name}=false.",
                field=name[2:],
            )
    return ours, theirs


def _value_follows(word: str, takes_value: Mapping[str, bool]) -> bool:
    """Tell whether the value of an option of ours is the next word."""
    if word.startswith("--"):
        return "=" not in word and takes_value[word]
    if not word.startswith("-"):
        return False
    for position, letter in enumerate(word[1:], start=1):
        if takes_value.get(f"-{letter}", False):
            return position == len(word) - 1
    return False


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word == "-" or word[1:2].isdigit() or word[1:2] == "."


def flavor_of(kind: str, name: str | None, typed: Iterable[Given] = ()) -> Flavor:
    """Return the flavor that was asked for; raises UsageError ``component.no_flavor``, and as ``flavors.find``."""
    if name is not None:
        return find(kind, name)
    there = names(kind)
    misspelt = next((option for option, _ in typed if nearest("flavor", [option], cutoff=_CLOSE)), None)
    if misspelt is not None:
        step = f"Did you mean --flavor, where you wrote --{misspelt}?"
    elif len(there) == 1:
        step = f"There is only one: --flavor={there[0]}."
    else:
        step = (
            f"Give --flavor=FLAVOR, one of: {', '.join(there)}. `clary {KINDS[kind].command} flavor list` tells more."
        )
    raise UsageError(
        "component.no_flavor", f"No flavor of {with_article(kind)} was named.", next_step=step, field="flavor"
    )


def read(flavor: Flavor, typed: Iterable[Given], command: click.Command) -> dict[str, Any]:
    """Return options as they were typed as a mapping: values are YAML, dotted names nest, hyphens are underscores.

    A value that the option would not take as YAML but takes as text (an id of digits only) is text. ``command`` is
    whose own options a name may be a misspelling of. Raises UsageError ``component.given_twice``, ``stack.bad_value``,
    ``cli.no_such_option``.
    """
    found: dict[str, Any] = {}
    seen: dict[tuple[str, ...], str] = {}
    for name, text in typed:
        option, *below = name.split(".")
        path = (option.replace("-", "_"), *below)
        _refuse_ours(flavor, name, path[0], command)
        if not all(path):
            raise UsageError(
                "component.bad_option",
                f"--{name} has an empty name between its dots.",
                next_step="Write for example --tags.team=ml, or --tags='{a.b: c}' for a name with a dot.",
                field=name,
            )
        if clash := next((other for other in seen if _same_or_above(path, other)), None):
            raise _given_twice(name, seen[clash])
        seen[path] = name
        holder = found
        for above in path[:-1]:
            holder = holder.setdefault(above, {})
        holder[path[-1]] = _value(flavor, path, text, name)
    return found


def _value(flavor: Flavor, path: tuple[str, ...], text: str, name: str) -> Any:
    from clary.stacks.draft import parse_value

    value = parse_value(text, f"--{name}", name)
    own = flavor.own_name(path[0])
    option = next((one for one in flavor.options if one.name == own), None)
    as_text = option is not None and len(path) == 1 and option.check(value) is not None and option.check(text) is None
    return text if as_text else value


def _same_or_above(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _refuse_ours(flavor: Flavor, name: str, option: str, command: click.Command) -> None:
    """Refuse what no flavor could know: ``--ouput`` by its right name, and what other tools have for all components."""
    if flavor.knows(option):
        return
    if option in _DOCUMENTED:
        raise _documented(option)
    ours = {spelling.lstrip("-") for param in command.params if not getattr(param, "hidden", False)
            for spelling in param.opts if spelling.startswith("--")}  # fmt: skip
    theirs = [one.name for one in flavor.options]
    meant = nearest(option, [*theirs, *ours], cutoff=_CLOSE)
    if meant in ours:
        raise UsageError(
            "cli.no_such_option", f"There is no option --{name}.", next_step=f"Did you mean --{meant}?", field=name
        )


def _given_twice(name: str, before: str) -> ClaryError:
    same = name == before
    return UsageError(
        "component.given_twice",
        f"--{name} is given twice." if same else f"--{name} and --{before} are of the same option.",
        next_step="Give it once; several values go into one, such as --tags='{team: ml, cost: low}'.",
        field=name,
    )
