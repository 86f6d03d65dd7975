"""What one invocation of the command line knows of itself, and the exit codes."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from clary import config

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it (128 + SIGINT)."""
_WAITING = 3
"""The exit code where a run waits for an answer or a moment: it is not over, and nothing runs for it."""
_TAKES_OUTPUT = re.compile(r"--output|-[dfy]*o")
_IS_JSON = re.compile(r"--output=json|-[dfy]*ojson")
"""Flags may stand before ``-o`` in one word, as in ``-do json``."""


@dataclass
class State:
    """One invocation."""

    json: bool = False
    debug: bool = False
    command: str = ""
    """The command as typed, without ``clary`` and in canonical names, such as ``stack list``."""
    kitaru: bool = False
    """Whether it was typed as ``clary executions …``: its JSON then has Kitaru's names beside ours."""

    @classmethod
    def of(cls, arguments: Sequence[str]) -> State:
        """Read the two options that decide how errors look before the rest is parsed: parsing itself may fail."""
        before = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
        as_json = any(
            (_TAKES_OUTPUT.fullmatch(option) and value == "json") or _IS_JSON.fullmatch(option)
            for option, value in itertools.zip_longest(before, before[1:])
        )
        return cls(json=as_json, debug="--debug" in before or config.debug(), kitaru=before[:1] == ["executions"])


def exit_code(status: str) -> int:
    """Return the exit code of a command that followed a run, or waited for it, to this state."""
    return {"completed": 0, "waiting": _WAITING}.get(status, 1)


def current() -> State:
    """Return the state of the running invocation."""
    state = click.get_current_context().find_object(State)
    assert state is not None
    return state


def interactive() -> bool:
    """Tell whether a person can be asked: both ends are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()
