"""``clary run`` and ``clary runs`` with the real services, on the stack ``local``: every flow here really runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command_line import CommandLine

FLOW = """
import time
from pathlib import Path
from clary.flows import checkpoint, flow, save

@checkpoint
def square(number):
    with Path("bodies").open("a") as file:
        file.write(f"{number}\\n")
    return number * number

@flow
def squares(models: int = 3, pause: float = 0.0):
    found = [square(number) for number in range(models)]
    save("squares", found)
    if pause:
        Path("ready").touch()
        time.sleep(pause)
    if Path("broken").exists():
        raise ValueError("asked to fail")
    return sum(found)
"""


@pytest.fixture
def project(clary: CommandLine) -> Path:
    """A project with a flow, in the current folder."""
    Path("flow.py").write_text(FLOW)
    return Path.cwd()


def test_a_failed_run_is_shown_mended_and_resumed(clary: CommandLine, project: Path) -> None:
    (project / "broken").touch()
    failed = clary("run", "flow.py:squares", "--input", "models=4")
    assert failed.code == 1
    assert "ValueError: asked to fail" in failed.out
    run = clary("runs", "list", "-o", "json").json["items"][0]
    assert (run["status"], run["inputs"]["models"]) == ("failed", "4")
    assert "square#4" in clary("runs", "show", run["id"][:20]).out

    (project / "broken").unlink()
    resumed = clary("runs", "resume", "latest")
    assert resumed.code == 0, resumed.err
    assert "4 checkpoints kept from attempt 1, not run again" in resumed.out
    assert (project / "bodies").read_text().split() == ["0", "1", "2", "3"]
    shown = clary("runs", "show", run["id"], "-o", "json").json["item"]
    assert (shown["status"], shown["result"], len(shown["attempts"])) == ("completed", "14", 2)
    assert clary("runs", "wait", "latest").code == 0
    assert clary("runs", "resume", "latest", "-o", "json").error["code"] == "run.is_completed"
    assert clary("runs", "list", "--status", "failed", "-o", "json").json["count"] == 0


@pytest.mark.parametrize(
    ("target", "arguments", "code", "hint"),
    [
        ("flow.py", [], "target.malformed", "FLOW"),
        ("flw.py:squares", [], "target.file_not_found", "flow.py"),
        ("flow.py:squars", [], "target.flow_not_found", "squares"),
        ("flow.py:square", [], "target.not_a_flow", "squares"),
        ("broken.py:x", [], "target.import_failed", "line"),
        ("no.such.module:x", [], "target.module_not_found", "folder"),
        ("flow.py:squares", ["--input", "modles=3"], "flow.unknown_input", "models"),
        ("flow.py:squares", ["--stack", "nowhere"], "stack.not_found", "stack list"),
    ],
)
def test_bad_input_is_one_error_and_leaves_nothing(
    clary: CommandLine, project: Path, target: str, arguments: list[str], code: str, hint: str
) -> None:
    (project / "broken.py").write_text("x = 1\ny = 1 / 0\n")
    answer = clary("run", target, *arguments, "-o", "json")
    error = answer.error
    assert (error["code"], answer.code != 0) == (code, True)
    assert hint in error["next_step"]
    assert "Traceback" not in answer.err
    assert not (project / "bodies").exists()
    assert clary("runs", "list", "-o", "json").json["count"] == 0


def test_a_killed_run_is_interrupted_at_once_and_goes_on(clary: CommandLine, project: Path) -> None:
    command = [sys.executable, "-c", "from clary.cli.main import main; main()", "run", "flow.py:squares"]
    process = subprocess.Popen([*command, "--input", "pause=60"], stdout=subprocess.DEVNULL, env=dict(os.environ))
    while not (project / "ready").exists():
        assert process.poll() is None
    assert clary("runs", "list", "-o", "json").json["items"][0]["status"] == "running"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert clary("runs", "show", "latest", "-o", "json").json["item"]["status"] == "interrupted"
    source = (project / "flow.py").read_text()
    (project / "flow.py").write_text(source.replace("    if pause:", "    if False:"))
    resumed = clary("runs", "resume", "latest")
    assert resumed.code == 0, resumed.err + resumed.out
    assert (project / "bodies").read_text().split() == ["0", "1", "2"]


def test_ctrl_c_stops_a_local_run_with_130(clary: CommandLine, project: Path) -> None:
    command = [sys.executable, "-c", "from clary.cli.main import main; main()", "run", "flow.py:squares"]
    process = subprocess.Popen(
        [*command, "--input", "pause=60"], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    while not (project / "ready").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "clary runs resume" in out
    assert clary("runs", "show", "latest", "-o", "json").json["item"]["status"] == "stopped"
