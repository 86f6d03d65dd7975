"""Waiting runs on this machine: who may go on with them, and when."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.agent import service
from clary.errors import ClaryError
from command_line import CommandLine, clary

if TYPE_CHECKING:
    from clary.stacks.model import Stack

__all__ = ["clary"]

FLOW = """
from pathlib import Path
from clary import checkpoint, flow, wait, Retries
from pydantic import BaseModel, field_validator

def note(text):
    with open("ran.txt", "a") as file:
        file.write(text + "\\n")
    return text

@checkpoint
def noted(text):
    note(text)

@flow
def asks(times: int = 1):
    noted("before")
    answers = [wait("number", int, question="Which?") for _ in range(times)]
    noted("after")
    return answers

@flow
def expires():
    return wait("number", int, question="Which?", expires=3600)

class Even(BaseModel):
    number: int
    @field_validator("number")
    @classmethod
    def is_even(cls, number):
        if number % 2:
            raise ValueError("odd")
        return number

@flow
def picky():
    noted("before")
    return wait("number", Even).number

@flow
def says(kind: str = "str"):
    return wait("word", {"str": str, "maybe": int | None, "either": str | None, "number": int, "any": None}[kind])

@checkpoint(retries=Retries(2, delay=0.01))
def shaky():
    note("try")
    if Path("ran.txt").read_text().count("try") < 3:
        raise ConnectionError("no")
    return "fine"

@flow
def retries():
    return shaky()
"""


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "waiting_flows.py").write_text(FLOW)
    monkeypatch.chdir(folder)
    return folder


def code_of(call: object, *arguments: object, **options: object) -> str:
    assert callable(call)
    with pytest.raises(ClaryError) as error:
        call(*arguments, **options)
    return error.value.code


def ran(folder: Path) -> list[str]:
    return (folder / "ran.txt").read_text().split()


def test_an_answered_run_goes_on_where_it_was(local: Stack, flows: Path) -> None:
    run = service.start(service.load_target("waiting_flows.py:asks"), {"times": 2}, local)
    assert run.status == "waiting"
    assert service.get_run(local, run.id).status == "waiting"  # no lock is held, and nothing has died
    assert code_of(service.resume, local, run.id) == "run.is_waiting"
    assert code_of(service.result, local, run.id) == "run.is_waiting"
    assert code_of(service.answer, local, run.id, None, "one") == "wait.bad_answer"
    service.answer(local, run.id, None, 1)
    assert service.resume(local, run.id).status == "waiting"
    service.answer(local, run.id, "number", 2)
    assert service.resume(local, run.id).status == "completed"
    assert service.result(local, run.id) == [1, 2]
    assert ran(flows) == ["before", "after"]


def test_nobody_waits_for_a_local_run_that_only_a_resume_wakes(local: Stack, flows: Path) -> None:
    run = service.start(service.load_target("waiting_flows.py:asks"), {}, local)
    service.answer(local, run.id, None, 1)
    assert service.wait(local, run.id, 30).status == "waiting"
    assert list(service.logs(local, run.id, follow=True)) == []
    with pytest.raises(ClaryError, match=f"clary runs resume {run.id}") as refused:
        service.result(local, run.id)
    assert refused.value.code == "run.is_waiting"
    assert service.resume(local, run.id).status == "completed"


def test_a_waiting_run_is_stopped_at_once(local: Stack, flows: Path) -> None:
    run = service.start(service.load_target("waiting_flows.py:asks"), {}, local)
    assert service.stop(local, run.id).status == "stopped"
    assert code_of(service.answer, local, run.id, None, 1) == "run.not_waiting"
    assert service.resume(local, run.id).status == "waiting"  # asked again: the question stands
    service.answer(local, run.id, None, 7)
    assert service.resume(local, run.id).status == "completed"


def test_waits_on_the_command_line(clary: CommandLine, flows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(flows)
    begun = clary("run", "waiting_flows.py:asks")
    assert begun.code == 3
    assert "waiting" in begun.out
    run = clary("runs", "list", "-o", "json").json["items"][0]["id"]
    assert f"clary runs answer {run} number VALUE" in begun.out
    assert clary("runs", "answer", run).code == 2
    assert clary("runs", "answer", run, "-o", "json").error["code"] == "cli.usage"
    assert clary("runs", "answer", run, "nmber", "3", "-o", "json").error["code"] == "wait.not_found"
    assert clary("runs", "answer", run, "-i", "-o", "json").error["field"] == "interactive"
    ended = clary("runs", "answer", run, "3")
    assert ended.code == 0, ended.err
    assert "completed" in ended.out
    assert "number: Which?  → answered: 3" in clary("runs", "show", run).out
    assert clary("runs", "waits").out == "Nothing waits for an answer.\n"


def test_who_may_go_on_with_a_waiting_run_is_told(
    clary: CommandLine, flows: Path, local: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flows)
    expires = clary("run", "waiting_flows.py:expires")
    run = service.list_runs(local)[0]
    assert "A resume goes on without an answer from" in expires.out
    service.answer(local, run.id, "number", None, abort=True)
    shown = clary("runs", "show", run.id).out
    assert "number: Which?  → aborted by" in shown
    assert f"Next:\n  clary runs resume {run.id}" in shown


def test_tries_are_told(clary: CommandLine, flows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(flows)
    ended = clary("run", "waiting_flows.py:retries", "-o", "json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["item"]["result"] == "'fine'"
    assert ran(flows) == ["try"] * 3


def test_an_answer_that_the_flow_refuses_is_asked_again_as_the_error_says(
    local: Stack, flows: Path, clary: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flows)
    run = service.start(service.load_target("waiting_flows.py:picky"), {}, local)
    service.answer(local, run.id, None, {"number": 3})
    failed = service.resume(local, run.id)
    assert failed.failure is not None
    command = f"clary runs replay {run.id} --at 'noted#1' --skip 'noted#1'"
    assert command in failed.failure.next_step
    replayed = clary(*shlex.split(command)[1:], "-o", "json").json["item"]
    assert replayed["status"] == "waiting"
    service.answer(local, replayed["id"], None, {"number": 4})
    assert service.resume(local, replayed["id"]).status == "completed"
    assert service.result(local, replayed["id"]) == 4
    assert ran(flows) == ["before"]


@pytest.mark.parametrize(("kind", "value"), [("str", ""), ("maybe", None), ("either", ""), ("any", "")])
def test_an_empty_answer_is_the_empty_text_where_that_fits(
    local: Stack, flows: Path, clary: CommandLine, monkeypatch: pytest.MonkeyPatch, kind: str, value: str | None
) -> None:
    monkeypatch.chdir(flows)
    for arguments in (("word", ""), ("--value", "")):
        run = service.start(service.load_target("waiting_flows.py:says"), {"kind": kind}, local)
        assert clary("runs", "answer", run.id, *arguments).code == 0
        assert service.result(local, run.id) == value


def test_an_empty_answer_is_refused_where_nothing_empty_fits(
    local: Stack, flows: Path, clary: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flows)
    run = service.start(service.load_target("waiting_flows.py:says"), {"kind": "number"}, local)
    assert "Code: wait.bad_answer" in clary("runs", "answer", run.id, "").err
