"""Matching names and ARNs against what policies say: wildcards, policy variables, segments of ARNs.

Source: IAM User Guide, "IAM JSON policy elements: Resource" and "Policy elements: Variables and tags".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

Context = Mapping[str, Sequence[str]]
"""Condition keys in lower case, each with its values; a key that the request does not have is not in it."""

_SEGMENTS = 6
_VARIABLE = re.compile(r"\$\{\s*(?P<name>[^},]+?)\s*(?:,\s*'(?P<default>[^']*)'\s*)?\}")
_LITERAL = ("*", "?", "$")
_STAND_INS = {"*": 0xE000, "?": 0xE001}
"""Characters (for private use) that stand for a literal asterisk or question mark inside a pattern."""
_ESCAPED = {ord(literal): stand_in for literal, stand_in in _STAND_INS.items()}


class Unresolved(Exception):  # noqa: N818 - a state of the statement, not a mistake of the program
    """A policy variable has no single value in this request, so what names it matches nothing."""


def expand(text: str, context: Context, *, escape: bool) -> str:
    """Return a text of a policy with its variables replaced; raises Unresolved when one has no value.

    With ``escape`` a wildcard in a variable's value stands for itself in the pattern that is returned.
    """

    def value(match: re.Match[str]) -> str:
        name = str(match["name"])
        if name in _LITERAL:
            found = name
        else:
            values = context.get(name.lower(), ())
            if len(values) != 1 and match["default"] is None:
                raise Unresolved(name)
            found = values[0] if len(values) == 1 else str(match["default"])
        return found.translate(_ESCAPED) if escape else found

    return _VARIABLE.sub(value, text) if "${" in text else text


@lru_cache(maxsize=8192)
def _compiled(pattern: str, *, fold: bool) -> re.Pattern[str]:
    parts = {"*": ".*", "?": ".", **{chr(stand_in): re.escape(literal) for literal, stand_in in _STAND_INS.items()}}
    expression = "".join(parts.get(character) or re.escape(character) for character in pattern)
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if fold else 0))


def like(pattern: str, value: str, *, fold: bool = False) -> bool:
    """Return whether a value fits a pattern with the wildcards ``*`` and ``?``; ``fold`` ignores case."""
    return _compiled(pattern, fold=fold).fullmatch(value) is not None


def arn_like(pattern: str, arn: str) -> bool:
    """Return whether an ARN fits a pattern, segment by segment: a wildcard does not reach over a colon but in the last.

    Segments that the pattern leaves out are wildcards (``arn:aws:sqs`` is ``arn:aws:sqs:*:*:*``). A resource ``*``,
    which operations without resources have, fits nothing but ``*``.
    """
    if pattern == "*":
        return True
    if arn == "*":
        return False
    wanted = pattern.split(":", _SEGMENTS - 1)
    given = arn.split(":", _SEGMENTS - 1)
    wanted += ["*"] * (_SEGMENTS - len(wanted))
    return len(given) == _SEGMENTS and all(map(like, wanted, given))
