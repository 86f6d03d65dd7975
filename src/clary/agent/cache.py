"""What the cache of a stack holds, why a call was not answered by it, and clearing it. Values are never touched."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from clary.artifacts import preview
from clary.artifacts.values import IN_WORDS
from clary.engine.caching import FOLDER, folder_of, read_entry
from clary.errors import NotFoundError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clary.agent.place import Place
    from clary.journal.records import Record

_READERS = 16
_GROUPS = {"code": "code of", "constants": "value of", "packages": "version of", "inputs": "input"}
_SINGLE = {
    "version": "the declared version",
    "python": "Python's version",
    "lock": "the lock file",
    "key": "the key",
}


@dataclass(frozen=True)
class CacheEntry:
    """One result that other runs may take."""

    key: str
    """Where it lies under the artifact store's root."""
    checkpoint: str
    run: str
    """The run that made it."""
    path: str
    """Its call there."""
    made: float
    """When (epoch seconds)."""
    seconds: float
    """How long the body took."""
    type: str
    preview: str
    size: int | None
    """Bytes of the value, where it is not in the entry itself."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain data, an item of ``-o json``."""
        return asdict(self)


@dataclass(frozen=True)
class CallReuse:
    """What the cache did for one call of a run."""

    path: str
    run: str | None = None
    """The run whose result was taken; of a miss, the one whose entry came closest."""
    call: str | None = None
    """Its call there."""
    reused: bool = False
    reasons: tuple[str, ...] = ()
    """Of a miss: what differs from that entry."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, an item of ``-o json``."""
        return asdict(self)


def entries(place: Place, checkpoint: str | None = None) -> list[CacheEntry]:
    """Return what the cache holds, of one checkpoint if it is named, newest first; what cannot be read is left out.

    Raises NotFoundError (``cache.no_such_checkpoint``).
    """
    return sorted((_view(key, entry) for key, entry in _read(place, checkpoint) if entry), key=lambda one: -one.made)


def clear(place: Place, checkpoint: str | None = None, older_than: float | None = None) -> int:
    """Take entries out of the cache and return how many: all, or of one checkpoint, or made ``older_than`` seconds ago.

    Entries that cannot be read go too. Values stay, for runs refer to them. Raises NotFoundError
    (``cache.no_such_checkpoint``), and PermissionDeniedError where objects may not be deleted.
    """
    if older_than is None:
        keys = list(_keys(place, checkpoint))
    else:
        before = time.time() - older_than
        keys = [key for key, entry in _read(place, checkpoint) if entry is None or entry["made"]["at"] < before]
    with ThreadPoolExecutor(_READERS, thread_name_prefix="clary-cache") as pool:
        for done in [pool.submit(place.store.delete, key) for key in keys]:
            done.result()
    return len(keys)


def why(place: Place, run: str) -> list[CallReuse]:
    """Tell of every call of a run that asked the cache what came of it, and of a miss why.

    A miss is known by the entry that the call left. So calls that failed, and those whose entries were cleared or
    replaced since, are not told of. Raises NotFoundError (``run.not_found``).
    """
    state = place.read(run)
    kept: dict[str, list[tuple[str, Record]]] = {}
    found = []
    for path, call in state.calls.items():
        origin = call.get("origin", {})
        if origin.get("kind") == "cache":
            found.append(CallReuse(path, origin["run"], origin["path"], reused=True))
        elif not origin:
            name = call["name"]
            if name not in kept:
                kept[name] = [(key, entry) for key, entry in _read(place, name, known=False) if entry]
            found += _miss(run, path, [entry for _, entry in kept[name]])
    return found


def differences(before: Record, now: Record) -> list[str]:
    """Return in words what differs between the parts of two keys of one checkpoint."""
    found = [words for name, words in _SINGLE.items() if before.get(name) != now.get(name)]
    for group, words in _GROUPS.items():
        old, new = before.get(group, {}), now.get(group, {})
        for name in sorted(old.keys() | new.keys()):
            if name not in new:
                found.append(f"{words} {name}: no longer there")
            elif name not in old:
                found.append(f"{words} {name}: new")
            elif old[name] != new[name]:
                found.append(f"{words} {name}: changed{_change(group, str(old[name]), str(new[name]))}")
    return found


def _change(group: str, before: str, now: str) -> str:
    if group == "inputs" and before.startswith(IN_WORDS) and now.startswith(IN_WORDS):
        return f" ({before[1:]} before, {now[1:]} now)"
    return f" ({before} before, {now} now)" if group == "packages" else ""


def _miss(run: str, path: str, known: Iterable[Record]) -> Iterator[CallReuse]:
    mine = next((one for one in known if (one["made"]["run"], one["made"]["path"]) == (run, path)), None)
    if mine is None:
        return
    if mine.get("replaced"):
        yield CallReuse(path, reasons=(f"the result that was kept {mine['replaced']}",))
        return
    earlier = [one for one in known if one["made"]["at"] < mine["made"]["at"] and one["made"]["run"] != run]
    compared = [(differences(one["parts"], mine["parts"]), one["made"]) for one in earlier]
    if not compared:
        yield CallReuse(path, reasons=("no earlier run has left a result of this checkpoint",))
        return
    reasons, made = min(compared, key=lambda one: (len(one[0]), -one[1]["at"]))
    yield CallReuse(path, made["run"], made["path"], reasons=tuple(reasons))


def _view(key: str, entry: Record) -> CacheEntry:
    made, value = entry["made"], entry["output"]
    return CacheEntry(
        key=key,
        checkpoint=entry["parts"]["checkpoint"],
        run=made["run"],
        path=made["path"],
        made=made["at"],
        seconds=made.get("seconds", 0.0),
        type=value.get("t", ""),
        preview=preview(value),
        size=value.get("n"),
    )


def _read(place: Place, checkpoint: str | None, *, known: bool = True) -> list[tuple[str, Record | None]]:
    keys = list(_keys(place, checkpoint, known=known))
    with ThreadPoolExecutor(_READERS, thread_name_prefix="clary-cache") as pool:
        return list(zip(keys, map(read_entry, pool.map(place.store.get, keys)), strict=True))


def _keys(place: Place, checkpoint: str | None, *, known: bool = True) -> Iterator[str]:
    if checkpoint is None:
        yield from place.store.keys(FOLDER)
        return
    keys = list(place.store.keys(folder_of(checkpoint)))
    if not keys and known:
        raise _no_such(place, checkpoint)
    yield from keys


def _no_such(place: Place, checkpoint: str) -> NotFoundError:
    names = [unquote(name) for name in place.store.folders(FOLDER)]
    meant = nearest(checkpoint, names)
    listed = f"It has results of: {', '.join(names)}." if names else "It has no results at all."
    return NotFoundError(
        "cache.no_such_checkpoint",
        f"The cache of the stack {place.stack.name!r} has no results of {checkpoint!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else listed,
        field="checkpoint",
    )
