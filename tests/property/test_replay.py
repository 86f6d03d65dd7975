"""A replay with no overrides of a deterministic flow has the same result and the same record, whatever the cut."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clary.agent.replay import Seed, Source
from clary.engine.attempt import run_attempt
from clary.engine.replaying import origin_of
from clary.flows import checkpoint, current_run, flow, load, log, save
from clary.journal import records
from clary.journal.sqlite import SqliteLog
from clary.journal.state import RunState, fold
from clary.journal.writer import append
from clary.objects.folder import FolderStore

if TYPE_CHECKING:
    from clary.journal.records import Record

RAN: list[str] = []
SOURCE, REPLAY = "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAW"


@checkpoint
def one(value: int) -> int:
    RAN.append(current_run().path)
    return value + 1


@checkpoint
def fails(value: int) -> int:
    RAN.append(current_run().path)
    raise ValueError(value)


@checkpoint
def outer(value: int) -> int:
    RAN.append(current_run().path)
    return one(value) + one(value + 1)


def _do(step: str, value: int) -> int:
    if step == "one":
        return one(value)
    if step == "outer":
        return outer(value)
    if step == "map":
        return sum(one.map([value, value + 1, value + 2]).results())
    if step == "nested map":
        return sum(outer.map([value, value + 1]).results())
    if step == "fails":
        try:
            return fails(value)
        except ValueError as error:
            return int(error.args[0])
    if step == "chance":
        current_run().random()  # behind the cut it is taken anew, so nothing may depend on it
        return value
    if step == "save":
        save("kept", value)
        return int(load("kept"))
    log(value=value)
    return value


STEPS = ("one", "outer", "map", "nested map", "fails", "chance", "save", "log")


@flow
def body(steps: list[str]) -> list[int]:
    found = [1]
    for step in steps:
        found.append(_do(step, found[-1] % 97))
    return found


def _run(folder: Path, run: str, inputs: Record, seed: Seed | None) -> tuple[Any, SqliteLog]:
    store, log_ = FolderStore(str(folder / "store")), SqliteLog(folder / "journal.db", run)
    state = RunState()
    if seed is not None:
        seed.write(log_, state)
    origin = None if seed is None else seed.replay_of
    first = [
        records.created(run, flow="body", stack="local", spec={}, inputs=inputs, by="somebody", replay_of=origin),
        records.attempt(1, job=None, request=None, spec={}),
    ]
    assert append(log_, state, lambda _: first)
    return run_attempt(log_, store, lambda _: body, 1, host="here"), log_


def _essence(state: RunState) -> dict[str, Any]:
    calls = {
        path: {name: part for name, part in call.items() if name not in ("started", "ended", "attempt", "origin")}
        for path, call in state.calls.items()
    }
    for call in calls.values():
        call.pop("error", None)  # it holds line numbers of threads' stacks
    values = {path: value for path, value in state.values.items() if "~random" not in path}
    return {"calls": calls, "values": values, "saved": state.saved, "logged": state.logged, "out": state.output}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=7), st.data())
def test_a_replay_without_overrides_is_the_same_whatever_the_cut(steps: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = {"steps": {"c": "plain", "t": "list", "v": steps}}
        outcome, log_ = _run(folder, SOURCE, inputs, None)
        entries = list(log_.read())
        log_.close()
        source = Source(entries)
        if not source.state.calls:
            return
        cut = data.draw(st.sampled_from(list(source.state.calls)))
        before = [path for path in source.state.calls if source.is_before(path, cut)]
        RAN.clear()
        replay_of: Record = {
            "run": SOURCE,
            "stack": "local",
            "at": cut,
            "tag": None,
            "overrides": {"flow": [], "inputs": {}, "outputs": {}, "skip": []},
        }
        again, second = _run(folder, REPLAY, inputs, Seed(inputs, replay_of, source.before(cut), "error"))
        state = fold(second.read())
        second.close()
    assert (again.status, again.value) == ("completed", outcome.value)
    assert _essence(state) == _essence(source.state)
    assert sorted(RAN) == sorted(set(source.state.calls) - set(before))
    assert {path for path, call in state.calls.items() if origin_of(call) == "replay"} == set(before)
    assert again.left_over == ()
