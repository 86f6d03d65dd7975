"""The digest of a function's own source: what changes it and what does not, and when it is taken."""

from __future__ import annotations

import ast
import importlib.util
import sys
import textwrap
from functools import wraps
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from clary import checkpoint
from clary.engine.source import file_lines, source_digest, token_digest

if TYPE_CHECKING:
    from pathlib import Path

BASE = """
@checkpoint
def step(a, b=1):
    if a:
        return "text # not a comment"
    return b
"""


def test_a_thread_that_parses_at_the_same_moment_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(a: int) -> int:
        return a

    lines = file_lines(step)
    expected = source_digest(step, lines)
    answers = [SystemError("AST constructor recursion depth mismatch (before=74, after=72)")] * 3

    def disturbed(text: str) -> Any:
        if answers:
            raise answers.pop()
        return ast.parse(text)

    monkeypatch.setattr("clary.engine.source.ast", SimpleNamespace(**{**vars(ast), "parse": disturbed}))
    assert source_digest(step, lines) == expected


@pytest.mark.parametrize(
    "same",
    [
        BASE.replace("if a:", "if a:  # why"),
        BASE.replace("def step", "# before\ndef step"),
        BASE.replace("    if a:", "\n\n    if a:\n"),
        textwrap.indent(BASE, "    "),
        BASE.replace("a, b=1", "a,   b = 1"),
        BASE.replace('"\n    return b', '"  \n    return b   '),
    ],
)
def test_comments_blank_lines_and_spaces_change_nothing(same: str) -> None:
    assert token_digest(same) == token_digest(BASE)


@pytest.mark.parametrize(
    "other",
    [
        BASE.replace("b=1", "b=2"),
        BASE.replace("not a comment", "not a remark"),
        BASE.replace("    return b\n", "        return b\n"),
        BASE.replace("@checkpoint", "@checkpoint(name='x')"),
        BASE.replace("return b", "return  -b"),
    ],
)
def test_tokens_and_blocks_change_it(other: str) -> None:
    assert token_digest(other) != token_digest(BASE)


def test_text_that_is_no_python_still_has_a_digest() -> None:
    assert token_digest("def (") != token_digest("def ((")


def test_the_source_is_that_of_the_moment_of_import(tmp_path: Path) -> None:
    """A file that is edited while its flow runs does not change what is said to have run."""
    path = tmp_path / "edited_of_test.py"
    path.write_text("from clary import checkpoint\n@checkpoint\ndef step(a):\n    return a\n")
    spec = importlib.util.spec_from_file_location("edited_of_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path.write_text("from clary import checkpoint\n# moved\n\n@checkpoint\ndef step(a):\n    return -a\n")
    assert module.step.source == token_digest("def _(a):\n    return a\n")


def test_functions_without_a_file_are_known_by_their_compiled_form() -> None:
    def made(text: str) -> Any:
        space: dict[str, Any] = {}
        exec(text, space)
        return space["f"]

    one, again, other, inner = (
        made(text)
        for text in (
            "def f(a): return [x + 1 for x in a]",
            "\n\ndef f(a): return [x + 1 for x in a]",
            "def f(a): return [x + 2 for x in a]",
            "def f(a): return [x - 1 for x in a]",
        )
    )
    assert file_lines(one) == []
    digests = [source_digest(function, []) for function in (one, again, other, inner)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert source_digest(len, file_lines(len)) == source_digest(len, [])


def test_the_function_behind_other_decorators_counts() -> None:
    def decorated(function: Any) -> Any:
        @wraps(function)
        def inner(*args: Any) -> Any:
            return function(*args)

        return inner

    @decorated
    def plus(a: int) -> int:
        return a + 1

    @decorated
    def minus(a: int) -> int:
        return a - 1

    assert checkpoint(plus).source != checkpoint(minus).source
    assert sys.version_info >= (3, 11)


def test_how_a_checkpoint_is_made_one_is_no_part_of_what_it_does() -> None:
    from clary.engine.source import _bare as plain

    body = "def _(x):\n    return x\n"
    named = "def f(x):\n    return x\n"
    made = "@clary.checkpoint(\n    retries=3,\n)\n"
    assert token_digest(plain(f"@checkpoint\n{named}")) == token_digest(body)
    assert token_digest(plain(textwrap.indent(f"{made}async {named}", "    "))) == token_digest(f"async {body}")
    assert token_digest(plain(f"@cached\n@checkpoint(name='g')\n{named}")) == token_digest(f"@cached\n{body}")
    assert plain("not python (") == "not python ("
