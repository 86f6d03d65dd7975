from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer

from clary.agent.locks import RunLock

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def test_one_holds_the_lock(tmp_path: Path) -> None:
    first, second = RunLock(str(tmp_path), RUN), RunLock(str(tmp_path), RUN)
    assert first.owner() is None

    assert first.acquire()

    assert not second.acquire()
    assert second.owner() == os.getpid()
    first.release()
    assert second.owner() is None
    assert second.acquire()
    second.release()
    second.release()


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, signal; from clary.agent.locks import RunLock\n"
        "lock = RunLock(sys.argv[1], sys.argv[2]); assert lock.acquire(); print('held', flush=True); signal.pause()"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), RUN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert RunLock(str(tmp_path), RUN).owner() == process.pid

    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert RunLock(str(tmp_path), RUN).owner() is None


def test_an_owner_that_has_not_said_who_it_is_is_waited_for(tmp_path: Path) -> None:
    lock = RunLock(str(tmp_path), RUN)
    assert lock.acquire()
    file = tmp_path / "locks" / f"{RUN}.lock"
    file.write_bytes(b"")  # as it is between taking the lock and writing the number

    says_so = Timer(0.05, file.write_bytes, [b"4711"])
    says_so.start()

    assert lock.held()
    assert lock.owner() == 4711  # and never 0, which os.kill takes for the caller's whole process group
    says_so.join()
    lock.release()
    assert file.read_bytes() == b""
