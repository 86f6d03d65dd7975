"""On a real terminal: colour unless NO_COLOR, nothing lost on a narrow one, and Ctrl-C that asks."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from run_views import RUN

PROGRAM = f"""
import fcntl, sys, termios, types
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # its own terminal, so that Ctrl-C becomes a signal
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import clary.agent
from run_views import ROLE, Services
from clary.stacks import service as stacks
from clary.stacks.model import Stack
stacks.refresh(Stack("gpu", "sagemaker", "s3://bucket/x", region="eu-central-1", execution_role=ROLE))
services = Services()
def story(observer):
    print("following", flush=True)
    import time
    while True:
        time.sleep(0.05)  # short, as a real watch does: a signal just before a long sleep waits for its end
services.story = story
clary.agent.service = sys.modules["clary.agent.service"] = module = types.ModuleType("clary.agent.service")
for name in ("load_target", "start", "follow", "stop", "get_run", "list_runs"):
    setattr(module, name, getattr(services, name))
from clary.cli.main import run
sys.exit(run(sys.argv[1:]))
"""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, home: Path, arguments: list[str], *, columns: int, **environment: str) -> None:
        program = home / "program.py"
        program.write_text(PROGRAM)
        self.screen, inside = pty.openpty()
        ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        kept = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "CLARY_HOME": str(home), "LANG": "C.UTF-8"}
        command = [sys.executable, str(program), *arguments]
        self.process = subprocess.Popen(
            command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True, env=kept | environment
        )
        os.close(inside)
        self.text = ""

    def read(self, until: str | None = None, seconds: float = 30) -> str:
        """Read until a text appears, else to the end."""
        deadline = time.monotonic() + seconds
        while until is None or until not in self.text:
            if not select.select([self.screen], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise TimeoutError(self.text)
            try:
                part = os.read(self.screen, 65536)
            except OSError:  # Linux ends a terminal whose last process has gone with EIO
                break
            if not part:
                break
            self.text += part.decode()
        return self.text

    def interrupt(self, until: str) -> None:
        """Type Ctrl-C until a text appears: one that arrives just before the command waits is not seen by it."""
        for _ in range(10):
            self.type("\x03")
            try:
                self.read(until, seconds=3)
            except TimeoutError:
                continue
            return
        raise AssertionError(self.text)

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def code(self) -> int:
        """Read to the end and return the exit code."""
        self.read()
        os.close(self.screen)
        return self.process.wait(30)


def test_a_narrow_terminal_loses_nothing(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, ["runs", "list"], columns=40)
    assert terminal.code() == 0
    plain = COLOUR.sub("", terminal.text).replace("\r", "")
    assert max(len(line) for line in plain.splitlines()) <= 40
    assert RUN in "".join(line.split(" ")[0] for line in plain.splitlines())
    assert COLOUR.search(terminal.text)


def test_no_color_is_honoured(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, ["runs", "list"], columns=120, NO_COLOR="1")
    assert terminal.code() == 0
    assert RUN in terminal.text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", terminal.text)


@pytest.mark.parametrize(("keys", "code", "shown"), [("s\n", 1, "stopped"), ("\n", 130, "Detached")])
def test_ctrl_c_asks_whether_to_stop_or_to_leave(tmp_path: Path, keys: str, code: int, shown: str) -> None:
    terminal = Terminal(tmp_path, ["run", "x.py:digits", "--stack", "gpu"], columns=100)
    terminal.read(until="following")
    terminal.interrupt(until="[s/D]")
    terminal.type(keys)
    assert terminal.code() == code
    assert shown in terminal.text


def test_two_ctrl_c_detach(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, ["run", "x.py:digits", "--stack", "gpu"], columns=100)
    terminal.read(until="following")
    terminal.interrupt(until="[s/D]")
    terminal.interrupt(until="Detached")
    assert terminal.code() == 130
    assert "Detached" in terminal.text
    assert "Traceback" not in terminal.text
