"""Kitaru's commands: what is refused with the way out, what ``clary executions`` says in JSON; info and status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.cli.info import without_password
from clary.cli.other_commands import OTHER_COMMANDS, OTHER_OPTIONS, OTHER_RUN_COMMANDS

if TYPE_CHECKING:
    from command_line import CommandLine

FLOW = """
from clary.kitaru import checkpoint, flow, wait

@checkpoint
def double(x: int) -> int:
    return 2 * x

@flow
def asks(x: int) -> int:
    wait(name="approve", question="Sure?", schema=bool, timeout=0)
    return double(x)
"""


@pytest.mark.parametrize("name", sorted(OTHER_COMMANDS))
def test_commands_without_a_place_say_what_to_do(clary: CommandLine, name: str) -> None:
    answer = clary(name, "anything", "--whatever", "x", "-o", "json")
    assert (answer.code, answer.error["code"]) == (2, "cli.not_here")
    assert answer.error["next_step"]


@pytest.mark.parametrize("name", sorted(OTHER_RUN_COMMANDS))
def test_so_do_those_of_executions(clary: CommandLine, name: str) -> None:
    assert clary("executions", name, "x", "-o", "json").error["code"] == "cli.not_here"


@pytest.mark.parametrize("option", sorted(OTHER_OPTIONS["runs logs"]))
def test_options_without_a_place_say_what_to_do(clary: CommandLine, option: str) -> None:
    error = clary("executions", "logs", "latest", option, "-o", "json").error
    assert error["code"] == "cli.no_such_option"
    assert "--help" not in error["next_step"]


def test_executions_answer_in_their_words_beside_ours(clary: CommandLine) -> None:
    Path("flows.py").write_text(FLOW)
    clary("run", "flows.py:asks", "--input", "x=2")
    (item,) = clary("executions", "list", "-o", "json").json["items"]
    assert (item["exec_id"], item["flow_name"], item["stack_name"], item["status"]) == (
        item["id"],
        "asks",
        "local",
        "waiting",
    )
    assert item["pending_wait"]["name"] == "approve"
    assert "exec_id" not in clary("runs", "list", "-o", "json").json["items"][0]
    clary("executions", "cancel", item["id"])
    shown = clary("executions", "get", item["id"], "-o", "json").json["item"]
    assert (shown["status"], shown["clary_status"], shown["pending_wait"]) == (
        "cancelled",
        "stopped",
        item["pending_wait"],
    )


def test_info_and_status_show_no_secret(clary: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-in-a-test")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:planted-in-a-test@proxy:8080")
    told = clary("info", "--file", "told.json", "-o", "json")
    assert told.json["item"]["stack"]["name"] == "local"
    assert told.json["item"]["environment"]["AWS_SECRET_ACCESS_KEY"] == "(set)"
    assert "planted" not in told.out + Path("told.json").read_text() + clary("info").out
    assert clary("status", "-o", "json").json["item"]["sandbox"] == {"running": False}
    assert clary("info", "--file", "no/such/folder.json", "-o", "json").error["code"] == "cli.file_not_written"


def test_what_looks_like_a_password_is_masked() -> None:
    assert without_password('{"token": "abc", "a": 1}') == '{"token": "***", "a": 1}'
    assert without_password("eu-central-1") == "eu-central-1"


def test_status_tells_of_a_stack_that_is_gone(clary: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_STACK", "gone")
    answer = clary("status")
    assert answer.code == 0
    assert "gone" in answer.out
