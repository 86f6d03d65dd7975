"""What Kitaru's client tells of a call: its name, facts, type, tries and values; and replays that change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clary import kitaru
from clary.kitaru import KitaruClient

_calls: list[str] = []


@kitaru.checkpoint(type="llm_call")
def plan(question: str) -> list[str]:
    kitaru.log(tokens=3, usage={"prompt": 1})
    kitaru.log(usage={"completion": 2})
    kitaru.save("asked", question, type="Prompt", tags=["agent"])
    return [f"{question} {number}" for number in range(2)]


@kitaru.checkpoint(type="tool_call", retries=1)
def search(query: str) -> str:
    _calls.append(query)
    if _calls.count(query) == 1 and query == "flaky 1":
        raise ConnectionError("again")
    kitaru.log(query=query)
    return query.upper()


@kitaru.checkpoint
def join(parts: list[str]) -> str:
    _calls.append("join")
    if "bad" in parts:
        raise ValueError("too bad")
    return "+".join(parts)


@kitaru.flow
def research(question: str) -> str:
    kitaru.log(stage="begun", cfg={"a": 1})
    found = [search(query) for query in plan(question).load()]
    kitaru.log(stage="done", cfg={"b": 2})
    joined: str = join(found)
    return joined


@kitaru.flow
def fans(numbers: list[str]) -> str:
    joined: str = join(search.map(numbers))
    return joined


@kitaru.checkpoint
def counts() -> int:
    _calls.append("counts")
    kitaru.log(**{f"at_{len(_calls)}": True})
    return len(_calls)


@kitaru.flow
def counting() -> Any:
    return counts()


@kitaru.checkpoint
def reads(run: str, name: str) -> Any:
    return kitaru.load(run, name)


@kitaru.flow
def reading(run: str, name: str) -> Any:
    return reads(run, name)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "_calls", [])
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLARY_STACK", raising=False)


@pytest.fixture
def run() -> str:
    """Return the id of an execution of ``research``."""
    handle = research.run("q")
    assert handle.wait() == "Q 0+Q 1"
    return handle.exec_id


def test_facts_belong_to_the_call_that_notes_them(run: str) -> None:
    found = KitaruClient().executions.get(run)
    assert found.metadata == {"stage": "done", "cfg": {"a": 1, "b": 2}}
    assert {call.name: call.metadata for call in found.checkpoints} == {
        "plan": {"tokens": 3, "usage": {"prompt": 1, "completion": 2}},
        "search": {"query": "q 0"},
        "search_2": {"query": "q 1"},
        "join": {},
    }


def test_values_belong_to_the_call_that_makes_them(run: str) -> None:
    client = KitaruClient()
    shown = [(one.name, one.kind, one.producing_call) for one in client.artifacts.list(run)]
    assert shown == [
        ("research::plan::output", "response", "plan"),
        ("asked", "prompt", "plan"),
        ("research::search::output", "output", "search"),
        ("research::search_2::output", "output", "search_2"),
        ("research::join::output", None, "join"),
    ]
    assert [one.name for one in client.artifacts.list(run, producing_call="plan")] == [name for name, _, _ in shown[:2]]
    assert [one.load() for one in client.artifacts.list(run, kind="prompt")] == ["q"]
    first = client.executions.get(run).checkpoints[0]
    assert [(one.name, one.direction, one.input_type) for one in first.artifacts] == [
        ("research::plan::output", "output", None),
        ("asked", "output", None),
    ]
    assert first.artifacts[1].metadata["tags"] == ["agent"]


def test_a_call_tells_its_type_and_its_tries() -> None:
    found = KitaruClient().executions.get(research.run("flaky").exec_id)
    assert [call.checkpoint_type for call in found.checkpoints] == ["llm_call", "tool_call", "tool_call", None]
    failed, last = found.checkpoints[2].attempts
    assert failed.failure is not None
    assert (failed.status, failed.failure.exception_type) == ("failed", "ConnectionError")
    assert "in search" in str(failed.failure.traceback)
    assert (last.status, last.failure) == ("completed", None)
    assert found.checkpoints[0].parent_call_ids == []


def test_an_execution_tells_what_it_was_started_with() -> None:
    found = KitaruClient().executions.get(research.run("q", cache=True, retries=2).exec_id)
    held = found.frozen_execution_spec.resolved_execution
    assert (held.stack, held.cache, held.retries) == ("local", True, 2)
    assert (found.original_exec_id, found.llm_usage_summary) == (None, None)


def test_a_value_is_loaded_by_the_name_of_its_call(run: str) -> None:
    assert reading.run(run, "search_2").wait() == "Q 1"
    assert reading.run(run, "search").wait() == "Q 0"
    mapped = fans.run(["a", "b"]).exec_id
    assert reading.run(mapped, "map:search:1").wait() == "B"


def test_a_replay_replaces_an_output_before_the_cut(run: str) -> None:
    _calls.clear()
    one = research.replay(run, at="join", invocation_overrides={"search_2": {"output": "mine"}})
    assert one.results[0].handle is not None
    assert one.results[0].handle.wait() == "Q 0+mine"
    assert _calls == ["join"]
    every = research.replay(run, at="join", checkpoint_overrides={"search": {"output": "mine"}})
    assert every.plan.matched_targets == {"checkpoint:search": ["search", "search_2"]}
    assert every.results[0].handle is not None
    assert every.results[0].handle.wait() == "mine+mine"
    replayed = KitaruClient().executions.get(one.results[0].replay_exec_id)
    assert (replayed.original_exec_id, replayed.metadata["original_exec_id"]) == (run, run)
    assert [call.original_call_id for call in replayed.checkpoints] == ["plan#1", "search#1", None, None]


def test_what_is_given_a_replaced_output_runs_again_before_the_cut_too(run: str) -> None:
    _calls.clear()
    again = research.replay(run, at="join", checkpoint_overrides={"plan": {"output": ["x"]}})
    assert again.results[0].handle is not None
    assert again.results[0].handle.wait() == "X"
    assert _calls == ["x", "join"]


def test_facts_of_the_call_that_runs_again_are_not_copied() -> None:
    again = counting.replay(counting.run().exec_id, at="counts")
    (call,) = KitaruClient().executions.get(again.results[0].replay_exec_id).checkpoints
    assert call.metadata == {"at_2": True}


def test_a_replay_is_cut_at_a_call_of_a_map() -> None:
    source = fans.run(["a", "b"]).exec_id
    names = [call.name for call in KitaruClient().executions.get(source).checkpoints]
    assert set(names) == {"map:search:0", "map:search:1", "join"}
    mocked = fans.replay(source, at="join", checkpoint_overrides={"map:search:1": {"output": "mine"}})
    assert mocked.results[0].handle is not None
    assert mocked.results[0].handle.wait() == "A+mine"


@pytest.mark.parametrize("on_error", [None, "fail"])
def test_a_replay_that_fails_raises(run: str, on_error: Any) -> None:
    for wait in (None, False):
        with pytest.raises(kitaru.KitaruBackendError, match="too bad") as caught:
            research.replay(
                run, at="join", checkpoint_overrides={"search": {"output": "bad"}}, on_error=on_error, wait=wait
            )
        assert isinstance(caught.value.__cause__, kitaru.KitaruUserCodeError)


def test_failures_of_several_replays_are_collected(run: str) -> None:
    mocks = {"search": {"output": "bad"}}
    for submission in (
        research.replay([run, run], at="join", checkpoint_overrides=mocks),
        research.replay(run, at="join", checkpoint_overrides=mocks, on_error="collect"),
    ):
        count = len(submission.failures)
        assert (submission.summary.submitted, submission.summary.completed, submission.summary.failed) == (0, 0, count)
        assert {(row.original_exec_id, "too bad" in row.reason) for row in submission.failures} == {(run, True)}
        assert submission.to_json()["summary"]["failed"] == count


def test_an_execution_without_the_cut_is_skipped(run: str) -> None:
    other = fans.run(["a"]).exec_id
    done = research.replay([run, other], at="plan")
    assert (done.summary.completed, done.summary.skipped) == (1, 1)
    assert done.skipped[0].original_exec_id == other
    assert "'plan'" in done.skipped[0].reason
    with pytest.raises(kitaru.KitaruStateError):
        research.replay(other, at="plan")
    with pytest.raises(kitaru.KitaruUsageError):
        research.replay([], at="plan")


def test_executions_of_all_stacks_are_listed(run: str) -> None:
    kitaru.create_stack("mine")
    other = research.run("r").exec_id
    executions = KitaruClient().executions
    assert [(one.exec_id, one.stack_name) for one in executions.list()] == [(other, "mine"), (run, "local")]
    assert executions.latest().exec_id == other
    assert [group.keys for group in executions.statistics(group_by=["stack"]).groups] == [
        {"stack": "mine"},
        {"stack": "local"},
    ]
    (day,) = executions.statistics(group_by=["time:day"], metrics=["longest:duration:max"]).groups
    assert (list(day.keys), list(day.metrics), day.execution_count) == (["day"], ["longest"], 2)
    assert [one.exec_id for one in executions.list(page=2, size=1)] == [run]


def test_what_is_asked_wrongly_is_refused_as_there(run: str) -> None:
    executions = KitaruClient().executions
    assert executions.list(status="FAILED") == []
    with pytest.raises(LookupError):
        executions.latest(flow="none")
    with pytest.raises(kitaru.KitaruBackendError):
        executions.get("01AAAAAAAAAAAAAAAAAAAAAAAA")
    wrong: list[dict[str, Any]] = [{"status": "bogus"}, {"limit": 0}, {"page": 1}]
    for options in wrong:
        with pytest.raises(kitaru.KitaruUsageError):
            executions.list(**options)
    for timeout in (0, -1):
        with pytest.raises(kitaru.KitaruUsageError):
            fans.run(["a"]).wait(timeout=timeout)
