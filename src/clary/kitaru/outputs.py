"""How many outputs a checkpoint has: Kitaru and ZenML read it from the annotation and the return statements."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Callable
from typing import Any


def output_count(function: Callable[..., Any]) -> int:
    """Return the number of a function's outputs.

    Several are those of ``-> tuple[int, str]`` with a ``return a, b``. A tuple that is returned by its name is one.
    """
    try:
        annotated = typing.get_type_hints(function).get("return")
    except Exception:  # noqa: BLE001 whatever an annotation that cannot be resolved raises: then it says nothing
        return 1
    members = typing.get_args(annotated)
    if typing.get_origin(annotated) is not tuple or len(members) < 2 or Ellipsis in members:
        return 1
    return len(members) if _returns_tuple(function) else 1


def _returns_tuple(function: Callable[..., Any]) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):
        return False
    returned = [node.value for node in _own_nodes(tree.body[0]) if isinstance(node, ast.Return)]
    return any(isinstance(value, ast.Tuple) and len(value.elts) > 1 for value in returned)


def _own_nodes(function: ast.AST) -> typing.Iterator[ast.AST]:
    """Yield the nodes of a function's body without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _own_nodes(child)
