from __future__ import annotations

from typing import Any

import pytest

from clary.agent import children
from clary.agent.present import failure_view, run_view
from clary.cli.run_text import page
from clary.journal import records
from clary.journal.records import Entry, Record, new_entry
from clary.journal.state import RunState, fold
from clary.objects.folder import FolderStore

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
STORE = FolderStore("/store")


def _state(*groups: tuple[int, list[Record]]) -> RunState:
    entries: list[Entry] = [new_entry(seq, made, attempt=attempt) for seq, (attempt, made) in enumerate(groups, 1)]
    return fold(entries)


def _claimed(*more: tuple[int, list[Record]]) -> RunState:
    first = [
        records.created(RUN, flow="f", stack="s", spec={}, inputs={"n": {"c": "plain", "v": 3, "t": "int"}}, by="me"),
        records.attempt(1, job="job-1", request={}, spec={}),
    ]
    return _state((0, first), *more)


def _opened() -> tuple[int, list[Record]]:
    return 1, [records.opened(nonce="n", host="algo-1", pid=1)]


def _call(path: str, **parts: Any) -> Record:
    return {
        "kind": "call",
        "path": path,
        "name": "c",
        "inputs": {},
        "source": "",
        "started": 1.0,
        "ended": 2.5,
        **parts,
    }


def test_a_run_that_was_asked_for() -> None:
    view = run_view(_claimed(), STORE)

    assert (view.id, view.status, view.inputs, view.result) == (RUN, "submitted", {"n": "3"}, None)
    assert [(one.number, one.status, one.job) for one in view.attempts] == [(1, "submitted", "job-1")]


def test_the_machines_are_shown_once_it_is_known_which_they_are() -> None:
    waiting: Record = {"status": "InProgress", "instance_type": None, "instance_count": 2}
    taken: Record = {"status": "InProgress", "instance_type": "ml.m5.xlarge", "instance_count": 2}

    [before] = run_view(_claimed(), STORE, {1: waiting}).attempts
    [after] = run_view(_claimed(), STORE, {1: taken}).attempts

    assert (before.instance_type, before.instance_count) == (None, None)
    assert (after.instance_type, after.instance_count) == ("ml.m5.xlarge", 2)


def test_before_the_log_is_opened_the_job_tells_more() -> None:
    job = {"status": "InProgress", "phases": [{"name": "Starting", "started": 1.0, "ended": None, "message": "m"}]}

    view = run_view(_claimed(), STORE, {1: job})

    assert (view.status, view.attempts[0].status) == ("starting", "starting")
    assert view.attempts[0].phases[0].name == "Starting"


def test_once_the_log_is_opened_it_counts_alone() -> None:
    assert run_view(_claimed(_opened()), STORE, {1: {"status": "InProgress"}}).status == "running"
    assert run_view(_claimed(_opened(), (0, [records.stop_requested("me")])), STORE).status == "stopping"


def test_calls_show_where_their_outputs_lie() -> None:
    small = _call("c#1", output={"c": "plain", "v": [1], "t": "list"})
    large = _call("c#2", output={"c": "npy", "at": "values/x", "n": 9, "t": "ndarray", "p": "array"})
    failed = {**_call("c#3", error={"type": "ValueError", "message": "bad"}), "kind": "call_failed"}
    saved = {
        "kind": "saved",
        "path": "p",
        "name": "model",
        "value": {"c": "pickle", "at": "values/y", "n": 4, "t": "M"},
    }

    view = run_view(_claimed(_opened(), (1, [small, large, failed, saved])), STORE)

    assert [(call.path, call.status, call.artifact, call.preview) for call in view.calls] == [
        ("c#1", "completed", None, "[1]"),
        ("c#2", "completed", "/store/values/x", "array"),
        ("c#3", "failed", None, "ValueError: bad"),
    ]
    assert [(one.name, one.location, one.type, one.size) for one in view.artifacts] == [
        ("model", "/store/values/y", "M", 4)
    ]


def test_an_observer_s_end_brings_phases_price_and_failure() -> None:
    job = {"status": "Failed", "phases": [], "billable_seconds": 90}
    failure = {"cause": "interrupted", "summary": "killed", "next_step": "resume", "retry": "yes", "exit_code": 137}

    view = run_view(_claimed(_opened(), (0, [records.attempt_ended(1, "interrupted", failure, job)])), STORE)

    assert view.status == view.attempts[0].status == "interrupted"
    assert view.attempts[0].billable_seconds == 90
    assert view.failure is not None
    assert (view.failure.exit_code, view.failure.retry) == (137, "yes")


def test_a_failure_is_shown_only_while_the_run_is_over() -> None:
    failed = (1, [records.failed({"type": "E", "message": "m", "frames": ["a"]}, [], "user_code")])
    again = (0, [records.attempt(2, job="job-2", request={}, spec={})])

    assert run_view(_claimed(_opened(), failed), STORE).failure is not None
    resumed = run_view(_claimed(_opened(), failed, again), STORE)
    assert resumed.failure is None
    assert [one.status for one in resumed.attempts] == ["failed", "submitted"]


@pytest.mark.parametrize("failure", [{}, {"cause": "internal"}, {"error": {"type": "E", "message": "m"}}])
def test_every_failure_has_a_next_step(failure: Record) -> None:
    assert failure_view("01ARZ3NDEKTSV4RRFFQ69G5FAV", failure).next_step


@pytest.mark.parametrize(("job", "words"), [("job-1", "missing in the job's image"), (None, "that runs clary")])
def test_a_missing_module_says_where_it_is_missing(job: str | None, words: str) -> None:
    created = records.created(RUN, flow="f", stack="s", spec={}, inputs={}, by="me")
    error = {"type": "ModuleNotFoundError", "message": "No module named 'torch'", "frames": []}
    ended = records.attempt_ended(1, "failed", {"cause": "user_code", "error": error})

    view = run_view(_state((0, [created, records.attempt(1, job=job, request={}, spec={})]), (1, [ended])), STORE)

    assert view.failure is not None
    assert "torch" in view.failure.next_step
    assert words in view.failure.next_step
    assert f"clary runs resume {RUN}" in view.failure.next_step


def test_a_call_tells_of_its_failed_tries(capsys: pytest.CaptureFixture[str]) -> None:
    failed = [records.try_failed("c#1", n, {"type": "E", "message": f"m{n}"}, [], 0.0) for n in (1, 2)]
    ended = [_call(path, output={"c": "plain", "v": 1, "t": "int"}) for path in ("c#1", "c#2")]

    view = run_view(_claimed(_opened(), (1, failed[:1]), (1, failed[1:]), (1, ended)), STORE)

    assert [(call.tries, [one.error for one in call.failed_tries]) for call in view.calls] == [
        (3, ["E: m1", "E: m2"]),
        (1, []),
    ]
    page(view)
    shown = capsys.readouterr().out
    assert "c#1  1.50 s  3 tries" in shown
    assert shown.index("try 1 failed") < shown.index("E: m1") < shown.index("try 2 failed") < shown.index("c#2")


def test_the_jobs_of_isolated_calls_are_shown_with_how_they_ended(capsys: pytest.CaptureFixture[str]) -> None:
    claims = [records.call_job("fit#1", n, f"job-fit-{n}", inputs={}, source="s") for n in (1, 2)]
    died = records.call_job_ended("fit#1", 1, "interrupted", instance_type="ml.g5.xlarge", instance_count=2)
    done = records.call_job_ended("fit#1", 2, "completed", instance_type="ml.g5.xlarge", instance_count=2, seconds=12.0)
    again = records.try_failed("fit#1", 1, {"type": "E", "message": "m"}, [], 0.0)
    under_way = [_opened(), (1, [claims[0]]), (1, [died, again]), (1, [claims[1]])]

    state = _claimed(*under_way)
    shown = [(one.path, one.job, one.status, one.seconds) for one in run_view(state, STORE).call_jobs]
    assert shown == [("fit#1", "job-fit-1", "interrupted", None), ("fit#1", "job-fit-2", "running", None)]
    assert [child.job for child in children.jobs_of(state) if not child.ended] == ["job-fit-2"]

    page(run_view(_claimed(*under_way, (1, [done, _call("fit#1", output={"c": "plain", "v": 1, "t": "int"})])), STORE))
    out = capsys.readouterr().out
    assert "fit#1  completed  12.0 s  2 x ml.g5.xlarge  job-fit-2" in " ".join(out.split("\n")), out

    stopped = _claimed(*under_way, (1, [records.stopped("enough")]))
    assert [one.status for one in run_view(stopped, STORE).call_jobs] == ["interrupted", "unknown"]
