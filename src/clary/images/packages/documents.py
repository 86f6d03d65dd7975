"""TOML as people write it: a file, the header of a script, and what is in them whatever else they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

FIELD = "image.requirements"
"""Where a person has said what is required."""
_SCRIPT = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""Source: PEP 723, "Reference implementation"."""


def toml(file: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError ``image.bad_toml``."""
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            "image.bad_toml", f"{file.name} cannot be read: {error}.", next_step=f"Mend {file}.", field=FIELD
        ) from None


def pyproject(folder: Path) -> dict[str, Any]:
    """Return the ``pyproject.toml`` in a folder; empty where there is none. Raises ConfigError ``image.bad_toml``."""
    file = folder / "pyproject.toml"
    return toml(file) if file.is_file() else {}


def script_header(file: Path) -> dict[str, Any]:
    """Return the header of a script as a table (PEP 723); empty without one. Raises ConfigError ``image.bad_toml``."""
    import tomllib

    try:
        found = [one for one in _SCRIPT.finditer(file.read_text(encoding="utf-8")) if one["type"] == "script"]
        lines = found[0]["content"].splitlines(keepends=True) if found else []
        return tomllib.loads("".join(line.removeprefix("#").removeprefix(" ") for line in lines))
    except ValueError as error:
        raise ConfigError(
            "image.bad_toml",
            f"The header of {file.name} cannot be read: {error}.",
            next_step="Its form is that of PEP 723: # /// script, lines of TOML behind #, # ///.",
            field=FIELD,
        ) from None


def table(document: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return the table of a TOML document by its path; an empty one where there is none."""
    for name in names:
        value = document.get(name)
        document = value if isinstance(value, dict) else {}
    return document


def strings(value: Any) -> list[str]:
    """Return the strings of a list; none where it is no list."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
