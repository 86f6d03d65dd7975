"""Replay that checks: the call that is made must be the call that was recorded, or the difference is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from clary.artifacts.values import IN_WORDS
from clary.engine.replaying import SKIP, origin_of
from clary.errors import DivergenceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.engine.execution import Call, Execution
    from clary.journal.records import Record

ERROR = "error"
"""Refuse a difference (the default)."""
RERUN = "rerun"
"""Run the differing call again and record it anew."""
ACCEPT = "accept"
"""Take the recorded result all the same."""
WAYS = (ERROR, RERUN, ACCEPT)
DECLARED: set[str] = set()
"""Names of the checkpoints that this process knows."""
_contents: WeakKeyDictionary[Execution, dict[str, list[str]]] = WeakKeyDictionary()
"""Recorded calls by what they are apart from their names, for executions that have needed to know."""


def is_renamed(execution: Execution, call: Call) -> bool:
    """Tell whether a call that the record does not have by its path is in it all the same.

    One that it has under a name which no checkpoint has any more was renamed: raises DivergenceError, or, where
    differences are accepted, takes that record for the call's own and returns True.
    """
    if execution.on_change == RERUN or len(execution.replayed) >= len(execution.recorded):
        return False
    known = _contents.get(execution)
    if known is None:
        known = _contents[execution] = {}
        for path, record in execution.recorded.items():
            known.setdefault(_content(path, record["source"], record["inputs"]), []).append(path)
    for path in known.get(_content(call.path, call.callee.source, call.inputs), ()):
        name = execution.recorded[path]["name"]
        if path in execution.replayed or name in DECLARED:
            continue
        if execution.on_change == ACCEPT:
            execution.recorded[call.path] = execution.recorded[path]
            execution.replayed |= {path, call.path}
            return True
        raise error(execution.run_id, call, {"name": f"recorded {name}, now {call.callee.name}"}, {})
    return False


def _content(path: str, source: str, inputs: Mapping[str, str | None]) -> str:
    return json.dumps([path.rpartition("/")[0], source, inputs], sort_keys=True)


def compare(record: Record, call: Call) -> dict[str, str] | None:
    """Return what differs between the record and the call, in words by part; None when nothing does."""
    if origin_of(record) == SKIP:
        return None  # somebody has asked for that result, whatever the call is now
    found: dict[str, str] = {}
    if record["name"] != call.callee.name:
        found["name"] = f"recorded {record['name']}, now {call.callee.name}"
    if record["source"] != call.callee.source:
        found["source"] = "the checkpoint's own code has changed"
    before = record["inputs"]
    for name in before.keys() | call.inputs.keys():
        if name not in call.inputs:
            found[name] = "recorded, but no longer a parameter"
        elif name not in before:
            found[name] = "a new parameter"
        elif (was := before[name]) is not None and (now := call.inputs[name]) is not None and was != now:
            found[name] = _difference(was, now) + _default_words(call, name)
    return found or None


def error(run: str, call: Call, difference: dict[str, str], recorded: Mapping[str, Record]) -> DivergenceError:
    """Return the error that shows the difference, the recorded call that this one is like, and the ways out."""
    shown = "; ".join(f"{part}: {what}" for part, what in sorted(difference.items()))
    like = _like(call, recorded)
    hint = ""
    if like is not None:
        hint = f" It is like the recorded {like}: a call of {call.callee.name} has gone, or their order has changed."
    elif difference.keys() & call.inputs.keys() and "source" not in difference:
        hint = " No recorded call is like it: a call has been put in before it, or what it is given has changed."
    return DivergenceError(
        "replay.diverged",
        f"{call.path} is not the call that was recorded ({shown}).{hint}",
        next_step=f"Run it again: clary runs resume {run} --on-change rerun; or keep the recorded result: "
        "--on-change accept; or restore the code and resume.",
        field=call.path,
        details={"path": call.path, "difference": difference, **({"like": like} if like is not None else {})},
    )


def _difference(before: str, now: str) -> str:
    if before.startswith(IN_WORDS) and now.startswith(IN_WORDS):
        return f"recorded {before[1:]}, now {now[1:]}"
    return "another value than the recorded one"


def _default_words(call: Call, name: str) -> str:
    given = call.callee.signature.bind(*call.arguments, **call.keywords).arguments
    return "" if name in given else ": its default has changed"


def _like(call: Call, recorded: Mapping[str, Record]) -> str | None:
    """Return the path of a recorded call of the same checkpoint, made at the same place, that is just like this one."""
    place = call.path.rpartition("/")[0]
    for path, record in recorded.items():
        if path.rpartition("/")[0] == place and record["name"] == call.callee.name and compare(record, call) is None:
            return path
    return None
