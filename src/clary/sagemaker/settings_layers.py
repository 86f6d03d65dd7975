"""Layers of settings (component, stack, flow, call) become one: only what was set overrides.

Objects are merged key by key, everything else is replaced, and None means the default (inside ``request``: take the
member out). Merging is associative: ``merge(merge(a, b), c)`` equals ``merge(a, merge(b, c))``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

DEFAULT = "default"
"""The origin of what no layer has set."""


class Whole(dict[str, Any]):
    """An object that replaces what lies under it, for a layer between has said None."""


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` laid upon it; neither is changed."""
    result: dict[str, Any] = Whole(base) if isinstance(base, Whole) else dict(base)
    for name, value in over.items():
        result[name] = _laid(result[name], value) if name in result else value
    return result


def _laid(under: Any, value: Any) -> Any:
    if not isinstance(value, Mapping) or isinstance(value, Whole):
        return value
    return merge(under, value) if isinstance(under, Mapping) else Whole(value)


def merge_all(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return all layers as one; a later layer wins."""
    return reduce(merge, layers, {})


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without members that are None, inside objects too."""
    return {
        name: without_none(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }


def origins(layers: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str]) -> dict[str, str]:
    """Return for each path (``instance_type``, ``tags.team``) the name of the layer whose value holds.

    A setting of ``names`` that no layer has set, or that the last one set to None, comes from ``DEFAULT``.
    """
    merged = merge_all([_marked(values, name) for name, values in layers])
    found = dict(_leaves(merged, ""))
    for name in names:
        if not any(path == name or path.startswith(f"{name}.") for path in found):
            found[name] = DEFAULT
    return found


def _marked(values: Mapping[str, Any], layer: str) -> dict[str, Any]:
    """Return the same objects with the layer's name in place of every value that is set."""
    return {
        name: _marked(value, layer) if isinstance(value, Mapping) else None if value is None else layer
        for name, value in values.items()
    }


def _leaves(tree: Mapping[str, Any], at: str) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        path = f"{at}.{name}" if at else name
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        elif value is not None:
            yield path, value
