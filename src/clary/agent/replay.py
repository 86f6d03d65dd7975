"""A new run that begins with a copy of another's record, up to one call, and goes its own way from there.

Copied is what the other run's flow has been given up to then: results of calls (or what is to stand in their place),
readings of clock and chance, named values, facts, answers. Values are not copied but shared, by their address; so a
replay runs on the stack of the run that it replays. The run exists once its last entry is written: a crash before that
leaves nothing that anybody finds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clary.agent import local
from clary.artifacts import encode
from clary.engine.replaying import OVERRIDE, REPLAY, SKIP
from clary.errors import ConflictError, NotFoundError, UsageError, nearest
from clary.journal import records
from clary.journal.records import new_entry
from clary.journal.state import RunState, fold
from clary.journal.writer import store

if TYPE_CHECKING:
    from clary.agent.place import Place
    from clary.agent.targets import FlowTarget
    from clary.agent.views import Observer
    from clary.journal.log import Log
    from clary.journal.records import Entry, Record

FAILED = frozenset({"failed", "timed_out"})
"""Ends of a run that a retry is for."""
_BATCH = 500
"""Records in one entry of the copy."""
_SHOWN = 8
_NOTHING: Mapping[str, Record] = {}
_CALLS = frozenset({records.CALL, records.CALL_FAILED})
_BY_PATH = frozenset({records.VALUE, records.SAVED, records.TIMER})


@dataclass(frozen=True)
class Changes:
    """How a replay is to differ from the run that it replays. Values are any that a checkpoint may take or return."""

    flow: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of the flow, by name."""
    checkpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By checkpoint name, for all its calls: ``{"input": {parameter: value}}`` or ``{"output": value}``. An output
    replaces that of a call before the cut as well, an input holds for calls from the cut on."""
    calls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The same by path, for one call."""
    skip: tuple[str, ...] = ()
    """Checkpoint names or paths: calls behind the cut that keep the recorded result all the same."""


@dataclass(frozen=True)
class Seed:
    """What a replay begins with."""

    inputs: Record
    """Encoded inputs of the flow."""
    replay_of: Record
    copied: list[Record]
    on_change: str

    def write(self, log: Log, state: RunState) -> None:
        """Write the copy into the log of the new run, which nobody else knows of yet."""
        for start in range(0, len(self.copied), _BATCH):
            entry = new_entry(state.seq + 1, self.copied[start : start + _BATCH])
            foreign = store(log, entry)
            assert foreign is None
            state.apply(entry)


def prepare(
    place: Place,
    run: str,
    target: FlowTarget,
    at: str,
    changes: Changes,
    *,
    tag: str | None,
    on_change: str,
    observer: Observer | None,
) -> Seed:
    """Read a run's record and return what its replay begins with; nothing but values that are given is stored.

    Args:
        place: where the run is kept.
        run: its id.
        target: the flow, with its code as it is now.
        at: the call from which on everything runs: its path, or its name if there is one of that name.
        changes: how the replay is to differ.
        tag: a word for people, kept with the replay.
        on_change: what becomes of a copied call that is another now.
        observer: told what a person should know.

    Raises NotFoundError ``replay.no_such_call``; UsageError ``replay.ambiguous_call``, ``replay.before_cut``,
    ``replay.bad_override``, ``replay.no_such_input``, ``flow.unknown_input``; ConflictError
    ``replay.not_recorded_yet``, ``replay.no_result``; SerializationError for a value that cannot be kept.
    """
    with place.log(run) as log:
        entries = list(log.read())
    source = Source(entries)
    if source.state.status == "absent":
        raise place.no_run(run)
    cut = source.find(at)
    if observer is not None and not source.state.idle:
        observer.note(f"Run {run} is under way; its record before {cut} is complete, and that is what is copied.")
    target.flow.bind({**dict.fromkeys(source.state.inputs), **changes.flow})
    changed = _checked(source, cut, changes)
    skipped = source.skipped(cut, changes.skip)
    outputs = _encoded({name: given["output"] for name, given in changed.items() if "output" in given}, place)
    copied = [*source.before(cut, outputs), *skipped]
    overrides = {
        "flow": sorted(changes.flow),
        "inputs": {name: _encoded(given["input"], place) for name, given in changed.items() if "input" in given},
        "outputs": outputs,
        "skip": list(changes.skip),
    }
    replay_of = {"run": run, "stack": source.state.stack, "at": cut, "tag": tag, "overrides": overrides}
    return Seed({**source.state.inputs, **_encoded(changes.flow, place)}, replay_of, copied, on_change)


def _encoded(values: Mapping[str, Any], place: Place) -> Record:
    return {name: encode(value, place.store) for name, value in values.items()}


def refuse_retry(state: RunState) -> None:
    """Raise ConflictError for a run that has not failed: ``run.not_failed``, or what says more of its state."""
    if state.status in FAILED:
        return
    local.refuse_completed(state)
    local.refuse_waiting(state)
    if not state.idle:
        raise local.is_live(state.run)
    raise ConflictError(
        "run.not_failed",
        f"Run {state.run} has not failed: it is {state.status}.",
        next_step=f"Go on where it was with `clary runs resume {state.run}`.",
        field="run",
        details={"run": state.run, "status": state.status},
    )


class Source:
    """The record of the run that is replayed."""

    def __init__(self, entries: list[Entry]) -> None:
        self.state = fold(entries)
        self._entries = entries
        self._order = [(entry, record) for entry in entries for record in entry["records"]]
        self._last = {record["path"]: n for n, (_, record) in enumerate(self._order) if record["kind"] in _CALLS}
        """Where each call stands in the log; of one that ran again, where it was recorded last."""

    @property
    def names(self) -> dict[str, list[str]]:
        """Paths of the recorded calls by checkpoint name, in the order of the log."""
        found: dict[str, list[str]] = {}
        for path in self._last:
            found.setdefault(self.call(path)["name"], []).append(path)
        return found

    def call(self, path: str) -> Record:
        """Return the record of a call."""
        return self._order[self._last[path]][1]

    def find(self, at: str) -> str:
        """Return the path of the one call that is meant."""
        if at in self._last:
            return at
        paths = self.names.get(at, [])
        if len(paths) == 1:
            return paths[0]
        if paths:
            shown = ", ".join(paths[:_SHOWN]) + (" …" if len(paths) > _SHOWN else "")
            raise UsageError(
                "replay.ambiguous_call",
                f"Run {self.state.run} has {len(paths)} calls of {at}.",
                next_step=f"Name one of them: {shown}.",
                field="at",
                details={"calls": paths[:100]},
            )
        raise self._no_such_call(at)

    def is_before(self, path: str, cut: str) -> bool:
        """Tell whether a call comes before the cut: its record does, and it is not made by the call of the cut."""
        return self._last[path] < self._last[cut] and not path.startswith(f"{cut}/")

    def before(self, cut: str, outputs: Mapping[str, Record] = _NOTHING) -> list[Record]:
        """Return the copy of what the flow was given before the cut, in the order of the log.

        ``outputs`` (encoded, by checkpoint name or path) stand in the place of those that were recorded.
        """
        until = self._last[cut]
        state = self._state_before(until)
        copied: list[Record] = []
        seen: set[tuple[str, str]] = set()
        for entry, record in self._order[:until]:
            kind, path = record["kind"], record.get("path", "")
            if path.startswith(f"{cut}/") or (kind, path) in seen:
                continue
            if kind in _CALLS:
                if self._holds(record, entry, state):
                    output = outputs.get(path) or outputs.get(record["name"])
                    copied.append(self._copy(record, REPLAY) if output is None else _overridden(record, output))
                continue
            asked = kind in (records.WAIT, records.ANSWER) and path in state.waits and path in state.answers
            if asked or kind in _BY_PATH or kind == records.LOGGED:
                copied.append(record)
                if kind != records.LOGGED:
                    seen.add((kind, path))
        return copied

    def skipped(self, cut: str, skip: Iterable[str]) -> list[Record]:
        """Return the copy of calls behind the cut that keep their result."""
        wanted: dict[str, None] = {}
        for one in skip:
            paths = [one] if one in self._last else self.names.get(one)
            if paths is None:
                raise self._no_such_call(one)
            behind = [path for path in paths if not self.is_before(path, cut)]
            failed = [path for path in behind if self.call(path)["kind"] == records.CALL_FAILED]
            if failed:
                raise ConflictError(
                    "replay.no_result",
                    f"{failed[0]} failed in run {self.state.run}: there is no result to keep.",
                    next_step="Let it run, or give it a result: --invocation-overrides "
                    f"'{json.dumps({failed[0]: {'output': 'VALUE'}})}'.",
                    field="skip",
                )
            wanted |= dict.fromkeys(behind)
        return [self._copy(self.call(path), SKIP) for path in sorted(wanted, key=self._last.__getitem__)]

    def _state_before(self, until: int) -> RunState:
        state = RunState()
        left = until
        for entry in self._entries:
            part = entry["records"][:left]
            state.apply({**entry, "records": part})
            left -= len(part)
            if left <= 0:
                break
        return state

    def _holds(self, record: Record, entry: Entry, state: RunState) -> bool:
        """Tell whether the record is what the flow would be given; not that of a failure that a resume forgets."""
        current = {**record, "attempt": entry["attempt"]} == state.calls.get(record["path"])
        return current and not (record["kind"] == records.CALL_FAILED and record["path"] in self._forgotten)

    @property
    def _forgotten(self) -> set[str]:
        ends = (record for _, record in self._order if record["kind"] in (records.FAILED, records.FLOW_RETRIED))
        return {path for record in ends for path in record["calls"]}

    def _copy(self, record: Record, kind: str) -> Record:
        origin = {"kind": kind, "run": self.state.run, "path": record["path"], "at": record["ended"]}
        return {**record, "origin": origin}

    def _no_such_call(self, given: str) -> NotFoundError | ConflictError:
        if not self.state.idle:
            return ConflictError(
                "replay.not_recorded_yet",
                f"Run {self.state.run} is under way, and {given} is not on record yet.",
                next_step=f"Wait for it with `clary runs wait {self.state.run}`, or name a call that "
                f"`clary runs show {self.state.run}` lists.",
                field="at",
            )
        meant = nearest(given, [*self._last, *self.names])
        return NotFoundError(
            "replay.no_such_call",
            f"Run {self.state.run} has recorded no call {given!r}.",
            next_step=f"Did you mean {meant!r}?" if meant else f"`clary runs show {self.state.run}` lists its calls.",
            field="at",
        )

    def find_targets(self, target: str, *, as_call: bool) -> list[str]:
        """Return the paths that an override is for; raises NotFoundError ``replay.no_such_call``."""
        paths = [target] if as_call else self.names.get(target, [])
        if not paths or paths[0] not in self._last:
            raise self._no_such_call(target)
        return paths

    def behind(self, target: str, paths: list[str], cut: str) -> list[str]:
        """Return those of the paths that run in a replay; raises UsageError ``replay.before_cut`` for none."""
        behind = [path for path in paths if not self.is_before(path, cut)]
        if behind:
            return behind
        raise UsageError(
            "replay.before_cut",
            f"{paths[0]} comes before {cut} in run {self.state.run}: it does not run in this replay.",
            next_step=f"Replay from an earlier call: --at {paths[0]}. Its output can be replaced all the same.",
            field=target,
        )


def _overridden(record: Record, output: Record) -> Record:
    """Return the copy of a call that is to have another output; whatever it is called with, nobody asks for its own."""
    kept = {name: record[name] for name in ("path", "name", "source")}
    unchecked = dict.fromkeys(record["inputs"])
    times = {"started": record["ended"], "ended": record["ended"]}
    return {"kind": records.CALL, **kept, "inputs": unchecked, "output": output, **times, "origin": {"kind": OVERRIDE}}


def _checked(source: Source, cut: str, changes: Changes) -> dict[str, Mapping[str, Any]]:
    """Return the overrides by checkpoint name and path; raises what is wrong with the first that is wrong."""
    found = {}
    for as_call, overrides in ((False, changes.checkpoints), (True, changes.calls)):
        for name, given in overrides.items():
            _check_form(name, given)
            paths = source.find_targets(name, as_call=as_call)
            if "input" in given:
                known = source.call(source.behind(name, paths, cut)[0])["inputs"]
                for parameter in given["input"]:
                    if parameter not in known:
                        raise _no_such_input(name, parameter, known)
            found[name] = given
    return found


def _check_form(name: str, given: Any) -> None:
    if isinstance(given, Mapping) and (set(given) == {"output"} or _gives_inputs(given)):
        return
    form = {name: {"input": {"PARAMETER": "VALUE"}}}, {name: {"output": "VALUE"}}
    raise UsageError(
        "replay.bad_override",
        f"The override of {name} does not say what it is of.",
        next_step=f"Write {json.dumps(form[0])} or {json.dumps(form[1])}.",
        field=name,
    )


def _gives_inputs(given: Mapping[str, Any]) -> bool:
    return set(given) == {"input"} and isinstance(given["input"], Mapping) and bool(given["input"])


def _no_such_input(name: str, parameter: str, known: Iterable[str]) -> UsageError:
    meant = nearest(parameter, list(known))
    return UsageError(
        "replay.no_such_input",
        f"{name} has no input “{parameter}”.",
        next_step=f"Did you mean “{meant}”?" if meant else f"Its inputs are: {', '.join(known) or 'none'}.",
        field=parameter,
    )
