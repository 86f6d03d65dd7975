"""What a command prints: text for people, or one JSON document and nothing else on stdout."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

import click

from clary.cli import state

STATUS_COLOURS = {
    "completed": "green",
    "failed": "red",
    "timed_out": "red",
    "lost": "red",
    "stopped": "yellow",
    "interrupted": "yellow",
    "waiting": "cyan",
    "ok": "green",
    "warning": "yellow",
    "not checked": "cyan",
}


LONGEST_NAME = 48
"""Columns that names are given where something stands beside them; a longer one sticks out, or is folded."""
_GAP = 3
"""Columns between two columns of a table."""


def item(data: Mapping[str, Any], text: Callable[[], None]) -> None:
    """Print one thing: ``{"command", "item"}`` as JSON, else whatever ``text`` prints."""
    current = state.current()
    if current.json:
        document({"command": current.command, "item": data})
    else:
        text()


def items(data: Sequence[Mapping[str, Any]], text: Callable[[], None]) -> None:
    """Print several things: ``{"command", "items", "count"}`` as JSON, else whatever ``text`` prints."""
    current = state.current()
    if current.json:
        document({"command": current.command, "items": list(data), "count": len(data)})
    else:
        text()


def document(data: Mapping[str, Any], *, error: bool = False) -> None:
    """Print one JSON document, indented, on stdout or stderr."""
    click.echo(json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False), err=error)


def line(data: Mapping[str, Any]) -> None:
    """Print one line of a JSON lines stream, at once."""
    click.echo(json.dumps(_plain(data), ensure_ascii=False, allow_nan=False))
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Print a line for people."""
    click.echo(text)


def warn(text: str) -> None:
    """Print a warning on stderr; in JSON mode stderr is for errors only, and the warning is in the document."""
    if not state.current().json:
        click.echo(style("Warning: ", "yellow", error=True) + text, err=True)


def rows(pairs: Iterable[tuple[str, Any]], *, indent: str = "") -> None:
    """Print label and value rows, the values aligned; rows without a value are left out."""
    shown = [(label, str(value)) for label, value in pairs if value not in (None, "")]
    width = min(max((len(label) for label, _ in shown), default=0), LONGEST_NAME)
    for label, value in shown:
        say(f"{indent}{style(f'{label}:'.ljust(width + 1), bold=True)} {value}")


def style(text: str, colour: str | None = None, *, bold: bool = False, error: bool = False) -> str:
    """Return the text in colour, if the stream is a terminal and NO_COLOR is not set (no-color.org)."""
    if not _colour_on(sys.stderr if error else sys.stdout):
        return text
    return click.style(text, fg=colour, bold=bold or None)


def status(name: str) -> str:
    """Return a run's status in its colour."""
    return style(name, STATUS_COLOURS.get(name, "blue"))


def terminal_width() -> int | None:
    """Return the columns of the terminal that stdout is, or None where it is none: then nothing need be narrow."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table_width(headers: Sequence[str], body: Sequence[Sequence[str]]) -> int:
    """Return the columns that a table needs on a terminal so that no cell is folded."""
    from rich.cells import cell_len

    return sum(max(map(cell_len, column)) for column in zip(headers, *body, strict=True)) + _GAP * (len(headers) - 1)


def table(headers: Sequence[str], body: Sequence[Sequence[str]], *, widest: Mapping[str, int] | None = None) -> None:
    """Print a table that folds long cells on a narrow terminal; into a pipe nothing is folded or cut.

    ``widest`` has the columns that a terminal gives at most to what stands below a header.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout,
        highlight=False,
        markup=False,
        emoji=False,
        width=terminal_width() or 10_000,
        no_color=not _colour_on(sys.stdout),
    )
    shown = Table(box=SIMPLE_HEAD if terminal else None, pad_edge=False, show_edge=False, header_style="bold")
    for header in headers:
        shown.add_column(header, overflow="fold", max_width=(widest or {}).get(header) if terminal else None)
    for cells in body:
        shown.add_row(*(Text(cell, style=_cell_style(cell)) for cell in cells))
    with console.capture() as printed:
        console.print(shown)
    for text in printed.get().splitlines():
        say(text.rstrip())


def _plain(data: Any) -> Any:
    """Return data of which JSON can be made: it has no NaN and no infinity, so these become texts."""
    if isinstance(data, float) and not math.isfinite(data):
        return "NaN" if math.isnan(data) else "Infinity" if data > 0 else "-Infinity"
    if isinstance(data, Mapping):
        return {_plain(name): _plain(value) for name, value in data.items()}
    return [_plain(value) for value in data] if isinstance(data, (list, tuple)) else data


def _colour_on(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _cell_style(cell: str) -> str:
    return STATUS_COLOURS.get(cell, "")
