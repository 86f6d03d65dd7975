"""When a step is tried again, and how long it waits."""

from __future__ import annotations

import threading
import time

import pytest

from clary.errors import AwsError, Retry
from clary.images.registry.retrying import RETRY_AFTER, Abandoned, Patience, Tries

QUICK = Patience(tries=4, unreached=2, first=0.001, longest=0.002)


def failure(code: str = "registry.no_reply", retry: Retry = Retry.LATER, after: float = 0.0) -> AwsError:
    return AwsError(code, "x", next_step="y", retry=retry, details={RETRY_AFTER: after} if after else None)


def met(tries: Tries, error: AwsError) -> int:
    """Return how often ``error`` was met before it was raised."""
    counted = 0

    def meet() -> None:
        nonlocal counted
        while counted < 100:
            counted += 1
            tries.met(error)

    with pytest.raises(AwsError) as caught:
        meet()
    assert caught.value is error
    return counted


def test_a_step_is_tried_as_often_as_patience_says() -> None:
    assert met(Tries(QUICK), failure()) == 4


def test_what_never_answered_is_given_up_sooner() -> None:
    assert met(Tries(QUICK), failure("registry.unreachable")) == 2
    assert met(Tries(QUICK, reached=True), failure("registry.unreachable")) == 4


def test_a_refusal_for_good_is_raised_at_once() -> None:
    assert met(Tries(QUICK), failure(retry=Retry.NO)) == 1


def test_progress_begins_the_count_anew() -> None:
    tries = Tries(QUICK)
    for _ in range(3):
        tries.met(failure())
    tries.progressed()
    assert met(tries, failure()) == 4


def test_the_registry_says_how_long_it_wants_to_be_left_alone() -> None:
    began = time.monotonic()
    Tries(QUICK).met(failure(after=0.2))
    assert time.monotonic() - began >= 0.2
    assert met(Tries(QUICK), failure(after=3600.0)) == 1


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    tries = Tries(QUICK, stop=stop)
    tries.check()
    stop.set()
    with pytest.raises(Abandoned):
        tries.check()
    began = time.monotonic()
    with pytest.raises(Abandoned):
        tries.met(failure(after=60.0))
    assert time.monotonic() - began < 5
