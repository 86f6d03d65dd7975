"""Values as people give them: options, files, the standard input, JSON and YAML. No error shows any of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import UsageError
from clary.secrets.names import check_key

if TYPE_CHECKING:
    from clary.secrets.store import Values

LARGEST_FILE = 1 << 20
"""Bytes of a file with values; no store takes as much."""


@dataclass
class Given:
    """What one command line gives."""

    words: list[str] = field(default_factory=list)
    """What is no option: the name."""
    values: Values = field(default_factory=dict, repr=False)
    in_clear: bool = False
    """Whether a value stood on the command line itself."""


def read(arguments: Iterable[str], table: str | None, stdin: Callable[[], str]) -> Given:
    """Read ``--KEY=VALUE`` options and a table of values (``-v``: JSON, YAML, ``@FILE`` or ``-``).

    A value is a text, ``@FILE``, ``-`` for the standard input, or ``@@…`` for a text that begins with ``@``. The end of
    the line is left out of a file that has one line. An option wins over the table.
    Raises UsageError: ``secret.bad_key``, ``secret.bad_argument``, ``secret.key_twice``, ``secret.bad_file``,
    ``secret.bad_values``.
    """
    source = _Stdin(stdin)
    given = Given()
    if table is not None:
        given.values |= _parsed(_table_text(table, source))
        given.in_clear = _is_in_clear(table)
    options: Values = {}
    for argument in arguments:
        if not argument.startswith("-"):
            given.words.append(argument)
            continue
        key, text = _option(argument)
        if key in options:
            raise UsageError(
                "secret.key_twice", f"The key {key!r} is given twice.", next_step="Give it once.", field=key
            )
        options[key] = _value(key, text, source)
        given.in_clear |= _is_in_clear(text)
    given.values |= options
    return given


class _Stdin:
    """The standard input, which can be read once."""

    def __init__(self, read_all: Callable[[], str]) -> None:
        self._read = read_all
        self._taken = False

    def text(self) -> str:
        if self._taken:
            raise UsageError(
                "secret.bad_argument",
                "The standard input is asked for twice.",
                next_step="Give one value by '-', and the others by @FILE.",
            )
        self._taken = True
        return self._read()


def _option(argument: str) -> tuple[str, str]:
    key, equals, text = argument.removeprefix("--").partition("=")
    if not argument.startswith("--") or not equals:
        raise UsageError(
            "secret.bad_argument",
            f"{key.split('=')[0][:40]!r} is neither an option nor --KEY=VALUE.",
            next_step="Write --KEY=VALUE in one word, or --KEY=@FILE, --KEY=- (from the standard input); -i asks.",
        )
    check_key(key)
    return key, text


def _is_in_clear(text: str) -> bool:
    """Tell whether a text stands for itself, and not for a file or the standard input."""
    return text != "-" and (not text.startswith("@") or text.startswith("@@"))


def _value(key: str, text: str, source: _Stdin) -> str:
    if text == "-":
        return _without_end(source.text())
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        return _without_end(_file(text[1:], key))
    return text


def _table_text(table: str, source: _Stdin) -> str:
    if table == "-":
        return source.text()
    return _file(table[1:], "values") if table.startswith("@") else table


def _file(name: str, field_name: str) -> str:
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        problem = None if len(data) <= LARGEST_FILE else "it has more than 1 MiB"
        if problem is None:
            return data.decode()
    except OSError as error:
        problem = str(error.strerror)
    except UnicodeDecodeError:
        problem = "it is no text in UTF-8; keep binary data in base 64"
    raise UsageError(
        "secret.bad_file",
        f"The file {path} cannot be taken: {problem}.",
        next_step="Correct the path. A value that begins with '@' itself is written with '@@'.",
        field=field_name,
    )


def _without_end(text: str) -> str:
    """Leave out the end of the line of a single line; a text of several lines, such as a key file, stays whole."""
    line = text.removesuffix("\n").removesuffix("\r")
    return text if "\n" in line else line


def _parsed(text: str) -> Values:
    """Read JSON, else YAML; every value stays as it is written, so that 007 and yes are texts."""
    data: Any
    try:
        data = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except ValueError:
        data = _yaml(text)
    if not isinstance(data, dict):
        raise _bad_values("keys and texts are expected, such as {PASSWORD: …}")
    values: Values = {}
    for key, value in data.items():
        check_key(str(key))
        if isinstance(value, bool):
            value = json.dumps(value)
        if not isinstance(value, str):
            raise _bad_values(f"the value of {str(key)!r} is no text")
        values[str(key)] = value
    return values


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - the loader that makes nothing but texts
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise _bad_values(f"they are neither JSON nor YAML{at}") from None


def _bad_values(problem: str) -> UsageError:
    return UsageError(
        "secret.bad_values",
        f"The values cannot be read: {problem}.",
        next_step='Give JSON or YAML with one level: --values \'{"KEY": "…"}\' or --values @FILE.',
        field="values",
    )
