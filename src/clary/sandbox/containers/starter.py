"""Starting launchers quickly: a process that has imported what a launcher needs, and forks for each container.

A fresh interpreter with the launcher's modules takes several times as long as everything else in the start of a
container. The starter ends with the sandbox (it reads the end of its socket); the launchers it forked go on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from clary.sandbox.containers import launch

_SOURCE = str(Path(__file__).resolve().parents[3])
_RUN = "import sys; sys.path.append({src!r}); from clary.sandbox.containers.starter import serve; serve({fd})"
_MESSAGE = 65_536
_DESCRIPTORS = 3


class Starter:
    """The sandbox's end: hands plans to the starter process, and makes a new one when it has gone."""

    def __init__(self, interpreter: Path) -> None:
        self._interpreter = interpreter
        self._lock = threading.Lock()
        self._process, self._socket = self._begin()

    def launch(self, plan: Path, status: int, log: int, lifeline: int | None) -> None:
        """Start the launcher of a plan. It gets the three descriptors; what it has to say arrives on ``status``."""
        descriptors = [status, log] if lifeline is None else [status, log, lifeline]
        with self._lock:
            try:
                socket.send_fds(self._socket, [os.fsencode(plan)], descriptors)
            except OSError:
                self._end()
                self._process, self._socket = self._begin()
                socket.send_fds(self._socket, [os.fsencode(plan)], descriptors)

    def close(self) -> None:
        """End the starter process; launchers go on."""
        with self._lock:
            self._end()

    def _begin(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            process = subprocess.Popen(
                [str(self._interpreter), "-I", "-S", "-c", _RUN.format(src=_SOURCE, fd=other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"LANG": "C.UTF-8"},
                pass_fds=[other.fileno()],
                start_new_session=True,
            )
        return process, mine

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()


def serve(descriptor: int) -> None:
    """Be the starter process: fork a launcher for every plan until the sandbox has gone."""
    # Launchers that end are collected by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as requests:
        while True:
            plan, descriptors, _, _ = socket.recv_fds(requests, _MESSAGE, _DESCRIPTORS)
            if not plan:
                return
            if os.fork() == 0:
                requests.close()
                _become_launcher(os.fsdecode(plan), descriptors)
            for one in descriptors:
                os.close(one)


def _become_launcher(plan: str, descriptors: Sequence[int]) -> NoReturn:
    status, log, *_ = descriptors
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(log, 2)
        os.close(log)
        launch.main(plan, status)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - this process has no caller to raise to, only its log
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
