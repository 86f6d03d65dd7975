"""Patterns of ``.dockerignore``, which are not those of ``.gitignore``: each begins at the top of the context.

Source: "Build context, .dockerignore files" in Docker's documentation, and moby's package ``patternmatcher``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from posixpath import normpath


class Ignored:
    """An ordered list of patterns; the last one that matches a path, or a folder above it, decides."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Read patterns; blank lines and lines that begin with ``#`` say nothing."""
        cleaned = (line.strip() for line in lines if not line.startswith("#"))
        self._patterns = [_parsed(line) for line in cleaned if line not in ("", "!")]

    @property
    def takes_back(self) -> bool:
        """Whether a file in a folder that is left out may yet travel."""
        return any(negated for _, negated in self._patterns)

    def verdict(self, path: str) -> bool | None:
        """Tell whether a path (relative, with ``/``) is left out: False where ``!`` takes it back, None: no match."""
        above = path.split("/")
        prefixes = ["/".join(above[: count + 1]) for count in range(len(above))]
        for expression, negated in reversed(self._patterns):
            if any(expression.fullmatch(prefix) for prefix in prefixes):
                return not negated
        return None


def _parsed(line: str) -> tuple[re.Pattern[str], bool]:
    negated = line.startswith("!")
    text = normpath(line.removeprefix("!").strip()).lstrip("/")
    return re.compile(_translated(text), re.DOTALL), negated


def _translated(text: str) -> str:
    made, at = "", 0
    while at < len(text):
        rest = text[at:]
        if rest.startswith("**/"):
            made, at = made + "(?:.*/)?", at + 3
        elif rest.startswith("**"):
            made, at = made + ".*", at + 2
        elif rest[0] == "*":
            made, at = made + "[^/]*", at + 1
        elif rest[0] == "?":
            made, at = made + "[^/]", at + 1
        elif found := re.match(r"\[(\^?)(\]?[^\]]*)\]", rest):
            inner = re.sub(r"([\[&~|])", r"\\\1", found[2])
            made, at = made + f"(?!/)[{found[1]}{inner}]", at + found.end()
        elif rest[0] == "\\" and len(rest) > 1:
            made, at = made + re.escape(rest[1]), at + 2
        else:
            made, at = made + re.escape(rest[0]), at + 1
    return made
