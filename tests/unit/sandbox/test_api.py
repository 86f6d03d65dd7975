from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import SandboxError
from clary.sandbox import api
from clary.sandbox.identity import start_mark
from clary.sandbox.server import bind

if TYPE_CHECKING:
    from pathlib import Path


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(SandboxError) as caught:
        call(*arguments, **named)
    assert caught.value.next_step
    return caught.value.code


def test_the_sandbox_stays_on_this_machine() -> None:
    assert code_of(bind, 0, host="0.0.0.0") == "sandbox.not_loopback"


def test_a_missing_extra_is_said_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(api._NEEDED, "no_such_module", "no-such-package")
    with pytest.raises(SandboxError, match="no-such-package") as caught:
        api.start(port=0)
    assert caught.value.code == "sandbox.extra_missing"
    assert "clary[sandbox]" in caught.value.next_step


def test_without_a_sandbox_there_is_nothing_to_ask_or_stop(tmp_path: Path) -> None:
    assert code_of(api.status, tmp_path) == "sandbox.not_running"
    assert code_of(api.stop, tmp_path) == "sandbox.not_running"


def test_a_reused_pid_is_not_taken_for_a_sandbox(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(f'{{"pid": {os.getpid()}, "start_mark": "long ago"}}')
    assert api.running(tmp_path) is None
    assert code_of(api.stop, tmp_path) == "sandbox.not_running"


@pytest.mark.parametrize("text", ["", "{", "{}", '{"pid": 1}'])
def test_a_damaged_state_file_is_no_sandbox(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert api.running(tmp_path) is None


@pytest.mark.parametrize("text", ["", "x"])
def test_a_damaged_port_file_is_no_hindrance(tmp_path: Path, text: str) -> None:
    from clary.sandbox import process

    (tmp_path / "port").write_text(text)
    with process._listen(0, tmp_path) as listener:
        assert (tmp_path / "port").read_text() == str(listener.getsockname()[1])


def test_reset_removes_a_sandbox_and_nothing_else(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("")
    assert code_of(api.reset, theirs) == "sandbox.not_a_sandbox"
    assert (theirs / "thesis.txt").exists()
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "sandbox.lock").touch()
    assert api.reset(ours) == ours
    assert not ours.exists()
    assert api.reset(ours) == ours


def test_the_mark_of_a_process_is_its_own_and_ends_with_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert start_mark(child.pid) == start_mark(child.pid) != start_mark(os.getpid())
    child.communicate(b"\n")
    assert start_mark(child.pid) is None


def test_the_default_folder_follows_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path))
    assert api.default_data() == tmp_path / "sandbox"


def test_importing_the_room_loads_nothing_heavy() -> None:
    heavy = ("boto3", "botocore", "moto", "waitress")
    code = f"import sys, clary.sandbox.api, clary.testing; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
