"""Names of calls: Kitaru's (``fit``, ``fit_2``, ``map:fit:0``, the ``id=`` of a call) and our paths."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote


def call_name(path: str) -> str:
    """Return Kitaru's name of a call; of one that a checkpoint has made, the name that it has there."""
    step = path.rpartition("/")[2]
    name, at, key = step.partition("@")
    if at:
        return unquote(key)
    name, _, count = step.rpartition("#")
    return name if count == "1" else f"{name}_{count}"


def checkpoint_name(path: str) -> str:
    """Return the name of the checkpoint that a call is of."""
    return path.rpartition("/")[2].partition("#")[0].partition("@")[0]


def call_path(name: str, known: Collection[str]) -> str:
    """Return which of the known paths is meant by a path or a name of Kitaru's; what fits none as it is."""
    if name in known:
        return name
    if f"{name}#1" in known:
        return f"{name}#1"
    outer = [path for path in known if "/" not in path and call_name(path) == name]
    named = outer or [path for path in known if call_name(path) == name]
    return named[0] if len(named) == 1 else name


def map_key(node: str, index: int) -> str:
    """Return the key of one call of a ``.map()`` or ``.product()``, whose calls all hang on the path ``node``."""
    return f"map:{call_name(node)}:{index}"
