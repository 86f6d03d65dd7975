"""Results of calls that other runs have recorded. Off unless a checkpoint or its flow asks for it.

An entry ``cache/<checkpoint>/<key>.json`` holds the encoded value (large ones by address, so their bytes are shared),
who made it, and the parts that its key is the digest of: so a miss can say what differs.

Whatever is wrong with the cache is a miss: out of reach, not allowed, damaged, the value gone. The call can always run.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from clary.artifacts import decode
from clary.engine.extensions import ReadyMade
from clary.errors import ClaryError, Retry, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clary.engine.execution import Call, Execution
    from clary.engine.reach import Reach
    from clary.journal.records import Record

FOLDER = "cache"
VERSION = 1
_REST = 60.0
"""Seconds for which the cache is left alone after it was out of reach."""
_LONGEST_NAME = 150
"""Characters of a checkpoint's name in a key: file systems take 255 bytes."""

_FORMS = {
    "key": "a function of the checkpoint's arguments",
    "version": "a text",
    "expires": "a timedelta of more than 0",
    "ignore": "a tuple of parameter names",
}


@dataclass(frozen=True)
class Cache:
    """When a checkpoint's result may be taken from another run.

    Args:
        key: gives a text from the arguments, which then stands for them in the cache's key.
        version: to be changed where the code cannot show that results are not the same any more, such as new data.
        expires: age from which a result is not taken any more.
        ignore: parameters that make no difference to the result.
    """

    key: Callable[..., str] | None = None
    version: str = ""
    expires: timedelta | None = None
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given: dict[str, Any] = vars(self)
        age, ignored = given["expires"], given["ignore"]
        wrong = {
            "key": given["key"] is not None and not callable(given["key"]),
            "version": not isinstance(given["version"], str),
            "expires": age is not None and not (isinstance(age, timedelta) and age > timedelta()),
            "ignore": not isinstance(ignored, (tuple, list)) or not all(isinstance(name, str) for name in ignored),
        }
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise _bad_option(f"cache.{name} is {given[name]!r}", f"Give {_FORMS[name]}.", f"cache.{name}")


CacheLike: TypeAlias = "bool | Cache | Callable[..., str] | None"
Policy: TypeAlias = "Cache | Literal[False] | None"
"""How a checkpoint's results are reused; False: never, None: as its flow says."""


def cache_from(given: CacheLike) -> Policy:
    """Return what ``cache=`` stands for; raises UsageError (``cache.bad_option``)."""
    if given is None or given is False or isinstance(given, Cache):
        return given
    if given is True:
        return Cache()
    if not isinstance(given, (type, str, int)) and callable(given):
        return Cache(key=given)
    raise _bad_option(f"cache={given!r}", "Give True, a function of the arguments, or Cache(…).", "cache")


def check_ignored(policy: Policy, name: str, signature: inspect.Signature) -> None:
    """Refuse to ignore what is no parameter; raises UsageError (``cache.bad_option``)."""
    for ignored in policy.ignore if policy else ():
        if ignored not in signature.parameters:
            known = ", ".join(signature.parameters) or "none"
            raise _bad_option(
                f"{name} has no parameter “{ignored}” to ignore", f"Its parameters are: {known}.", "cache.ignore"
            )


def install(execution: Execution, *, by_default: bool) -> None:
    """Let the calls of an execution take results of other runs, where they ask for it.

    ``by_default`` says whether checkpoints that say nothing do.
    """
    execution.shortcuts.append(Reuse(execution, by_default=by_default))


def folder_of(checkpoint: str) -> str:
    """Return where the entries of a checkpoint lie."""
    from urllib.parse import quote

    return f"{FOLDER}/{quote(checkpoint, safe='').replace('.', '%2E')[:_LONGEST_NAME]}"


def key_of(parts: Record) -> str:
    """Return where the entry with these parts lies."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return f"{folder_of(parts['checkpoint'])}/{hashlib.sha256(text.encode()).hexdigest()}.json"


def read_entry(data: bytes | None) -> Record | None:
    """Return an entry; None where there is none that can be read."""
    try:
        entry: Record = json.loads(data or b"")
        made = entry["made"]
        whole = entry["v"] == VERSION and {"run", "path", "at"} <= made.keys() and "c" in entry["output"]
        return entry if whole and isinstance(entry["parts"]["checkpoint"], str) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True)
class _Missed:
    """A call that runs, and whose result is to be kept."""

    key: str
    parts: Record
    replaced: str | None
    """What is wrong with the entry that has that key, if there is one."""


class Reuse:
    """The shortcut that asks the cache, and fills it."""

    def __init__(self, execution: Execution, *, by_default: bool) -> None:
        self._execution = execution
        self._default = Cache() if by_default else None
        self._reached: dict[Any, Reach] = {}
        self._missed: dict[str, _Missed] = {}
        self._said: set[str] = set()
        self._leave_alone_until = 0.0
        self._lock = threading.Lock()

    def takes(self, call: Call) -> bool:
        """Tell whether the call's checkpoint, or else its flow, asks for it."""
        return self._policy(call) is not None

    def find(self, call: Call) -> ReadyMade | None:
        """Return another run's result for the very same call; None where there is none, or none of use."""
        policy = self._policy(call)
        parts = None if policy is None else self._parts(call, policy)
        if policy is None or parts is None:
            return None
        key = key_of(parts)
        entry, wrong = self._entry(key, parts, policy)
        if entry is None:
            self._missed[call.path] = _Missed(key, parts, wrong)
            return None
        made = entry["made"]
        origin = {"kind": "cache", "run": made["run"], "path": made["path"], "at": made["at"], "key": key}
        return ReadyMade(entry["output"], origin)

    def keep(self, call: Call, record: Record) -> None:
        """Keep the result of a call that ran for the runs that come. The first of two that run at once is kept."""
        missed = self._missed.pop(call.path, None)
        if missed is None or time.monotonic() < self._leave_alone_until:
            return
        run = self._execution.run_id
        made = {"run": run, "path": call.path, "at": record["ended"], "seconds": record["ended"] - record["started"]}
        entry = {"v": VERSION, "parts": missed.parts, "output": record["output"], "made": made}
        if missed.replaced is not None:
            entry["replaced"] = missed.replaced
        write = self._execution.store.create if missed.replaced is None else self._execution.store.put
        try:
            write(missed.key, json.dumps(entry, separators=(",", ":")).encode())
        except ClaryError as error:
            self._out_of_reach(error)

    def _policy(self, call: Call) -> Cache | None:
        policy = call.callee.cache
        return self._default if policy is None else policy or None

    def _parts(self, call: Call, policy: Cache) -> Record | None:
        """Return what the result depends on; None where that cannot be told."""
        reached = self._reach(call)
        parts: Record = {
            "checkpoint": call.callee.name,
            "version": policy.version,
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "lock": self._lock_digest(),
            "code": _merged(one.code for one in reached),
            "packages": _merged(one.packages for one in reached),
            "constants": _merged(one.constants() for one in reached),
        }
        if policy.key is not None:
            return {**parts, "key": _key_text(call, policy.key)}
        inputs = {name: mark for name, mark in call.inputs.items() if name not in policy.ignore}
        for name, mark in inputs.items():
            if mark is None:
                kind = type(call.bound[name]).__qualname__
                self._say_once(
                    call.callee.name,
                    f"{call.callee.name} is not cached: its argument “{name}” is a {kind}, which is pickled and so "
                    "compared by nobody. Give plain data, or cache=Cache(key=…).",
                )
                return None
        return {**parts, "inputs": inputs}

    def _reach(self, call: Call) -> list[Reach]:
        """Return what the checkpoint reaches, and the classes of its arguments."""
        from clary.engine.reach import reach_of

        classes = {type(part) for value in call.bound.values() for part in (value, *_items(value))}
        found = []
        for start in (call.callee.function, *sorted(classes, key=lambda one: (one.__module__, one.__qualname__))):
            with self._lock:
                if start not in self._reached:
                    self._reached[start] = reach_of(start)
                found.append(self._reached[start])
        return found

    def _lock_digest(self) -> str | None:
        journal = self._execution.journal
        attempt = journal.state.attempts.get(journal.attempt)
        return None if attempt is None else attempt.spec.get("lock")

    def _entry(self, key: str, parts: Record, policy: Cache) -> tuple[Record | None, str | None]:
        """Return the entry if it is of use, else what is wrong with what is in its place, if anything is there."""
        if time.monotonic() < self._leave_alone_until:
            return None, None
        try:
            data = self._execution.store.get(key)
        except ClaryError as error:
            self._out_of_reach(error)
            return None, None
        entry = read_entry(data)
        if entry is None or entry["parts"] != parts:
            return None, None if data is None else "was damaged"
        if policy.expires is not None and time.time() - entry["made"]["at"] > policy.expires.total_seconds():
            return None, "had expired"
        try:
            decode(entry["output"], self._execution.store)
        except ClaryError as error:
            return None, "was damaged" if error.retry is Retry.NO else "was gone"
        return entry, None

    def _out_of_reach(self, error: ClaryError) -> None:
        self._leave_alone_until = time.monotonic() + _REST
        self._say_once(error.code, f"the cache is left alone, calls run: {error.summary}")

    def _say_once(self, about: str, text: str) -> None:
        with self._lock:
            if about in self._said:
                return
            self._said.add(about)
        print(f"clary: {text}", flush=True)


def _key_text(call: Call, key: Callable[..., str]) -> str:
    found = key(*call.arguments, **call.keywords)
    if isinstance(found, str):
        return found
    raise UsageError(
        "cache.bad_key",
        f"The cache key of {call.path} is of the type {type(found).__name__}, not a text.",
        next_step="Let the function of cache= return a text that is the same for equal results.",
        field="cache",
    )


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, (list, tuple, set, frozenset)) else ()


def _merged(found: Iterable[dict[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for one in found:
        merged |= one
    return merged


def _bad_option(what: str, step: str, field: str) -> UsageError:
    return UsageError("cache.bad_option", f"{what}.", next_step=step, field=field)
