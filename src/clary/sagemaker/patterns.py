"""Patterns of the service model as Python regular expressions.

The model's patterns are written for Java. Most mean the same in Python; those that Python cannot compile and that
training and processing jobs need are translated here by hand, keyed by their text, so that a changed pattern is seen
(a test walks the loaded model). A pattern that is neither is not checked here: the service still checks it.
"""

from __future__ import annotations

import re
from functools import cache

# Unicode's separators (general category Z), which Python's classes do not name.
_SEPARATORS = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

_BY_HAND = {
    # Tag keys and values: letters, separators, numbers. `\w` without ASCII is letters, numbers and the underscore.
    r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)": rf"[\w{_SEPARATORS}.:/=+\-@]*",
    r"([\p{L}\p{Z}\p{N}_.:/=+\-]*)": rf"[\w{_SEPARATORS}.:/=+\-]*",
    # Java's Alnum is ASCII.
    r"arn:[\p{Alnum}\-]+:lambda:[\p{Alnum}\-]+:[0-9]{12}:function:.*": (
        r"arn:[A-Za-z0-9\-]+:lambda:[A-Za-z0-9\-]+:[0-9]{12}:function:.*"
    ),
    # Names in Athena's catalogue: the surrogate pairs of the original are the code points above U+FFFF.
    r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*": "[\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff\t]*",
}


@cache
def compiled(pattern: str) -> re.Pattern[str] | None:
    """Return the pattern as a Python one, to be matched whole; None when it has no translation.

    The shorthand classes of the model's own patterns are ASCII, as in Java.
    """
    by_hand = _BY_HAND.get(pattern)
    if by_hand is not None:
        return re.compile(by_hand)
    try:
        return re.compile(pattern, re.ASCII)
    except re.error:
        return None


def fits(pattern: str, text: str) -> bool:
    """Tell whether the whole text matches; True when the pattern cannot be checked here."""
    expression = compiled(pattern)
    return expression is None or expression.fullmatch(text) is not None
