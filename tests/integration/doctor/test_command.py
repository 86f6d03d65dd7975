"""``clary doctor`` as it is typed: text, JSON, exit codes, and a line of progress on a terminal."""

from __future__ import annotations

import dataclasses
import io
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.stacks import service
from command_line import CommandLine, clary

if TYPE_CHECKING:
    from clary import testing
    from clary.stacks.model import Stack

__all__ = ["clary"]


@pytest.fixture
def kept(clary: CommandLine, stack: Stack) -> Stack:
    """The stack, stored as the sandbox's own are."""
    service.refresh(stack)
    return stack


def test_a_healthy_stack(clary: CommandLine, kept: Stack, sandbox: testing.Sandbox) -> None:
    answer = clary("doctor", "--stack", "there")
    assert answer.code == 0, answer.out
    assert answer.err == ""
    assert answer.out.startswith("Stack: there\n")
    assert f"{sandbox.bucket}, in us-east-1" in answer.out
    assert "failed" not in answer.out.splitlines()[-1]


def test_json_is_whole_and_nothing_else(clary: CommandLine, kept: Stack) -> None:
    answer = clary("doctor", "--stack", "there", "-o", "json")
    assert answer.json["command"] == "doctor"
    item = answer.json["item"]
    assert (item["stack"], item["healthy"]) == ("there", True)
    assert set(item["counts"]) == {"ok", "warning", "failed", "unchecked"}
    assert sum(item["counts"].values()) == len(item["checks"])
    for check in item["checks"]:
        assert set(check) == {
            "name", "title", "status", "summary", "fix", "statements", "missing_permission", "seconds",
        }  # fmt: skip


def test_a_failure_shows_the_fix_and_is_the_exit_code(
    clary: CommandLine, kept: Stack, sandbox: testing.Sandbox
) -> None:
    sandbox.quotas.set("ml.m5.xlarge for training job usage", 0)
    try:
        answer = clary("doctor", "--stack", "there")
        as_json = clary("doctor", "--stack", "there", "-o", "json")
    finally:
        sandbox.quotas.set("ml.m5.xlarge for training job usage", 20)
    assert answer.code == as_json.code == 1
    assert "Quota, training (failed)\n  aws service-quotas request-service-quota-increase" in answer.out
    assert as_json.json["item"]["healthy"] is False


def test_one_cause_of_many_failures_is_told_once(clary: CommandLine, stack: Stack) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        service.refresh(dataclasses.replace(stack, endpoint_url=endpoint))
        answer = clary("doctor", "--stack", "there")
    assert answer.code == 1
    told = f"  Start what should listen at {endpoint}, or correct the endpoint of the stack.\n"
    assert answer.out.count(told) <= 2  # once for the identity, which has failed, once for all that was not checked
    assert "Identity (failed)" in answer.out


def test_a_stack_that_is_not_there(clary: CommandLine) -> None:
    answer = clary("doctor", "--stack", "nobody", "-o", "json")
    assert (answer.code, answer.error["code"]) == (1, "stack.not_found")


def test_the_local_stack(clary: CommandLine) -> None:
    answer = clary("doctor", "-o", "json")
    assert answer.code == 0
    assert [check["name"] for check in answer.json["item"]["checks"]] == ["folder", "disk", "journal"]


def test_a_full_disk_fails_the_local_stack(clary: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    answer = clary("doctor")
    assert answer.code == 1
    assert "Only 1.0 MiB free" in answer.out


def test_progress_is_shown_on_a_terminal_and_taken_away(
    clary: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    answer = clary("doctor")
    shown = terminal.getvalue()
    assert "3 done: " in shown
    assert shown.endswith("\r\x1b[2K")
    assert "done:" not in answer.out
