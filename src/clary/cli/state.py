"""What one invocation of the command line knows of itself, and the exit codes."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from clary import config

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it (128 + SIGINT)."""


@dataclass
class State:
    """One invocation."""

    json: bool = False
    debug: bool = False
    command: str = ""
    """The command as typed, without ``clary`` and in canonical names, such as ``stack list``."""

    @classmethod
    def of(cls, arguments: Sequence[str]) -> State:
        """Read the two options that decide how errors look before the rest is parsed: parsing itself may fail."""
        before = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
        pairs = set(itertools.pairwise(before))
        as_json = bool({("-o", "json"), ("--output", "json")} & pairs) or bool(
            {"-ojson", "--output=json"} & set(before)
        )
        return cls(json=as_json, debug="--debug" in before or config.debug())


def current() -> State:
    """Return the state of the running invocation."""
    state = click.get_current_context().find_object(State)
    assert state is not None
    return state


def interactive() -> bool:
    """Tell whether a person can be asked: both ends are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()
