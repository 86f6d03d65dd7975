"""``clary runs retry|replay`` and ``clary cache``, from the arguments to what is printed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import Answer, CommandLine

FLOW = """
import os

from clary import checkpoint, flow


@checkpoint(cache=True)
def fetch(rows: int) -> list:
    return list(range(rows))


@checkpoint
def train(rows: list, rate: float) -> float:
    if os.environ.get("TRAIN_FAILS"):
        raise ValueError("no")
    return sum(rows) * rate


@flow
def study(rows: int = 5) -> float:
    return max(train(fetch(rows), rate) for rate in (0.1, 0.2))
"""


@pytest.fixture
def project(clary: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    monkeypatch.delenv("TRAIN_FAILS", raising=False)
    Path("study.py").write_text(FLOW)
    path = sys.path[:]
    yield clary
    sys.path[:] = path
    sys.modules.pop("study", None)


def _run(clary: CommandLine, *options: str) -> dict[str, Any]:
    return dict(clary("run", "study.py:study", "-o", "json", *options).json["item"])


def _refused(answer: Answer, code: str) -> dict[str, Any]:
    assert answer.code != 0
    error = answer.error
    assert error["code"] == code
    return error


def test_a_failed_run_is_retried_under_its_id(project: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAIN_FAILS", "1")
    failed = _run(project)
    monkeypatch.delenv("TRAIN_FAILS")
    again = project("runs", "retry", "latest", "-o", "json")
    assert again.code == 0
    assert (again.json["item"]["id"], again.json["item"]["status"]) == (failed["id"], "completed")
    _refused(project("executions", "retry", "latest", "-o", "json"), "run.is_completed")


def test_a_replay_is_shown_with_what_it_replays(project: CommandLine) -> None:
    source = _run(project)
    given = json.dumps({"train#2": {"output": 9.0}})
    replayed = project(
        "runs", "replay", "latest", "--at", "train#2", "--invocation-overrides", given, "--tag", "what-if", "-o", "json"
    )
    assert replayed.code == 0
    item = replayed.json["item"]
    assert item["result"] == "9.0"
    assert item["replay_of"] == {
        "run": source["id"],
        "at": "train#2",
        "tag": "what-if",
        "changes": ["train#2 = 9.0"],
    }
    assert [call["origin"]["kind"] for call in item["calls"]][-1] == "override"
    page = project("runs", "show", item["id"]).out
    assert f"{source['id']} from train#2 on (what-if), with train#2 = 9.0" in page
    assert f"copied from run {source['id']}" in page


def test_overrides_may_lie_in_a_file(project: CommandLine) -> None:
    _run(project)
    Path("given.json").write_text('{"train": {"input": {"rate": 1.0}}}')
    replayed = project("runs", "replay", "latest", "--at", "train#1", "--checkpoint-overrides", "@given.json")
    assert (replayed.code, "Result: 10.0" in replayed.out) == (0, True)


@pytest.mark.parametrize("text", ["{", "[1]", "@nowhere.json"])
def test_what_is_no_object_is_refused(project: CommandLine, text: str) -> None:
    answer = project("runs", "replay", "latest", "--at", "x", "--flow-overrides", text, "-o", "json")
    assert answer.code == 2
    assert answer.error["field"] == "flow_overrides"


def test_a_misspelt_call_gets_the_nearest(project: CommandLine) -> None:
    _run(project)
    error = _refused(project("runs", "replay", "latest", "--at", "trian#2", "-o", "json"), "replay.no_such_call")
    assert "train#2" in error["next_step"]


def test_either_a_run_or_a_file_of_ids(project: CommandLine) -> None:
    _refused(project("runs", "replay", "--at", "x", "-o", "json"), "replay.which_run")
    _refused(project("runs", "replay", "latest", "--ids-file", "x", "--at", "x", "-o", "json"), "replay.which_run")
    _refused(project("runs", "replay", "--ids-file", "none", "--at", "x", "-o", "json"), "replay.no_ids")
    Path("none").write_text("# nothing\n\n")
    _refused(project("runs", "replay", "--ids-file", "none", "--at", "x", "-o", "json"), "replay.no_ids")


@pytest.mark.parametrize(("on_error", "replayed"), [("stop", 1), ("continue", 2)])
def test_many_runs_are_replayed_one_each(project: CommandLine, on_error: str, replayed: int) -> None:
    ids = [_run(project)["id"] for _ in range(2)]
    Path("ids").write_text(f"{ids[0]}  # the first\n\n01KB1Z0000AAAAAAAAAAAAAAAA\n{ids[1]}\n")
    options = ("runs", "replay", "--ids-file", "ids", "--at", "train#1", "--on-error", on_error)
    answer = project(*options, "-o", "json")
    assert answer.code == 1
    found = answer.json["items"]
    assert [one["run"]["status"] for one in found if one["run"]] == ["completed"] * replayed
    assert [one["error"]["code"] for one in found if one["error"]] == ["run.not_found"]
    text = project(*options).out
    assert "refused" in text
    assert ("Not replayed" in text) is (on_error == "stop")


def test_the_cache_is_listed_explained_and_cleared(project: CommandLine) -> None:
    assert "is empty" in project("cache", "list").out
    first = _run(project)
    second = _run(project)
    assert second["calls"][0]["origin"]["run"] == first["id"]
    assert f"reused from run {first['id']}" in project("runs", "show", "latest").out
    (entry,) = project("cache", "list", "-o", "json").json["items"]
    assert (entry["checkpoint"], entry["run"], entry["path"]) == ("fetch", first["id"], "fetch#1")
    assert first["id"] in project("cache", "list").out
    _run(project, "--input", "rows=7")
    assert "input rows: changed" in project("cache", "why", "latest").out
    assert f"from fetch#1 of run {first['id']}" in project("cache", "why", second["id"]).out
    _refused(project("cache", "clear", "-o", "json"), "cache.not_agreed")
    _refused(project("cache", "clear", "--checkpoint", "fetsh", "--yes", "-o", "json"), "cache.no_such_checkpoint")
    assert project("cache", "clear", "--older-than", "1d", "--yes", "-o", "json").json["item"]["cleared"] == 0
    assert project("cache", "clear", "--yes").out == "Cleared: 2 results.\n"
    assert list(Path(os.environ["CLARY_HOME"], "local", "cache", "fetch").iterdir()) == []
