"""What wrappers and containers hold: the code behind them, and the form of containers that are more than plain data."""

from __future__ import annotations

import enum
import functools
import operator
import re
import types
from collections import deque
from typing import TYPE_CHECKING, Any

from clary.artifacts import digest
from clary.engine.source import code_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST = 5
"""Containers in one another that are looked into."""
MOST_PARTS = 1_000
"""Containers in one that are looked into, and other parts that count by what they hold, not by their class alone."""
_CONTAINERS = (list, tuple, set, frozenset, dict, deque, types.MappingProxyType)
_FORMED = frozenset({list, tuple, set, frozenset, dict, types.MappingProxyType})
_PLAIN = frozenset({bool, int, float, str, type(None)})
_GETTERS = (operator.attrgetter, operator.itemgetter, operator.methodcaller)


def is_container(thing: Any) -> bool:
    """Tell whether a thing may hold code as its parts."""
    return isinstance(thing, _CONTAINERS)


def has_form(thing: Any) -> bool:
    """Tell whether a thing counts by what is in it: not counters and queues, which change as the code runs."""
    return type(thing) in _FORMED


def behind(thing: Any) -> list[Any]:
    """Return the functions, and what they are given, that stand behind a thing which is no plain function."""
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, (staticmethod, classmethod)):
        return [thing.__func__]
    if isinstance(thing, property):
        return [one for one in (thing.fget, thing.fset, thing.fdel) if one is not None]
    if isinstance(thing, functools.partial | functools.partialmethod):
        return [thing.func, *thing.args, *thing.keywords.items()]
    if isinstance(thing, functools.cached_property):
        return [thing.func]
    if isinstance(thing, functools.singledispatchmethod):
        return [thing.func, thing.dispatcher]
    if isinstance(thing, _GETTERS):
        reduced: Any = thing.__reduce__()
        return [reduced[0], *reduced[1]]
    return _attached(thing)


def code_in(container: Any) -> Iterator[Any]:
    """Yield what may be code in a container and those in it: functions, classes, wrappers, the classes of objects."""
    waiting, seen = deque([(container, 1)]), {id(container)}
    kinds: set[type] = set()
    while waiting:
        thing, depth = waiting.popleft()
        for part in _parts(thing):
            if is_container(part) and id(part) not in seen and depth < DEEPEST and len(seen) < MOST_PARTS:
                seen.add(id(part))  # of a tree that is held all the while: none is given twice
                waiting.append((part, depth + 1))
            if type(part) in kinds:
                continue
            if callable(part) or behind(part):
                yield part
            else:
                kinds.add(type(part))
                yield type(part)


def form_of(container: Any) -> Any:
    """Return as plain data what of a container is the same in every process."""
    return _Form().of(container, 1)


class _Form:
    """The form of one container, in bounds."""

    def __init__(self) -> None:
        self._left = MOST_PARTS

    def of(self, thing: Any, depth: int) -> Any:
        if type(thing) in _PLAIN:
            return thing
        if isinstance(thing, (type, types.FunctionType)):
            return [thing.__module__, thing.__qualname__]
        kind = [type(thing).__module__, type(thing).__qualname__]
        if self._left <= 0 or depth > DEEPEST:
            return [*kind, len(thing)] if is_container(thing) else kind
        self._left -= 1
        if is_container(thing):
            return [*kind, len(thing), self._parts(thing, depth + 1)]
        if isinstance(thing, enum.Enum):
            return [*kind, thing.name]
        if isinstance(thing, re.Pattern):
            return [*kind, str(thing.pattern), thing.flags]
        return [*kind, digest(thing)]

    def _parts(self, thing: Any, depth: int) -> list[Any]:
        if isinstance(thing, dict | types.MappingProxyType):
            return [[self.of(key, depth), self.of(value, depth)] for key, value in list(thing.items())]
        return [self.of(part, depth) for part in (_ordered(thing) if isinstance(thing, (set, frozenset)) else thing)]


def _attached(thing: Any) -> list[Any]:
    """Return what decorators have left on what they made: what it wraps, and what it chooses among."""
    own: Any = getattr(thing, "__dict__", {})
    found = []
    # Of a decorator's function, a checkpoint, a flow, functools.cache; not of objects that have every name.
    wrapped: Any = getattr(thing, "__wrapped__", None)
    if isinstance(wrapped, types.FunctionType) or (callable(wrapped) and "__wrapped__" in own):
        found.append(wrapped)
    if isinstance(thing, types.FunctionType) and isinstance(own.get("registry"), types.MappingProxyType):
        found.append(own["registry"])  # of functools.singledispatch
    return found


def _parts(container: Any) -> list[Any]:
    """Return what is in a container and is no plain value, in an order that is the same in every process."""
    every = [*container, *container.values()] if isinstance(container, dict | types.MappingProxyType) else container
    if set(map(type, every)) <= _PLAIN:
        return []
    found = [part for part in every if type(part) not in _PLAIN]
    return _ordered(found) if isinstance(container, (set, frozenset)) else found


def _ordered(parts: Any) -> list[Any]:
    return sorted(parts, key=_place)


def _place(part: Any) -> str:
    """Return a text that tells one part of a set from others in every process alike."""
    if type(part) in _PLAIN:
        return repr(part)
    if isinstance(part, types.FunctionType):
        return f"{part.__module__}:{part.__qualname__} {code_digest(part.__code__)}"
    name = part if isinstance(part, type) else type(part)
    return f"{name.__module__}:{name.__qualname__} {digest(part)}"
