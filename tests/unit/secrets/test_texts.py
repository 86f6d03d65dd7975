"""No text of an error, a warning or a repr can hold a value: what is put into them is looked at in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src" / "clary"
ROOMS = sorted(
    [
        *(SOURCE / "secrets").glob("*.py"),
        *(SOURCE / "cli").glob("secret*.py"),
        SOURCE / "agent" / "secrets.py",
        *(SOURCE / "runtime" / name for name in ("awsjson.py", "secrets.py", "signing.py")),
    ]
)
SECRET = {
    "value",
    "values",
    "held",
    "before",
    "after",
    "content",
    "passphrase",
    "secret_key",
    "token",
    "given",
    "answer",
}
"""Names that these rooms give to what must not be shown."""


def shown(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that is put into a text of something that is raised or said."""
    for node in ast.walk(tree):
        says = isinstance(node, ast.Call) and (
            {"next_step"} & {one.arg for one in node.keywords}
            or getattr(node.func, "id", "").startswith(("_bad", "_unreadable"))
        )
        if not says and not isinstance(node, ast.Raise):
            continue
        for text in ast.walk(node):
            if isinstance(text, ast.FormattedValue):
                for part in ast.walk(text.value):
                    if isinstance(part, ast.Name):
                        yield part.lineno, part.id
                    if isinstance(part, ast.Attribute):
                        yield part.lineno, part.attr


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_text_of_an_error_is_made_of_a_value(path: Path) -> None:
    found = [(line, name) for line, name in shown(ast.parse(path.read_text())) if name in SECRET]
    assert found == []


def test_the_check_finds_what_it_should() -> None:
    leaking = "raise UsageError('a.b', f'it is {held[key]!r}', next_step='…')\nraise ValueError(f'{one.secret_key}')"
    assert {name for _, name in shown(ast.parse(leaking))} & SECRET == {"held", "secret_key"}
    assert len(ROOMS) > 12
