"""The digest of a function's own source: its tokens without comments, so that a comment changes nothing."""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import textwrap
import tokenize
from contextlib import suppress
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_OWN = frozenset({"checkpoint", "step"})
"""Names of the decorators that make a function a checkpoint."""
_TRIES = 100
_SILENT = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER})


def file_lines(function: Callable[..., Any]) -> list[str]:
    """Return the lines of the file that the function is from; none where there is no file.

    They are to be taken when the function is made: the file may be edited while the flow runs.
    """
    import linecache

    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return []
    linecache.checkcache(code.co_filename)
    return linecache.getlines(code.co_filename, getattr(function, "__globals__", None))


def source_digest(function: Callable[..., Any], lines: list[str]) -> str:
    """Return the digest of the function's source among the lines; of its compiled form where there is none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or not 0 < code.co_firstlineno <= len(lines):
        return _compiled_digest(function)
    return token_digest(_bare("".join(inspect.getblock(lines[code.co_firstlineno - 1 :]))))


def _bare(text: str) -> str:
    """Return a function's source without its name and without the decorator that made it a checkpoint.

    How it is called, how often it is retried and how it is labelled is no part of what it does; other decorators are.
    """
    plain = textwrap.dedent(text)
    try:
        found = _parsed(plain).body[0]
    except (SyntaxError, IndexError):
        return text
    if not isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return text
    lines = plain.splitlines(keepends=True)
    for one in found.decorator_list:
        called = one.func if isinstance(one, ast.Call) else one
        if getattr(called, "attr", getattr(called, "id", None)) in _OWN:
            last = one.end_lineno or one.lineno
            lines[one.lineno - 1 : last] = [""] * (last - one.lineno + 1)
    at = found.lineno - 1
    lines[at] = lines[at].replace(f"def {found.name}", "def _", 1)
    return "".join(lines)


def _parsed(text: str) -> ast.Module:
    """Return the tree of a text.

    Python counts the depth of trees under way for all threads together: where another one parses at the same moment (to
    show a traceback, for instance) it can raise SystemError, which says nothing of the text.
    """
    for _ in range(_TRIES):
        with suppress(SystemError):
            return ast.parse(text)
    return ast.parse(text)


def token_digest(text: str) -> str:
    """Return the digest of the token stream of ``text`` without comments, blank lines and common indentation."""
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
    return hashlib.sha256(repr(type(function)).encode()).hexdigest() if code is None else code_digest(code)


def code_digest(code: CodeType) -> str:
    """Return the digest of compiled code, functions inside it included, without where it lies.

    It is that of what is loaded, whatever has become of the file; of another Python version it says nothing.
    """
    return hashlib.sha256(_shown(code).encode("utf-8", "surrogatepass")).hexdigest()


def _shown(part: Any) -> str:
    """Return a text of a piece of code, or of a constant in one, that is the same in every process."""
    if isinstance(part, CodeType):
        names = (part.co_names, part.co_varnames, part.co_freevars, part.co_cellvars)
        constants = _shown(part.co_consts)
        return f"{part.co_code.hex()} {part.co_exceptiontable.hex()} {part.co_flags} {names} {constants}"
    if isinstance(part, tuple):
        return f"({', '.join(map(_shown, part))})"
    if isinstance(part, frozenset):
        return f"{{{', '.join(sorted(map(_shown, part)))}}}"
    return repr(part)
