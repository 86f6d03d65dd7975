"""Parameter types and arguments that several commands share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from clary.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from clary.stacks.model import Stack

LATEST = "latest"
SHORTEST_PREFIX = 4
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class Seconds(click.ParamType[float]):
    """A duration: ``90``, ``90s``, ``5m``, ``2h`` or ``1d``, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip())
        if not found or found[2] not in _UNITS:
            self.fail(f"{value!r} is no duration; write it as 90s, 5m, 2h or 1d.", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


_BYTES = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12}
_BYTES |= {"tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def size(text: str) -> int:
    """Return a number of bytes: ``500MB``, ``2GiB``. Raises UsageError ``cli.bad_size``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not found or found[2] not in _BYTES:
        raise UsageError(
            "cli.bad_size",
            f"{text!r} is no size.",
            next_step="Write it as 500MB, 2GB or 1GiB.",
            field="size",
        )
    return int(float(found[1]) * _BYTES[found[2]])


def inputs(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs, each value as JSON, else as text.

    Raises UsageError ``cli.bad_input`` for a pair of another form or a name given twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise UsageError(
                "cli.bad_input",
                f"The input {pair!r} is not of the form NAME=VALUE.",
                next_step='Write --input NAME=VALUE, such as --input models=8 or --input \'names=["a", "b"]\'.',
                field="input",
            )
        if name in found:
            raise UsageError(
                "cli.bad_input",
                f"The input {name!r} is given twice.",
                next_step="Give each input once; several values go into one JSON list.",
                field="input",
            )
        found[name] = value(text)
    return found


def find_run(given: str, stack_name: str | None) -> tuple[Stack, str]:
    """Return the stack and the full id of the run that a person named: an id, a unique prefix of one, or ``latest``.

    ``stack_name`` limits the search to one stack. Raises UsageError ``run.prefix_too_short``, NotFoundError
    ``run.not_found`` or ``run.none_yet``, and whatever the search itself refuses.
    """
    from clary.agent import service
    from clary.stacks.service import resolve

    if given.lower() == LATEST:
        stack = resolve(stack_name)
        runs = service.list_runs(stack, limit=1, status=None)
        if not runs:
            raise NotFoundError(
                "run.none_yet",
                f"There is no run on the stack {stack.name!r} yet.",
                next_step="Start one with `clary run FILE.py:FLOW`, or name another stack with --stack.",
            )
        return stack, runs[0].id
    if len(given) < SHORTEST_PREFIX:
        raise UsageError(
            "run.prefix_too_short",
            f"{given!r} is too short to name a run.",
            next_step=f"Give {SHORTEST_PREFIX} characters of the id, or 'latest'; `clary runs list` shows them.",
            field="run",
        )
    return service.find_run(given, resolve(stack_name) if stack_name else None)


def value(text: str) -> Any:
    """Read a value that was typed: as JSON, else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
