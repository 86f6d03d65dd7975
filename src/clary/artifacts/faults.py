"""Which part of a value is in the way of keeping it: found by trying, told by its path."""

from __future__ import annotations

import io
import pickle
import time
from typing import TYPE_CHECKING, Any

from clary.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 12
_SECONDS = 2.0
"""For the search: trying means pickling, and parts may be large."""
_MOST = 10_000
"""Children of one object that are tried."""
_STEPS = (
    (("lock", "RLock", "Condition", "Event", "Semaphore", "Thread"), "Make it where it is used, inside the call."),
    (("generator", "map", "filter", "zip"), "Return list(…) of what it yields."),
    (("async_generator",), "Return [item async for item in …], a list of what it yields."),
    (("coroutine", "Task", "Future"), "Await it, and return what that gives."),
    (("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO"),
     "Close the file and return its path (pathlib.Path), which keeps its content, or what you read from it."),
    (("socket", "SSLSocket", "Connection", "Client", "Session"), "Open the connection inside the call that uses it."),
    (("function", "method", "type", "module"), "Define it at the top of a module; or install cloudpickle."),
)  # fmt: skip
_ANY_STEP = "Use plain data, arrays or objects that pickle; open files, locks and clients inside the call."


def not_serializable(value: Any, label: str, error: Exception) -> SerializationError:
    """Return the error that names the innermost part of the value that does not pickle, and what to do about it."""
    path, part = _innermost(value, label)
    kind = _kind(part)
    what = f"{label} cannot be kept" if path == label else f"{label} cannot be kept because of {path}"
    return SerializationError(
        "value.not_serializable",
        f"{what}, a {kind}: {_reason(error)}",
        next_step=_step(part),
        field=path,
        details={"path": path, "type": kind},
    )


def _step(part: Any) -> str:
    """Return what to do about a part, by its class or one that this is made from, such as a task of asyncio's."""
    classes = {kind.__name__ for kind in type(part).__mro__}
    return next((step for kinds, step in _STEPS if not classes.isdisjoint(kinds)), _ANY_STEP)


def _kind(part: Any) -> str:
    kind = type(part)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _reason(error: Exception) -> str:
    try:
        return str(error)[:300]
    except Exception:  # noqa: BLE001 - an exception whose own text fails
        return type(error).__name__


def _innermost(value: Any, path: str) -> tuple[str, Any]:
    deadline = time.monotonic() + _SECONDS
    seen: set[int] = set()
    for _ in range(_DEEPEST):
        seen.add(id(value))
        for step, child in _children(value):
            if id(child) in seen or time.monotonic() > deadline:
                continue
            if not _pickles(child):
                path, value = path + step, child
                break
        else:
            break
    return path, value


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (how it is reached, what it is) for what the value directly holds."""
    found: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        found = [(f"[{_short(key)}]", item) for key, item in list(value.items())[:_MOST]]
    elif isinstance(value, (list, tuple)):
        found = [(f"[{number}]", item) for number, item in enumerate(value[:_MOST])]
    elif isinstance(value, (set, frozenset)):
        found = [("{…}", item) for item in list(value)[:_MOST]]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not isinstance(value, type):
        found += [(f".{name}", item) for name, item in attributes.items()]
    yield from found


def _short(key: Any) -> str:
    if isinstance(key, str):
        text = key if len(key) <= 40 else f"{key[:39]}…"
        return f'"{text}"'
    return str(key) if type(key) in (int, bool, float) else f"a {type(key).__name__}"


class _Nowhere(io.RawIOBase):
    """Takes bytes and keeps none."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


def _pickles(part: Any) -> bool:
    try:
        pickle.Pickler(_Nowhere(), protocol=5).dump(part)
    except Exception:  # noqa: BLE001 - whatever the objects' own hooks raise
        return False
    return True
