"""What uv writes beside its answer: warnings, and lines about what it is doing."""

from __future__ import annotations

import re

from clary.errors import ConfigError
from clary.images.packages.documents import FIELD

_PROGRESS = re.compile(
    r"(?:Using|Resolved|Creating|Prepared|Audited|Installed) |"
    r" +(?:Updating|Updated|Building|Built|Downloading|Downloaded|Cloning|Checking out|Submodule|Waiting) "
)
_WARNING = "warning: "
_OF_NO_USE = ("The requested Python version", "A managed Python download", "The `tool.uv.dev-dependencies` field")
"""Warnings of how Clary runs uv, and of what works all the same."""
_SETTINGS = "during settings discovery"


def without_asides(stderr: str) -> str:
    """Return what uv wrote without warnings and progress; all of it where nothing else is there."""
    return "\n".join(_parted(stderr)[1]).strip() or stderr.strip()


def notes(stderr: str) -> tuple[str, ...]:
    """Return uv's warnings, each in one line, but those of no use to a person here."""
    told = (" ".join(warning.split()).rstrip(".") for warning in _parted(stderr)[0])
    return tuple(dict.fromkeys(f"uv warns: {one}." for one in told if not one.startswith(_OF_NO_USE)))


def check_settings(stderr: str) -> None:
    """Refuse settings that uv cannot read: it goes on without any of the file's, private indexes among them.

    Raises ConfigError ``image.bad_settings``.
    """
    for warning in _parted(stderr)[0]:
        if _SETTINGS in warning.partition("\n")[0]:
            lines = [line.strip() for line in warning.splitlines() if re.search(r"\w", line)]
            file = re.search(r"`([^`]+)`", lines[0])
            raise ConfigError(
                "image.bad_settings",
                f"uv cannot read its settings in {file[1] if file else 'a file'}: {_shortened(lines[-1])}.",
                next_step="Mend [tool.uv] there: for one setting that it cannot read, uv drops them all, "
                "indexes and sources too.",
                field=FIELD,
                details={"output": warning},
            )


def _parted(stderr: str) -> tuple[list[str], list[str]]:
    """Return the warnings, without the word, and the lines that are neither of these nor progress."""
    warnings: list[str] = []
    others: list[str] = []
    inside = False
    for line in stderr.splitlines():
        if line.startswith(_WARNING):
            warnings.append(line.removeprefix(_WARNING))
            inside = True
        elif _PROGRESS.match(line):
            inside = False
        elif inside and line.startswith(" "):
            warnings[-1] += f"\n{line}"
        else:
            inside = False
            others.append(line)
    return warnings, others


def _shortened(line: str) -> str:
    """Return a line of uv's without the long list of everything that it knows."""
    return line.partition(", expected one of")[0].rstrip(".") if len(line) > 200 else line.rstrip(".")
