"""The digest of a function's own source: its tokens without comments, so that a comment changes nothing."""

from __future__ import annotations

import hashlib
import io
import tokenize
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SILENT = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER})


def source_digest(function: Callable[..., Any]) -> str:
    """Return the digest of the function's source; of its compiled form where there is no source to read."""
    import inspect

    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return _compiled_digest(function)
    return token_digest(text)


def token_digest(text: str) -> str:
    """Return the digest of the token stream of ``text`` without comments, blank lines and common indentation."""
    import textwrap

    hashed = hashlib.sha256()
    try:
        for token in tokenize.generate_tokens(io.StringIO(textwrap.dedent(text)).readline):
            if token.type in _SILENT:
                continue
            shown = "" if token.type in (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE) else token.string
            hashed.update(f"{token.type} {shown}\x00".encode("utf-8", "surrogatepass"))
    except (tokenize.TokenError, IndentationError):
        hashed.update(text.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def _compiled_digest(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    if code is None:
        return hashlib.sha256(repr(type(function)).encode()).hexdigest()
    constants = [part for part in code.co_consts if isinstance(part, (str, int, float, bytes, type(None)))]
    return hashlib.sha256(code.co_code + repr((code.co_names, constants)).encode()).hexdigest()
