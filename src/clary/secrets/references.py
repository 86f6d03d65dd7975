"""References to secrets in texts: ``{{secrets.NAME.KEY}}``, with or without blanks inside of the braces.

Read where something is submitted, to check them, and in the job, to fill them in. Standard library only. A text that
was filled in is not looked through again: a secret that looks like a reference stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clary.errors import ConfigError, ValidationError
from clary.secrets.names import KEY, NAME

_BEGINNING = re.compile(r"\{\{\s*secrets?\b")
"""What can be nothing else than a reference, if only a malformed one; other templates use braces too."""
_WHOLE = re.compile(rf"\{{\{{\s*secrets\.(?P<name>{NAME})\.(?P<key>{KEY})\s*\}}\}}")


@dataclass(frozen=True, order=True)
class Reference:
    """One key of one secret."""

    name: str
    key: str

    def __str__(self) -> str:
        return f"{{{{secrets.{self.name}.{self.key}}}}}"


def has(text: str) -> bool:
    """Tell whether a text holds a reference, well formed or not."""
    return _BEGINNING.search(text) is not None


def find(text: str, *, field: str | None = None) -> list[Reference]:
    """Return the references in a text, in their order. ``field`` names the text in an error.

    Raises ValidationError (``secret.bad_reference``).
    """
    found = []
    for beginning in _BEGINNING.finditer(text):
        whole = _WHOLE.match(text, beginning.start())
        if whole is None:
            end = text.find("}}", beginning.start())
            shown = text[beginning.start() : end + 2 if end >= 0 else beginning.start() + 40]
            raise ValidationError(
                "secret.bad_reference",
                f"{shown[:200]} is no reference to a secret.",
                next_step="Write {{secrets.NAME.KEY}}, such as {{secrets.database.PASSWORD}}.",
                field=field,
            )
        found.append(Reference(whole["name"], whole["key"]))
    return found


def filled(text: str, value: Callable[[Reference], str]) -> str:
    """Return the text with every reference replaced by what ``value`` gives for it."""
    return _WHOLE.sub(lambda whole: value(Reference(whole["name"], whole["key"])), text)


def places(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, text) of every text in plain data that holds a reference."""
    if isinstance(data, str):
        if has(data):
            yield path, data
    elif isinstance(data, Mapping):
        for name, value in data.items():
            yield from places(value, f"{path}.{name}" if path else str(name))
    elif isinstance(data, (list, tuple)):
        for index, value in enumerate(data):
            yield from places(value, f"{path}[{index}]")


def values_of(text: str, name: str) -> dict[str, str]:
    """Return the keys of a secret that is kept as a JSON object; a number or a truth value becomes its JSON text.

    Raises ConfigError (``secret.not_keys``) for any other text, which the error does not show.
    """
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise ConfigError(
            "secret.not_keys",
            f"The secret {name!r} is no JSON object of keys and texts.",
            next_step=f"Somebody made it without Clary; make it anew: clary secrets set {name} --KEY=@FILE.",
            field="name",
        )
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in data.items()}
