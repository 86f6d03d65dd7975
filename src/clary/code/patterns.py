"""Patterns of ``.claryignore``: those of ``.gitignore`` (its documentation is the reference), the last match wins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


class Patterns:
    """An ordered list of patterns."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Read patterns; blank lines and lines that begin with ``#`` say nothing."""
        self._patterns = [pattern for line in lines if (pattern := _parse_line(line)) is not None]
        # Most paths match nothing: one expression says so at once.
        self._any = re.compile("|".join(f"(?:{pattern.expression.pattern})" for pattern in self._patterns), re.DOTALL)

    def verdict(self, path: str, *, folder: bool) -> bool | None:
        """Tell whether a path (relative, with ``/``) is left out: False where ``!`` takes it back, None: no match."""
        if not self._patterns or not self._any.fullmatch(path):
            return None
        for pattern in reversed(self._patterns):
            if (folder or not pattern.folders_only) and pattern.expression.fullmatch(path):
                return not pattern.negated
        return None


@dataclass(frozen=True)
class _Pattern:
    expression: re.Pattern[str]
    negated: bool
    folders_only: bool


def _parse_line(line: str) -> _Pattern | None:
    text = re.sub(r"(?<!\\)[ \t]+$", "", line.rstrip("\r\n"))
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    text = text[1:] if negated else text
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    anchored = "/" in text
    prefix = "" if anchored else "(?:.*/)?"
    return _Pattern(re.compile(prefix + _translated(text.lstrip("/")), re.DOTALL), negated, folders_only)


def _translated(text: str) -> str:
    made, at = "", 0
    while at < len(text):
        rest = text[at:]
        if rest.startswith("**/") and (at == 0 or text[at - 1] == "/"):
            made, at = made + "(?:.*/)?", at + 3
        elif rest == "**" and (at == 0 or text[at - 1] == "/"):
            made, at = made + ".+", at + 2
        elif rest[0] == "*":
            made, at = made + "[^/]*", at + 1
        elif rest[0] == "?":
            made, at = made + "[^/]", at + 1
        elif found := re.match(r"\[([!^]?)(\]?[^\]]*)\]", rest):
            inner = re.sub(r"([\[\\&~|])", r"\\\1", found[2])
            made, at = made + f"(?!/)[{'^' if found[1] else ''}{inner}]", at + found.end()
        elif rest[0] == "\\" and len(rest) > 1:
            made, at = made + re.escape(rest[1]), at + 2
        else:
            made, at = made + re.escape(rest[0]), at + 1
    return made
