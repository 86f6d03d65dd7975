"""The line that shows how far a followed run is: one that is replaced on a terminal, a few lasting ones in a pipe."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from clary.cli import output
from clary.cli.run_text import progress_line

if TYPE_CHECKING:
    from clary.agent.views import ProgressView

PIPE_SECONDS = 15.0
"""Between two lines about the same call where they cannot be replaced."""
_ERASE = "\x1b[2K"


class ProgressLine:
    """Prints progress. What others print goes over the line, which leaves the cursor at its beginning."""

    def __init__(self) -> None:
        self._shown: ProgressView | None = None
        self._told: dict[str, float] = {}
        self._open = False

    def show(self, line: ProgressView) -> None:
        """Print the line, if it says something new."""
        if line == self._shown:
            return
        self._shown = line
        if sys.stdout.isatty():
            width = (output.terminal_width() or 80) - 3
            click.echo(f"{_ERASE}  {_cut(progress_line(line), width)}\r", nl=False)
            self._open = True
            return
        now, done = time.monotonic(), line.total is not None and line.done >= line.total
        if done or now - self._told.get(line.path, -PIPE_SECONDS) >= PIPE_SECONDS:
            self._told[line.path] = now
            output.say(f"  … {progress_line(line)}")

    def clear(self) -> None:
        """Take the line away."""
        if self._open:
            click.echo(_ERASE, nl=False)
            self._open = False


def _cut(text: str, width: int) -> str:
    """Return the text, without its colours where it has to be cut to fit."""
    plain = click.unstyle(text)
    return text if len(plain) <= width else f"{plain[: width - 1]}…"
