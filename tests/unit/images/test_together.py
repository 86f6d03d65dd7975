"""Work side by side: its order, its first failure, and that nobody is held who wants to leave."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from functools import partial

import pytest

from clary.images.together import together

_SILENT = """
import os, sys, threading
from clary.images.together import together

def silent():
    os.write(1, b"waiting\\n")
    threading.Event().wait()

try:
    together([silent, silent], 2, lambda: print("told", flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_results_come_in_the_order_of_the_work() -> None:
    turns = [threading.Event() for _ in range(3)]

    def last_first(number: int) -> int:
        if number < 2:
            assert turns[number + 1].wait(10)
        turns[number].set()
        return number

    assert together([partial(last_first, number) for number in range(3)], 3) == [0, 1, 2]
    assert together([], 3) == []


def test_no_more_than_so_much_is_done_at_once() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def count() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.002)
        with lock:
            now -= 1

    together([count] * 20, 3)
    assert most <= 3


def test_the_first_failure_ends_what_is_under_way_and_nothing_more_is_begun() -> None:
    stopped, begun, ended = threading.Event(), threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        assert stopped.wait(10)
        ended.set()

    def fail() -> None:
        assert begun.wait(10)
        message = "first"
        raise ValueError(message)

    more = threading.Event()
    with pytest.raises(ValueError, match="first"):
        together([long, fail, more.set, more.set], 2, stopped.set)
    assert ended.is_set()
    assert not more.is_set()


def test_ctrl_c_waits_for_no_server_that_is_silent() -> None:
    process = subprocess.Popen([sys.executable, "-c", _SILENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() + process.stdout.readline() == b"waiting\nwaiting\n"
    process.send_signal(signal.SIGINT)
    try:
        said, complained = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, said, complained) == (130, b"told\n", b"")
