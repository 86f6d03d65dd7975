"""Replays: a new run that begins with a copy of another's record and goes its own way from one call on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import service
from clary.agent.place import place_of
from clary.agent.replay import Changes
from clary.errors import ClaryError, ConflictError, DivergenceError, NotFoundError, UsageError
from clary.journal import records
from clary.journal.state import RunState
from clary.journal.writer import append

if TYPE_CHECKING:
    from clary.agent.views import RunView
    from clary.stacks.model import Stack
    from integration.agent.conftest import Recorder

FLOWS = """
import os
from clary import checkpoint, current_run, flow, load, log, save, wait


def ran(what):
    with open(os.environ["RAN"], "a") as file:
        file.write(what + "\\n")


@checkpoint
def fetch(rows: int, noise: float = 0.0) -> list:
    ran(f"fetch {rows}")
    return list(range(rows))


@checkpoint
def train(rows: list, rate: float) -> float:
    ran(f"train {len(rows)} {rate}")
    return score(rows) * rate


@checkpoint
def score(rows: list) -> float:
    ran("score")
    return float(sum(rows))


@checkpoint
def report(results: list) -> str:
    ran("report")
    return f"{max(results)}"


@flow
def study(rows: int = 4, rates: list = (1.0, 2.0)) -> list:
    began = current_run().random()
    data = fetch(rows)
    log(rows=rows)
    results = [train(data, rate) for rate in rates]
    save("results", results)
    return [report(results), began, load("results")]


@checkpoint
def fails(path: str, number: int) -> str:
    ran(f"fails {number}")
    if not os.path.exists(path):
        raise ValueError(number)
    return "there"


@checkpoint
def survives() -> None:
    ran("survives")
    raise KeyError("often")


@flow
def broken(path: str) -> list:
    fetch(2)
    try:
        survives()
    except KeyError:
        pass
    return fails.map([path, path], [1, 2]).results()


@flow
def asks() -> str:
    fetch(1)
    first = wait("first", str)
    train([1], 1.0)
    second = wait("second", str)
    return first + second
"""

At = Callable[..., "RunView"]


@pytest.fixture
def ran(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return what has run since the last time."""
    (project / "study.py").write_text(FLOWS)
    notes = tmp_path / "ran"
    notes.touch()
    monkeypatch.setenv("RAN", str(notes))

    def since() -> list[str]:
        lines = notes.read_text().splitlines()
        notes.write_text("")
        return lines

    return since


def _start(stack: Stack, flow: str, **inputs: Any) -> RunView:
    return service.start(service.load_target(f"study.py:{flow}"), inputs, stack)


def _essence(stack: Stack, run: str) -> dict[str, Any]:
    state = place_of(stack).read(run)
    calls = {
        path: {name: part for name, part in call.items() if name not in ("started", "ended", "attempt", "origin")}
        for path, call in state.calls.items()
    }
    return {
        "calls": calls,
        "values": state.values,
        "saved": state.saved,
        "logged": state.logged,
        "output": state.output,
    }


CALLS = ["fetch#1", "train#1/score#1", "train#1", "train#2/score#1", "train#2", "report#1"]
RUNS_AFTER = {
    "fetch#1": ["fetch 4", "train 4 1.0", "score", "train 4 2.0", "score", "report"],
    "train#1/score#1": ["train 4 1.0", "score", "train 4 2.0", "score", "report"],
    "train#1": ["train 4 1.0", "score", "train 4 2.0", "score", "report"],
    "train#2/score#1": ["train 4 2.0", "score", "report"],
    "train#2": ["train 4 2.0", "score", "report"],
    "report#1": ["report"],
}


@pytest.mark.parametrize("at", CALLS)
def test_everything_from_the_cut_on_runs_and_nothing_before_it(local: Stack, ran: Any, at: str) -> None:
    source = _start(local, "study")
    assert [call.path for call in source.calls] == CALLS
    ran()

    again = service.replay(local, source.id, at)

    assert again.status == "completed"
    assert again.id != source.id
    assert ran() == RUNS_AFTER[at]
    assert _essence(local, again.id) == _essence(local, source.id)
    state = place_of(local).read(again.id)
    assert state.replay_of is not None
    assert (state.replay_of["run"], state.replay_of["at"]) == (source.id, at)
    copied = [path for path, call in state.calls.items() if "origin" in call]
    assert copied == [path for path in CALLS[: CALLS.index(at)] if not path.startswith(f"{at}/")]
    assert all(state.calls[path]["origin"]["run"] == source.id for path in copied)
    assert service.get_run(local, source.id) == source


def test_a_name_stands_for_its_only_call(local: Stack, ran: Any) -> None:
    source = _start(local, "study")
    ran()
    assert service.replay(local, source.id, "report").status == "completed"
    assert ran() == ["report"]
    with pytest.raises(UsageError) as refused:
        service.replay(local, source.id, "train")
    assert refused.value.code == "replay.ambiguous_call"
    assert "train#1, train#2" in refused.value.next_step


@pytest.mark.parametrize(
    ("changes", "value", "what"),
    [
        (Changes(checkpoints={"train": {"input": {"rate": 5.0}}}), "30.0", ["train 4 5.0", "score"] * 2 + ["report"]),
        (
            Changes(calls={"train#2": {"input": {"rate": 5.0}}}),
            "30.0",
            ["train 4 1.0", "score", "train 4 5.0", "score", "report"],
        ),
        (Changes(checkpoints={"train": {"output": 7.5}}), "7.5", ["report"]),
        (Changes(calls={"train#1": {"output": 99.0}}), "99.0", ["train 4 2.0", "score", "report"]),
        (Changes(checkpoints={"score": {"output": 1.5}}), "3.0", ["train 4 1.0", "train 4 2.0", "report"]),
        (Changes(skip=("train",)), "12.0", ["report"]),
        (Changes(skip=("train#1",)), "12.0", ["train 4 2.0", "score", "report"]),
        (
            Changes(checkpoints={"train": {"input": {"rate": 5.0}}}, skip=("report",)),
            "12.0",
            ["train 4 5.0", "score"] * 2,
        ),
    ],
    ids=[
        "input",
        "input of one",
        "output",
        "output of one",
        "output below",
        "skip",
        "skip one",
        "skip what would differ",
    ],
)
def test_overrides(local: Stack, ran: Any, changes: Changes, value: str, what: list[str]) -> None:
    source = _start(local, "study")
    ran()
    again = service.replay(local, source.id, "train#1", changes)
    assert again.failure is None
    assert service.result(local, again.id)[0] == value
    assert ran() == what


def test_an_overridden_input_holds_when_the_replay_is_resumed(local: Stack, ran: Any, tmp_path: Path) -> None:
    there = tmp_path / "there"
    source = _start(local, "broken", path=str(there))
    changes = Changes(calls={"fails#1": {"input": {"number": 10}}})
    again = service.replay(local, source.id, "fails#1", changes)
    assert again.status == "failed"
    ran()
    there.touch()
    assert service.resume(local, again.id).status == "completed"
    assert sorted(ran()) == ["fails 10", "fails 2"]


def test_an_overridden_output_is_recorded_with_its_origin(local: Stack, ran: Any) -> None:
    source = _start(local, "study")
    again = service.replay(local, source.id, "train#1", Changes(calls={"train#2": {"output": 3.0}}))
    calls = place_of(local).read(again.id).calls
    assert calls["train#2"]["origin"] == {"kind": "override"}
    assert "origin" not in calls["train#1"]


@pytest.mark.parametrize(
    ("at", "changes", "value", "what"),
    [
        ("report#1", Changes(calls={"train#1": {"output": 99.0}}), "99.0", ["report"]),
        ("report#1", Changes(checkpoints={"train": {"output": 7.5}}), "7.5", ["report"]),
        ("train#2", Changes(checkpoints={"train": {"output": 7.5}}), "7.5", ["report"]),
        (
            "report#1",
            Changes(checkpoints={"train": {"output": 7.5}}, calls={"train#2": {"output": 99.0}}),
            "99.0",
            ["report"],
        ),
    ],
    ids=["of one", "of all", "on both sides of the cut", "one outranks all"],
)
def test_an_output_of_a_call_before_the_cut_replaces_the_recorded_one(
    local: Stack, ran: Any, at: str, changes: Changes, value: str, what: list[str]
) -> None:
    source = _start(local, "study")
    ran()
    again = service.replay(local, source.id, at, changes)
    assert again.failure is None
    assert service.result(local, again.id)[0] == value
    assert ran() == what
    overridden = [call.path for call in again.calls if call.origin == {"kind": "override"}]
    assert overridden == [path for path in ("train#1", "train#2") if path in changes.calls or changes.checkpoints]
    assert service.result(local, source.id)[0] == "12.0"


def test_copied_calls_that_an_overridden_output_changes_are_told(local: Stack, ran: Any) -> None:
    source = _start(local, "study")
    ran()
    changes = Changes(checkpoints={"fetch": {"output": [9]}})
    refused = service.replay(local, source.id, "report#1", changes)
    assert refused.status == "failed"
    assert "train#1" in refused.failure.summary  # type: ignore[union-attr]
    rerun = service.replay(local, source.id, "report#1", changes, on_change="rerun")
    assert service.result(local, rerun.id)[0] == "18.0"
    assert ran() == ["train 1 1.0", "score", "train 1 2.0", "score", "report"]


def test_an_output_stands_in_for_a_failure_before_the_cut(local: Stack, ran: Any, tmp_path: Path) -> None:
    there = tmp_path / "there"
    source = _start(local, "broken", path=str(there))
    there.touch()
    again = service.replay(local, source.id, "fails#1", Changes(checkpoints={"survives": {"output": None}}))
    assert again.status == "completed"
    assert [call.status for call in again.calls] == ["completed"] * 4


def test_a_changed_flow_input_shows_where_copied_calls_differ(local: Stack, ran: Any) -> None:
    source = _start(local, "study")
    ran()
    changes = Changes(flow={"rows": 3})
    refused = service.replay(local, source.id, "train#2", changes)
    assert refused.status == "failed"
    assert "fetch#1" in refused.failure.summary  # type: ignore[union-attr]
    with pytest.raises(DivergenceError):
        service.result(local, refused.id)
    assert ran() == []

    rerun = service.replay(local, source.id, "train#2", changes, on_change="rerun")
    assert service.result(local, rerun.id)[0] == "6.0"
    assert rerun.inputs["rows"] == "3"
    assert ran()[0] == "fetch 3"

    accepted = service.replay(local, source.id, "train#2", changes, on_change="accept")
    assert service.result(local, accepted.id)[0] == "12.0"


def test_a_changed_flow_input_that_nothing_copied_sees_is_fine(local: Stack, ran: Any) -> None:
    source = _start(local, "study")
    ran()
    again = service.replay(local, source.id, "train#2", Changes(flow={"rates": [1.0, 3.0]}))
    assert service.result(local, again.id)[0] == "18.0"
    assert ran() == ["train 4 3.0", "score", "report"]


def test_a_failed_run_is_replayed_from_the_call_that_failed(local: Stack, ran: Any, tmp_path: Path) -> None:
    there = tmp_path / "there"
    source = _start(local, "broken", path=str(there))
    assert source.status == "failed"
    ran()
    there.touch()
    for at in ("fails#2", "fails#1"):
        again = service.replay(local, source.id, at)
        assert again.status == "completed"
        assert sorted(ran()) == ["fails 1", "fails 2"]  # what failed with the run runs again, what it survived does not
    assert service.get_run(local, source.id).status == "failed"


def test_retry_is_for_what_failed_and_runs_just_that(local: Stack, ran: Any, tmp_path: Path) -> None:
    there = tmp_path / "there"
    source = _start(local, "broken", path=str(there))
    ran()
    there.touch()
    again = service.retry(local, source.id)
    assert (again.id, again.status) == (source.id, "completed")
    assert sorted(ran()) == ["fails 1", "fails 2"]
    with pytest.raises(ConflictError) as refused:
        service.retry(local, source.id)
    assert refused.value.code == "run.is_completed"


def test_retry_names_what_to_do_with_a_run_that_has_not_failed(local: Stack, ran: Any) -> None:
    waiting = _start(local, "asks")
    with pytest.raises(ConflictError) as refused:
        service.retry(local, waiting.id)
    assert refused.value.code == "run.is_waiting"
    assert f"clary runs answer {waiting.id} first" in refused.value.next_step
    assert service.stop(local, waiting.id).status == "stopped"
    with pytest.raises(ConflictError) as refused:
        service.retry(local, waiting.id)
    assert refused.value.code == "run.not_failed"
    assert f"clary runs resume {waiting.id}" in refused.value.next_step


def test_answers_before_the_cut_are_kept_and_later_waits_ask_again(local: Stack, ran: Any) -> None:
    source = _start(local, "asks")
    for name, value in (("first", "a"), ("second", "b")):
        service.answer(local, source.id, name, value)
        source = service.resume(local, source.id) if source.status != "completed" else source
        source = service.get_run(local, source.id)
    assert source.status == "completed"
    again = service.replay(local, source.id, "train#1")
    assert again.status == "waiting"
    state = place_of(local).read(again.id)
    assert [wait["name"] for wait in state.open_waits()] == ["second"]
    assert [answer["value"] for answer in state.answers.values()] == ["a"]


@pytest.mark.parametrize(
    ("at", "changes", "code"),
    [
        ("trian#2", Changes(), "replay.no_such_call"),
        ("train#2", Changes(checkpoints={"tran": {"output": 1}}), "replay.no_such_call"),
        ("train#2", Changes(calls={"train#9": {"output": 1}}), "replay.no_such_call"),
        ("train#2", Changes(skip=("reprot",)), "replay.no_such_call"),
        ("train#2", Changes(checkpoints={"fetch": {"input": {"rows": 1}}}), "replay.before_cut"),
        ("train#2", Changes(calls={"train#1": {"input": {"rate": 1.0}}}), "replay.before_cut"),
        ("train#2", Changes(checkpoints={"train": {"input": {"rat": 1}}}), "replay.no_such_input"),
        ("train#2", Changes(checkpoints={"train": {"outptu": 1}}), "replay.bad_override"),
        ("train#2", Changes(checkpoints={"train": {}}), "replay.bad_override"),
        ("train#2", Changes(checkpoints={"train": {"input": 5}}), "replay.bad_override"),
        ("train#2", Changes(checkpoints={"train": {"input": {"rate": 1}, "output": 1}}), "replay.bad_override"),
        ("train#2", Changes(flow={"row": 1}), "flow.unknown_input"),
    ],
)
def test_what_fits_nothing_is_refused_before_anything_is_recorded(
    local: Stack, ran: Any, at: str, changes: Changes, code: str
) -> None:
    source = _start(local, "study")
    with pytest.raises(ClaryError) as refused:
        service.replay(local, source.id, at, changes)
    assert refused.value.code == code
    assert [run.id for run in service.list_runs(local)] == [source.id]


def test_the_nearest_call_is_named(local: Stack, ran: Any) -> None:
    source = _start(local, "study")
    with pytest.raises(NotFoundError, match=r"train#2"):
        service.replay(local, source.id, "trian#2")


def test_a_failed_call_has_no_result_to_skip_to(local: Stack, ran: Any, tmp_path: Path) -> None:
    source = _start(local, "broken", path=str(tmp_path / "no"))
    with pytest.raises(ConflictError) as refused:
        service.replay(local, source.id, "survives", Changes(skip=("fails",)))
    assert refused.value.code == "replay.no_result"


def test_a_run_under_way_is_replayed_up_to_what_it_has_recorded(local: Stack, ran: Any, observer: Recorder) -> None:
    source = _start(local, "asks")
    with place_of(local).log(source.id) as log:  # as if it went on elsewhere
        append(log, RunState(), lambda _: [records.opened(nonce="n", host="there", pid=1)], attempt=1)
    again = service.replay(local, source.id, "fetch", observer=observer)
    assert again.status == "waiting"
    assert any("under way" in note for note in observer.of("note"))
    with pytest.raises(ConflictError) as refused:
        service.replay(local, source.id, "train")
    assert refused.value.code == "replay.not_recorded_yet"


def test_a_replay_can_be_replayed_and_keeps_its_tag(local: Stack, ran: Any) -> None:
    source = _start(local, "study")
    first = service.replay(local, source.id, "train#2", Changes(calls={"train#2": {"output": 50.0}}), tag="what-if")
    second = service.replay(local, first.id, "report")
    assert service.result(local, second.id)[0] == "50.0"
    state = place_of(local).read(first.id)
    assert state.replay_of is not None
    assert state.replay_of["tag"] == "what-if"


def test_many_copied_calls_go_in_several_entries_and_the_run_appears_with_the_last(
    local: Stack, ran: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clary.agent.replay._BATCH", 2)
    source = _start(local, "study")
    ran()
    again = service.replay(local, source.id, "report")
    assert ran() == ["report"]
    with place_of(local).log(again.id) as log:
        entries = list(log.read())
    kinds = [[record["kind"] for record in entry["records"]] for entry in entries]
    assert kinds[kinds.index([records.CREATED, records.ATTEMPT]) - 1] != []
    assert kinds.index([records.CREATED, records.ATTEMPT]) >= 3


def test_flow_replay_in_python(local: Stack, ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = service.load_target("study.py:study")
    source = service.start(target, {}, local)
    ran()
    handle = target.flow.replay(source.id, "train#2", invocation_overrides={"train#2": {"input": {"rate": 4.0}}})
    assert handle.result()[0] == "24.0"
    assert ran() == ["train 4 4.0", "score", "report"]
    assert json.dumps(service.get_run(local, handle.id).to_dict())


def test_a_replay_on_sagemaker_shares_values_and_runs_the_code_as_it_is_now(
    stack: Stack, project: Path, keys: Callable[[], list[str]]
) -> None:
    text = FLOWS.replace('with open(os.environ["RAN"], "a") as file:\n        file.write(what + "\\n")', "print(what)")
    text = text.replace("return list(range(rows))", "return list(range(rows)) * 20000")
    (project / "study.py").write_text(text)
    source = service.wait(stack, _start(stack, "study").id, 60)
    assert source.status == "completed"
    before = {key for key in keys() if key.startswith("values/")}
    (project / "study.py").write_text(text.replace('return f"{max(results)}"', 'return "new"'))
    changes = Changes(calls={"train#2": {"output": 1.0}})
    again = service.wait(stack, service.replay(stack, source.id, "train#2", changes).id, 60)
    assert again.status == "completed"
    assert service.result(stack, again.id)[0] == "new"
    lines = [line for _, _, line in service.logs(stack, again.id)]
    assert "fetch 4" not in lines
    assert "report" in lines
    large = {key for key in keys() if key.startswith("values/")}
    assert before <= large
