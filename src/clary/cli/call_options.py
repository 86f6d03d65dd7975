"""Options of one run, as the commands that start or go on with a run take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from clary.cli.image_options import image_value
from clary.errors import UsageError

if TYPE_CHECKING:
    from clary.flows.flow import CallOptions

_NAMES = ("image", "retries", "cache", "assignments")


def call_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--image``, ``--retries``, ``--cache/--no-cache`` and ``--set`` to a command."""
    for decorate in reversed(
        (
            click.option(
                "--image", metavar="IMAGE", help="The image of its jobs; or JSON or @FILE.yaml: what one is made of."
            ),
            click.option(
                "--retries",
                type=click.IntRange(0),
                metavar="N",
                help="How often the flow's body runs again after it raised.",
            ),
            click.option(
                "--cache/--no-cache",
                default=None,
                help="Take results of other runs where a checkpoint says nothing of it, or do not.",
            ),
            click.option(
                "--set",
                "assignments",
                multiple=True,
                metavar="NAME=VALUE",
                help="A job setting, such as instance_type=ml.g5.xlarge or tags.team=ml; the value is YAML. May be "
                "repeated.",
            ),
        )
    ):
        command = decorate(command)
    return command


def given(values: dict[str, Any]) -> CallOptions:
    """Take those options, and ``stack`` and ``key``, out of a command's values and return what they say.

    Raises UsageError ``cli.bad_setting``.
    """
    from clary.flows.flow import CallOptions

    image, retries, cache, assignments = (values.pop(name, None) for name in _NAMES)
    return CallOptions(
        stack=values.pop("stack_name", None),
        image=None if image is None else image_value(image),
        retries=None if retries is None else {"count": retries},
        cache=cache,
        settings=settings(assignments or ()),
        key=values.pop("key", None),
    )


def settings(assignments: tuple[str, ...]) -> dict[str, Any]:
    """Return the job settings of ``NAME=VALUE`` pairs; a dotted name is a member of an object.

    Raises UsageError ``cli.bad_setting``.
    """
    found: dict[str, Any] = {}
    for pair in assignments:
        name, equals, text = pair.partition("=")
        path = [step.strip().replace("-", "_") if not at else step.strip() for at, step in enumerate(name.split("."))]
        if not equals or not all(path):
            raise _bad(pair, "is not of the form NAME=VALUE")
        inside = found
        for step in path[:-1]:
            inside = inside.setdefault(step, {})
            if not isinstance(inside, dict):
                raise _bad(pair, f"goes into {step}, which another --set gives as a whole")
        if path[-1] in inside:
            raise _bad(pair, "is given twice")
        inside[path[-1]] = value(text, pair)
    return found


def value(text: str, pair: str) -> Any:
    """Return what a value on the command line says, read as YAML; raises UsageError ``cli.bad_setting``."""
    from clary.stacks import plain_yaml

    try:
        return plain_yaml.load(text)
    except ValueError as error:
        raise _bad(pair, f"has a value that cannot be read: {error}") from None


def _bad(pair: str, problem: str) -> UsageError:
    return UsageError(
        "cli.bad_setting",
        f"{pair.partition('=')[0]!r} {problem}.",
        next_step="Write NAME=VALUE, such as --set instance_type=ml.g5.xlarge or --set 'tags={team: ml}'.",
        field="set",
    )
