"""``clary runs answer`` on a local run whose own process still waits for the answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import CommandLine, clary
from patience import until

__all__ = ["clary"]

FLOW = """
from clary import flow, wait

@flow
def asks():
    return wait("go", bool, question="Go?", linger=60)

print("result", asks())
"""


@pytest.fixture
def asking(clary: CommandLine, tmp_path: Path) -> subprocess.Popen[str]:
    """A process whose flow has asked and stays."""
    script = tmp_path / "project" / "asks.py"
    script.write_text(FLOW)
    started = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    until(lambda: "Go?" in clary("runs", "waits", "latest").out, "the question")
    return started


@pytest.mark.parametrize("more", [(), ("--follow",)], ids=["left", "followed"])
def test_the_process_that_asked_goes_on_by_itself(
    clary: CommandLine, asking: subprocess.Popen[str], more: tuple[str, ...]
) -> None:
    answered = clary("runs", "answer", "latest", "true", *more)
    assert answered.code == 0, answered.err
    assert asking.communicate(timeout=60)[0] == "result True\n"
    assert clary("runs", "show", "latest", "-o", "json").json["item"]["status"] == "completed"
