"""How checks are run: at once, with a limit, in order, and whatever breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from clary.doctor.findings import Check, Finding, Result, Status, failed, from_error, ok
from clary.doctor.runner import run, side_by_side
from clary.doctor.subject import Once, Subject
from clary.errors import AwsError, ConfigError, PermissionDeniedError, Retry
from clary.stacks.model import local_stack

SUBJECT = Subject(local_stack("/nowhere"))


def check(name: str, look: Callable[[Subject], Finding | None], *, vital: bool = False) -> Check:
    return Check(name, name.title(), look, vital=vital)


def raises(error: Exception) -> Callable[[Subject], Finding]:
    def look(_: Subject) -> Finding:
        raise error

    return look


def test_checks_run_at_once_and_are_told_in_their_order() -> None:
    together = threading.Barrier(3)

    def meet(_: Subject) -> Finding:
        together.wait(10)
        return ok("met")

    told: list[Result] = []
    results = run([check("a", meet), check("b", meet), check("c", meet)], SUBJECT, tell=told.append)
    assert [result.check.name for result in results] == ["a", "b", "c"]
    assert {result.check.name for result in told} == {"a", "b", "c"}


def test_what_hangs_is_given_up_and_the_rest_is_told() -> None:
    never = threading.Event()

    def hang(_: Subject) -> Finding:
        never.wait(60)
        return ok("too late")

    began = time.monotonic()
    results = run([check("hangs", hang), check("fine", lambda _: ok("fine"))], SUBJECT, limit=0.3)
    assert time.monotonic() - began < 5
    assert [result.finding.status for result in results] == [Status.UNCHECKED, Status.OK]
    assert "0.3 seconds" in results[0].finding.summary
    never.set()


def test_what_does_not_apply_is_left_out() -> None:
    assert run([check("a", lambda _: None)], SUBJECT) == []


def test_what_cannot_be_looked_at_is_a_failure_where_nothing_works_without_it() -> None:
    gone = AwsError("aws.unreachable", "Nothing answers.", next_step="Start it.", retry=Retry.LATER)
    results = run([check("vital", raises(gone), vital=True), check("other", raises(gone))], SUBJECT)
    assert [result.finding.status for result in results] == [Status.FAILED, Status.UNCHECKED]


def test_a_check_that_breaks_does_not_take_the_others_along() -> None:
    results = run([check("broken", raises(KeyError("x"))), check("fine", lambda _: ok("fine"))], SUBJECT)
    assert [result.finding.status for result in results] == [Status.UNCHECKED, Status.OK]
    assert "KeyError" in results[0].finding.summary


def test_errors_tell_of_the_thing_only_if_they_are_about_it() -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    denied = PermissionDeniedError(
        "aws.access_denied", "No.", next_step="Add it.", details={"statement": statement, "action": "s3:GetObject"}
    )
    assert (from_error(denied).status, from_error(denied).permission) == (Status.UNCHECKED, "s3:GetObject")
    expired = PermissionDeniedError("aws.expired_credentials", "Old.", next_step="Renew.")
    assert from_error(expired).status is Status.FAILED
    wrong = from_error(ConfigError("stack.bucket_region", "Far.", next_step="Move."))
    assert (wrong.status, wrong.fix) == (Status.FAILED, "Move.")


def test_side_by_side_returns_in_order_and_raises_the_first_error() -> None:
    assert side_by_side([lambda: 1, lambda: 2]) == [1, 2]
    with pytest.raises(ValueError, match="first"):
        side_by_side([lambda: _raise(ValueError("first")), lambda: _raise(KeyError("second"))])


def _raise(error: Exception) -> None:
    raise error


def test_a_fact_is_made_once_even_if_it_fails() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return _fail()

    once = Once(make)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            once()
    assert made == [1]
    numbers = iter([1, 2])
    good = Once(lambda: next(numbers))
    assert (good(), good()) == (1, 1)


def _fail() -> int:
    raise ValueError("no")


def test_a_report_counts() -> None:
    from clary.doctor.findings import Report

    results = [Result(check("a", lambda _: None), finding, 0.1234) for finding in (ok("x"), failed("y", "z"))]
    report = Report("s", results)
    assert not report.healthy
    assert report.to_dict()["counts"] == {"ok": 1, "warning": 0, "failed": 1, "unchecked": 0}
    assert report.to_dict()["checks"][1]["fix"] == "z"
