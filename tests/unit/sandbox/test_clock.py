from __future__ import annotations

import threading
import time

import pytest

from clary.sandbox.clock import SandboxClock


def test_time_passes_as_fast_as_it_is_told() -> None:
    clock = SandboxClock(1000)
    before, real = clock.now(), time.monotonic()
    while time.monotonic() < real + 0.02:
        pass
    passed = clock.now() - before
    assert 19.9 <= passed <= (time.monotonic() - real) * 1001 + 0.1


def test_times_survive_a_journey_through_an_sdk() -> None:
    from datetime import UTC, datetime

    clock = SandboxClock()
    for _ in range(1000):
        shown = clock.now()
        assert datetime.fromtimestamp(shown, UTC).timestamp() == shown


def test_it_never_runs_backwards() -> None:
    future = time.time() + 10_000
    clock = SandboxClock(not_before=future)
    assert clock.now() >= future
    clock.set_speed(50)
    before = clock.now()
    clock.set_speed(0.5)
    assert clock.now() >= before


def test_a_wait_ends_when_its_time_has_passed() -> None:
    clock = SandboxClock(1000)
    began = clock.now()
    assert clock.wait(20) is False
    assert clock.now() >= began + 20


def test_a_wait_ends_when_its_condition_holds() -> None:
    happened = threading.Event()
    threading.Timer(0.05, happened.set).start()
    assert SandboxClock().wait(60, happened.is_set) is True


def test_a_running_wait_takes_up_a_new_speed() -> None:
    clock = SandboxClock()
    done = threading.Event()

    def wait() -> None:
        clock.wait(3600)
        done.set()

    threading.Thread(target=wait).start()
    clock.set_speed(1_000_000)
    assert done.wait(10)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), 1e9])
def test_impossible_speeds_are_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        SandboxClock(speed)


def test_time_can_be_advanced_which_ends_waits_and_never_runs_backwards() -> None:
    clock = SandboxClock()
    before = clock.now()
    clock.advance(3600)
    assert 3600 <= clock.now() - before < 3660
    waiting = threading.Thread(target=clock.wait, args=(3600,))
    waiting.start()
    while waiting.is_alive():
        clock.advance(3600)
        waiting.join(0.05)
    for wrong in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="never runs backwards"):
            clock.advance(wrong)
