"""A further attempt: what the record answers, what runs again, and what is refused because it is another call."""

from __future__ import annotations

import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from clary import checkpoint, flow
from clary.artifacts import mark_of
from clary.artifacts.pickles import PICKLE
from clary.engine import arguments
from clary.errors import ClaryError, DivergenceError, SerializationError
from clary.journal import records
from durable import (
    KINDS,
    RUN,
    Disturbed,
    assert_once,
    attempt,
    begin,
    call_paths,
    claim,
    first_attempt,
    open_log,
    written,
)

if TYPE_CHECKING:
    from clary.engine.attempt import Outcome
    from clary.flows import Flow
    from clary.journal.log import Log
    from clary.journal.records import Entry


class Again(Exception):  # noqa: N818 - it stands for a death
    """Ends the first attempt of a test."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def two_attempts(
    kind: str, folder: Path, first: Flow[Any, Any], second: Flow[Any, Any], **options: Any
) -> tuple[Outcome, Log]:
    """Run an attempt that ends with Again, then another flow in its place."""
    outcome, log, store = first_attempt(kind, folder, first)
    assert isinstance(outcome.error, Again), outcome
    claim(log, 2, **options)
    return attempt(log, store, second, 2), log


def ending(body: Any) -> Flow[Any, Any]:
    """Return a flow that does what ``body`` does and then fails."""

    def run() -> None:
        body()
        raise Again

    return flow(run)


def test_recorded_calls_answer_and_do_not_run(kind: str, tmp_path: Path) -> None:
    ran: list[int] = []

    @checkpoint
    def double(value: Any) -> Any:
        ran.append(value)
        return {"twice": value * 2}

    outcome, log = two_attempts(
        kind,
        tmp_path,
        ending(lambda: [double(1), double(2)]),
        flow(lambda: [double(1), double(2), double(3)]),
    )
    assert outcome.value == [{"twice": 2}, {"twice": 4}, {"twice": 6}]
    assert outcome.replayed == 2
    assert ran == [1, 2, 3]
    assert_once(log)


def test_calls_that_the_flow_has_lost_are_listed(tmp_path: Path) -> None:
    @checkpoint
    def one(value: int) -> int:
        return value

    outcome, _ = two_attempts("sqlite", tmp_path, ending(lambda: [one(1), one(2)]), flow(lambda: one(1)))
    assert outcome.status == "completed"
    assert outcome.left_over == ("one#2",)


def _pair() -> tuple[Any, Any]:
    @checkpoint(name="step")
    def before(a: int, b: int = 0) -> str:
        return f"before {a}"  # a comment

    @checkpoint(name="step")
    def after(a: int, b: int = 0) -> str:
        return f"after {a}"

    return before, after


def _changes() -> dict[str, tuple[Any, Any, str]]:
    before, after = _pair()

    @checkpoint(name="other")
    def other(a: int, b: int = 0) -> str:
        return "other"

    @checkpoint(name="step")
    def renamed(x: int, b: int = 0) -> str:
        return f"after {x}"

    return {
        "source": (lambda: before(1), lambda: after(1), "source"),
        "input": (lambda: before(1), lambda: before(2), "a"),
        "default": (lambda: before(1), lambda: before(1, 5), "b"),
        "type of input": (lambda: before(1), lambda: before(True), "a"),
        "parameter": (lambda: before(1), lambda: renamed(1), "x"),
    }


@pytest.mark.parametrize("change", _changes())
def test_a_difference_is_refused_rerun_or_accepted(tmp_path: Path, change: str) -> None:
    before, after, part = _changes()[change]
    outcome, log = two_attempts("sqlite", tmp_path / "error", ending(before), flow(after))
    assert isinstance(outcome.error, DivergenceError)
    assert outcome.error.code == "replay.diverged"
    assert part in outcome.error.details["difference"]
    assert "step#1" in outcome.error.summary
    assert RUN in outcome.error.next_step
    assert call_paths(log) == ["step#1"]

    outcome, log = two_attempts("sqlite", tmp_path / "accept", ending(before), flow(after), on_change="accept")
    assert outcome.value == "before 1"
    assert call_paths(log) == ["step#1"]

    outcome, log = two_attempts("sqlite", tmp_path / "rerun", ending(before), flow(after), on_change="rerun")
    assert outcome.value == after()
    assert call_paths(log) == ["step#1", "step#1"]


@checkpoint
def squared(value: int, power: int = 2) -> int:
    return int(value**power)


@checkpoint(name="squared")
def squared_otherwise(value: int, power: int = 3) -> int:
    return int(value**power)


@pytest.mark.parametrize(
    ("now", "like", "words"),
    [
        ([2, 1, 3], "squared#2", "order has changed"),
        ([2, 3], "squared#2", "has gone"),
        ([100, 1, 2, 3], None, "put in before it"),
        ([5, 2, 3], None, "what it is given has changed"),
    ],
    ids=["swapped", "removed", "inserted", "changed"],
)
def test_the_difference_names_both_calls_and_the_ways_out(
    tmp_path: Path, now: list[int], like: str | None, words: str
) -> None:
    def squares(values: list[int]) -> Any:
        return lambda: [squared(value) for value in values]

    def body() -> Any:
        return squares(now)()

    outcome, _ = two_attempts("sqlite", tmp_path, ending(squares([1, 2, 3])), flow(body))
    assert isinstance(outcome.error, DivergenceError)
    assert outcome.error.details.get("like") == like
    assert words in outcome.error.summary
    assert "squared#1" in outcome.error.summary
    assert outcome.error.details["difference"] == {"value": f"recorded 1, now {now[0]}"}
    for way in ("--on-change rerun", "--on-change accept", RUN):
        assert way in outcome.error.next_step


@pytest.mark.parametrize(
    ("before", "now", "shown"),
    [
        (0.1, 0.2, "recorded 0.1, now 0.2"),
        (1, True, "recorded 1, now True"),
        (None, -0.0, "recorded None, now -0.0"),
        (10**30, 1, "another value than the recorded one"),
        ("one", "two", "another value than the recorded one"),
    ],
)
def test_numbers_are_shown_where_they_differ_and_texts_which_may_be_secret_are_not(
    tmp_path: Path, before: Any, now: Any, shown: str
) -> None:
    @checkpoint
    def echoed(value: Any) -> Any:
        return value

    def asking() -> Any:
        return echoed(now)

    outcome, _ = two_attempts("sqlite", tmp_path, ending(lambda: echoed(before)), flow(asking))
    assert isinstance(outcome.error, DivergenceError)
    assert outcome.error.details["difference"] == {"value": shown}


def test_a_changed_default_is_told_as_that(tmp_path: Path) -> None:
    def body() -> int:
        return squared_otherwise(2)

    outcome, _ = two_attempts("sqlite", tmp_path, ending(lambda: squared(2)), flow(body))
    assert isinstance(outcome.error, DivergenceError)
    assert outcome.error.details["difference"]["power"].endswith("its default has changed")
    assert "source" in outcome.error.details["difference"]


def test_a_renamed_checkpoint_runs_and_the_old_call_is_left_over(tmp_path: Path) -> None:
    @checkpoint
    def fit(value: int) -> int:
        return value

    @checkpoint
    def train(value: int) -> int:
        return value

    def body() -> int:
        return fit(1)

    outcome, log = two_attempts("sqlite", tmp_path, ending(lambda: train(1)), flow(body))
    assert outcome.left_over == ("train#1",)
    assert outcome.lost() == "1 recorded call was not made again: train#1"
    assert call_paths(log) == ["train#1", "fit#1"]


def test_calls_of_a_call_that_the_record_answers_are_not_left_over(tmp_path: Path) -> None:
    @checkpoint
    def outer(value: int) -> int:
        return squared(value)

    def body() -> int:
        return outer(2)

    outcome, _ = two_attempts("sqlite", tmp_path, ending(body), flow(body))
    assert (outcome.value, outcome.replayed, outcome.left_over) == (4, 1, ())


def test_what_was_run_again_answers_the_attempts_that_follow(tmp_path: Path) -> None:
    before, after, _ = _changes()["source"]
    outcome, log, store = first_attempt("sqlite", tmp_path, ending(before))
    claim(log, 2, on_change="rerun")
    assert attempt(log, store, ending(after), 2).status == "failed"
    claim(log, 3)
    outcome = attempt(log, store, flow(after), 3)
    assert (outcome.value, outcome.replayed, outcome.left_over) == ("after 1", 1, ())


def test_calls_that_are_run_again_are_not_lost_ones(tmp_path: Path) -> None:
    before, after, _ = _changes()["source"]
    outcome, _ = two_attempts("sqlite", tmp_path, ending(before), flow(after), on_change="rerun")
    assert (outcome.left_over, outcome.lost()) == ((), "")


def test_comments_layout_and_helpers_are_no_difference(tmp_path: Path) -> None:
    def made() -> Any:
        @checkpoint(name="step")
        def step(a: int) -> int:
            return a + 1

        return step

    def made_again() -> Any:
        @checkpoint(name="step")
        # a comment
        def step(a: int) -> int:

            return a + 1  # and another

        return step

    first, second = made(), made_again()
    outcome, _ = two_attempts("sqlite", tmp_path, ending(lambda: first(1)), flow(lambda: second(1)))
    assert (outcome.value, outcome.replayed) == (2, 1)


def test_one_call_inserted_before_is_a_difference_not_a_wrong_answer(tmp_path: Path) -> None:
    @checkpoint
    def square(value: int) -> int:
        return value * value

    outcome, _ = two_attempts(
        "sqlite",
        tmp_path,
        ending(lambda: [square(n) for n in range(4)]),
        flow(lambda: [square(n) for n in (100, 0, 1, 2, 3)]),
    )
    assert isinstance(outcome.error, DivergenceError)


def test_pickled_arguments_are_compared_by_nobody(tmp_path: Path) -> None:
    @checkpoint
    def take(thing: Any) -> str:
        return str(thing)

    outcome, _ = two_attempts(
        "sqlite", tmp_path, ending(lambda: take(ValueError("a"))), flow(lambda: take(ValueError("b")))
    )
    assert outcome.value == "a"


def test_a_caught_failure_is_replayed_as_that_failure(kind: str, tmp_path: Path) -> None:
    ran: list[str] = []

    @checkpoint
    def fails(text: str) -> None:
        ran.append(text)
        raise KeyError(text)

    def body() -> str:
        try:
            fails("x")
        except KeyError as error:
            return f"caught {error.args}"
        return "no"

    outcome, log = two_attempts(kind, tmp_path, ending(body), flow(body))
    assert outcome.value == "caught ('x',)"
    assert ran == ["x"]
    assert [record["kind"] for record in written(log, records.CALL, records.CALL_FAILED)] == [records.CALL_FAILED]


def test_the_call_whose_failure_ended_the_run_runs_again(kind: str, tmp_path: Path) -> None:
    ran: list[str] = []
    broken = True

    @checkpoint
    def survives(text: str) -> None:
        ran.append(text)
        raise KeyError(text)

    @checkpoint
    def fails(text: str) -> str:
        ran.append(text)
        if broken:
            raise OSError("down")
        return text

    @flow
    def body() -> str:
        try:
            survives("caught")
        except KeyError:
            pass
        return fails("fatal")

    outcome, log, store = first_attempt(kind, tmp_path, body)
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert outcome.failure is not None
    assert outcome.failure["calls"] == ["fails#1"]
    claim(log, 2)
    assert isinstance(attempt(log, store, body, 2).error, OSError)
    broken = False
    claim(log, 3)
    assert attempt(log, store, body, 3).value == "fatal"
    assert ran == ["caught", "fatal", "fatal", "fatal"]


def _results(futures: Any) -> Any:
    return futures.results()


def _one_by_one(futures: Any) -> Any:
    return [future.result() for future in futures]


def _only_the_first(futures: Any) -> Any:
    while not all(future.done() for future in futures):
        pass
    return _one_by_one(futures)


def _group(futures: Any) -> Any:
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise ExceptionGroup("several", errors)
    return futures.results()


def _chain(futures: Any) -> Any:
    chained: BaseException | None = None
    for future in futures:
        error = future.exception()
        if error is not None:
            error.__cause__ = chained
            chained = error
    if chained is not None:
        raise ValueError("wrapped") from chained
    return futures.results()


@pytest.mark.parametrize("way", [_results, _one_by_one, _only_the_first, _group, _chain])
def test_every_call_that_failed_with_the_run_runs_again(tmp_path: Path, way: Any) -> None:
    broken = True
    ran: list[int] = []

    @checkpoint
    def fails(number: int) -> int:
        ran.append(number)
        if broken and number != 1:
            raise OSError(number)
        return number

    @flow
    def body() -> Any:
        return way(fails.map(range(4)))

    outcome, log, store = first_attempt("sqlite", tmp_path, body)
    assert outcome.status == "failed"
    recorded = [record["path"] for record in written(log, records.CALL)]
    broken = False
    claim(log, 2)
    ran.clear()
    assert attempt(log, store, body, 2).value == [0, 1, 2, 3]
    assert 1 not in ran or "fails#2" not in recorded
    assert sorted({0, 2, 3} | set(ran)) == sorted(ran)


def test_calls_that_fail_while_the_run_does_run_again_with_what_they_called(tmp_path: Path) -> None:
    broken = True
    together = threading.Barrier(4)

    @checkpoint
    def inner(number: int) -> int:
        if broken:
            raise OSError(number)
        return number

    @checkpoint
    def outer(number: int) -> int:
        if broken:
            together.wait(30)
        return inner(number)

    @flow(workers=4)
    def body() -> Any:
        return [future.result() for future in outer.map(range(4))]

    for turn in range(20):
        broken = True
        _, log, store = first_attempt("sqlite", tmp_path / str(turn), body)
        broken = False
        claim(log, 2)
        assert attempt(log, store, body, 2).value == [0, 1, 2, 3]


def test_failures_recorded_by_an_attempt_that_died_all_run_again_after_the_next(tmp_path: Path) -> None:
    broken = True

    @checkpoint
    def fails(number: int) -> int:
        if broken:
            raise OSError(number)
        return number

    @flow
    def body() -> Any:
        futures = fails.map(range(3))
        for future in futures:
            future.wait()
        if first:
            raise SystemError
        return [future.result() for future in futures]

    first = [1]
    log, store = open_log("sqlite", tmp_path)
    begin(log, store)

    def die(inner: Log, entry: Entry) -> bool:
        if entry["records"][0]["kind"] == records.FAILED:
            raise GeneratorExit  # the process dies before its failure is recorded
        return inner.create(entry)

    with pytest.raises(GeneratorExit):
        attempt(Disturbed(log, die), store, body)
    assert len(call_paths(log)) == 3
    first.clear()
    claim(log, 2)
    assert isinstance(attempt(log, store, body, 2).error, OSError)
    broken = False
    claim(log, 3)
    assert attempt(log, store, body, 3).value == [0, 1, 2]


def test_a_failure_that_the_flow_has_seen_and_passed_by_stays(tmp_path: Path) -> None:
    ran: list[int] = []

    @checkpoint
    def fails(number: int) -> int:
        ran.append(number)
        raise OSError(number)

    @flow
    def body() -> Any:
        seen = fails.submit(1).exception()
        try:
            fails(2)
        except OSError:
            raise ValueError(str(seen)) from None

    _, log, store = first_attempt("sqlite", tmp_path, body)
    claim(log, 2)
    attempt(log, store, body, 2)
    assert ran == [1, 2, 2]  # the second is the context of what ended the run


def test_a_failure_arrives_with_its_traceback_live_and_recorded(kind: str, tmp_path: Path) -> None:
    @checkpoint
    def deep(value: int) -> int:
        return deeper(value)

    def deeper(value: int) -> int:
        raise ValueError(f"bad {value}")

    seen: list[BaseException] = []

    def body() -> None:
        try:
            deep(3)
        except ValueError as error:
            seen.append(error)

    outcome, log = two_attempts(kind, tmp_path, ending(body), flow(body))
    assert outcome.status == "completed"
    live, replayed = seen
    assert [frame.name for frame in traceback.extract_tb(live.__traceback__)][-2:] == ["deep", "deeper"]
    assert type(replayed) is ValueError
    assert replayed.args == ("bad 3",)
    assert "in deeper" in "".join(replayed.__notes__)
    (record,) = written(log, records.CALL_FAILED)
    assert record["error"]["frames"][-1].endswith('in deeper: raise ValueError(f"bad {value}")')


def test_the_failure_of_a_run_names_the_innermost_frames(tmp_path: Path) -> None:
    @checkpoint
    def deep() -> None:
        raise ValueError("bad")

    @flow
    def body() -> None:
        deep()

    outcome, _, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.failure is not None
    frames = outcome.failure["error"]["frames"]
    assert [frame.split(" in ")[1].split(":")[0] for frame in frames] == ["body", "deep"]


class Unpicklable(Exception):  # noqa: N818 - users name theirs like this
    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


class Silent(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_exception_with_a_constructor_of_its_own_keeps_its_type(tmp_path: Path) -> None:
    @checkpoint
    def fails(error: Any) -> None:
        raise Unpicklable(5, "odd") if error == 1 else Silent

    def body() -> list[BaseException]:
        found: list[BaseException] = []
        for number in (1, 2):
            try:
                fails(number)
            except Exception as error:
                found.append(error)
        return found

    found: list[BaseException] = []
    outcome, _ = two_attempts("sqlite", tmp_path, ending(body), flow(lambda: found.extend(body())))
    assert outcome.status == "completed"
    assert [type(error) for error in found] == [Unpicklable, Silent]
    assert str(found[0]) == "5: odd"


def test_an_exception_whose_class_has_gone_is_told_by_its_type_and_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clary.artifacts.pickles.CODECS", (PICKLE,))  # as where there is no cloudpickle

    class Local(Exception):  # noqa: N818
        pass

    @checkpoint
    def fails() -> None:
        raise Local("odd")

    def body() -> BaseException | None:
        try:
            fails()
        except Exception as error:
            return error
        return None

    found: list[BaseException | None] = []
    two_attempts("sqlite", tmp_path, ending(body), flow(lambda: found.append(body())))
    assert isinstance(found[0], ClaryError)
    assert found[0].code == "call.failed"
    assert "Local: odd" in found[0].summary


def test_a_body_that_changes_its_argument_is_refused(tmp_path: Path) -> None:
    @checkpoint
    def spoil(value: Any) -> int:
        if isinstance(value, tuple):
            value = value[0]
        if isinstance(value, dict):
            value["new"] = 1
        elif isinstance(value, np.ndarray):
            value[0] = 9
        else:
            value.append(1)
        return 1

    values: list[Any] = [[1], {"a": 1}, np.zeros(3), ([1],), bytearray(b"x")]
    for number, value in enumerate(values):
        outcome, log, _ = first_attempt("sqlite", tmp_path / str(number), flow(lambda value=value: spoil(value)))
        assert isinstance(outcome.error, SerializationError), value
        assert outcome.error.code == "call.argument_changed"
        assert outcome.error.field == "value"
        assert [record["kind"] for record in written(log)][-2:] == [records.CALL_FAILED, records.FAILED]


def test_what_all_calls_of_a_map_are_given_is_looked_at_once_before_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def watched(value: Any) -> str | None:
        looked.append(id(value))
        return mark_of(value)

    monkeypatch.setattr(arguments, "mark_of", watched)
    large = np.zeros(1 << 18)

    @checkpoint
    def add(number: int, data: Any, other: int = 0) -> int:
        return number + int(data[0])

    def body() -> list[int]:
        return [one.result() for one in add.map([1, 2, 3], data=large)]

    outcome, _ = two_attempts("sqlite", tmp_path, ending(body), flow(body))
    assert outcome.value == [1, 2, 3]
    assert looked.count(id(large)) == 2  # once in each attempt


def test_a_body_that_changes_what_all_calls_of_a_map_are_given_is_refused(tmp_path: Path) -> None:
    @checkpoint
    def spoil(number: int, data: list[int]) -> int:
        data.append(number)
        return number

    body = flow(lambda: [one.result() for one in spoil.map([1, 2], data=[0])])
    outcome, _, _ = first_attempt("sqlite", tmp_path, body)
    assert isinstance(outcome.error, SerializationError)
    assert outcome.error.field == "data"


def test_a_result_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with Path("/dev/null").open() as file:

        @checkpoint
        def opens() -> Any:
            return file

        outcome, _, _ = first_attempt("sqlite", tmp_path, flow(lambda: opens().close()))
    assert isinstance(outcome.error, SerializationError)
    assert outcome.error.code == "value.not_serializable"


def test_a_thousand_entries_replay_from_the_snapshot_and_the_tail(tmp_path: Path) -> None:
    ran: list[int] = []

    @checkpoint
    def one(value: int) -> int:
        ran.append(value)
        return value

    def body() -> int:
        return sum(one(number) for number in range(1100))

    log, store = open_log("objects", tmp_path)
    begin(log, store)
    assert isinstance(attempt(log, store, ending(body)).error, Again)
    assert len(list(store.keys(f"runs/{RUN}/snapshot"))) == 1
    claim(log, 2)
    outcome = attempt(log, store, flow(body), 2)
    assert (outcome.value, outcome.replayed, len(ran)) == (sum(range(1100)), 1100, 1100)
