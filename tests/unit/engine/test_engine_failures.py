"""Failures on record: the exception that comes back, what is behind it, and what people are shown of it."""

from __future__ import annotations

import asyncio
import errno
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from clary.artifacts.pickles import PICKLE
from clary.engine import failure
from clary.errors import ClaryError, PermissionDeniedError, RunFailedError, ThrottledError
from clary.flows import checkpoint, flow
from clary.journal import records
from clary.objects.folder import FolderStore
from clary.secrets.redaction import hidden
from durable import attempt, claim, first_attempt, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Http(Exception):  # noqa: N818 - users name theirs like this
    def __init__(self, text: str, *, response: int) -> None:
        super().__init__(text)
        self.response = response


class Empty(Exception):  # noqa: N818
    def __len__(self) -> int:
        return 0


class EmptyHttp(Http):
    def __len__(self) -> int:
        return 0


class Ends(SystemExit):
    def __init__(self, *, why: str) -> None:
        super().__init__(3)
        self.why = why


class Batch(ExceptionGroup[Exception]):
    size: int


@dataclass(frozen=True)
class Frozen(Exception):  # noqa: N818
    code: int


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "store"))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def again(error: BaseException, store: FolderStore) -> BaseException:
    return failure.rebuild(failure.describe(error, store), store)


def sent(error: BaseException, _store: FolderStore) -> BaseException:
    return failure.received(failure.to_send(error))


BOTH_WAYS = pytest.mark.parametrize("back", [again, sent])


@BOTH_WAYS
@pytest.mark.parametrize("error", [Empty("x"), EmptyHttp("x", response=1), Frozen(7)])
def test_an_exception_comes_back_however_its_class_is_made(error: Any, back: Any, store: FolderStore) -> None:
    found = back(raised(error), store)
    assert type(found) is type(error)
    assert found.args == error.args
    assert "test_engine_failures.py" in found.__notes__[-1]


@BOTH_WAYS
def test_what_python_keeps_outside_of_an_exceptions_attributes_comes_back(back: Any, store: FolderStore) -> None:
    found = back(Ends(why="done"), store)
    assert (type(found), found.code, found.why) == (Ends, 3, "done")


@BOTH_WAYS
def test_a_group_comes_back_with_members_that_do_not_pickle(back: Any, store: FolderStore) -> None:
    batch = Batch("inner", [Http("404", response=4), KeyError("k")])
    batch.size = 2
    group = back(ExceptionGroup("outer", [Http("500", response=1), batch]), store)
    assert (type(group), group.message) == (ExceptionGroup, "outer")
    first, inner = group.exceptions
    assert (type(first), first.response) == (Http, 1)
    assert (type(inner), inner.message, inner.size) == (Batch, "inner", 2)
    assert [type(one) for one in inner.exceptions] == [Http, KeyError]


def test_a_group_keeps_its_readable_members_where_others_have_gone(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clary.artifacts.pickles.CODECS", (PICKLE,))  # as where there is no cloudpickle

    class Local(ExceptionGroup[Exception]):
        pass

    class LocalError(Exception):
        pass

    group = again(Local("outer", [KeyError("k"), LocalError("l")]), store)
    assert isinstance(group, ExceptionGroup)
    assert [type(one) for one in group.exceptions] == [KeyError, RunFailedError]
    assert "LocalError: l" in str(group.exceptions[1])


@BOTH_WAYS
def test_what_is_behind_an_exception_comes_back_with_it(back: Any, store: FolderStore) -> None:
    def fail() -> None:
        try:
            try:
                raise KeyError("deepest")
            except KeyError as error:
                raise Http("middle", response=1) from error
        except Http:
            raise ValueError("outer")  # noqa: B904 - its context is to come back

    with pytest.raises(ValueError, match="outer") as caught:
        fail()
    found = back(caught.value, store)
    assert found.__cause__ is None
    assert not found.__suppress_context__
    middle = found.__context__
    assert isinstance(middle, Http)
    assert middle.response == 1
    assert middle.__suppress_context__
    assert repr(middle.__cause__) == "KeyError('deepest')"
    assert middle.__context__ is middle.__cause__


@BOTH_WAYS
def test_what_is_behind_a_member_of_a_group_comes_back(back: Any, store: FolderStore) -> None:
    member = ValueError("member")
    member.__cause__ = Http("cause", response=1)
    found = back(ExceptionGroup("group", [KeyError("k"), ExceptionGroup("inner", [member])]), store)
    assert type(found.exceptions[1].exceptions[0].__cause__) is Http


def test_from_none_stays_so(store: FolderStore) -> None:
    error = ValueError("v")
    error.__cause__ = None
    assert again(error, store).__suppress_context__


@BOTH_WAYS
def test_circles_and_long_chains_are_cut(back: Any, store: FolderStore) -> None:
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    found = back(one, store)
    assert type(found.__cause__) is KeyError
    assert found.__cause__.__cause__ is None
    last: BaseException = ValueError(0)
    for number in range(1, 50):
        error = ValueError(number)
        error.__cause__ = last
        last = error
    link, count = back(last, store), 0
    while link.__cause__ is not None:
        link, count = link.__cause__, count + 1
    assert count == 5


def test_a_secret_behind_an_exception_is_not_kept(store: FolderStore) -> None:
    error = ValueError("v")
    error.__context__ = KeyError("hunter2-hunter2")
    error.__suppress_context__ = True
    group = ExceptionGroup("g" * 195, [Http("hunter2-hunter2", response=1), ValueError("hunter2-hunter2" * 20)])
    with hidden(["hunter2-hunter2"]):
        for one in (error, raised(group)):
            assert "hunter2" not in str(failure.describe(one, store))


def test_records_of_before_are_read(store: FolderStore) -> None:
    described = failure.describe(ValueError("v"), store)
    old = {name: described[name] for name in ("type", "module", "message", "frames", "traceback", "exception")}
    found = failure.rebuild(old, store)
    assert (type(found), found.__cause__, found.__suppress_context__) == (ValueError, None, False)


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_a_failure_that_was_handled_is_handled_again(timeout: float | None, tmp_path: Path) -> None:
    handled: list[str] = []

    @checkpoint(timeout=timeout)
    def fails(how: str) -> None:
        if how == "empty":
            raise Empty("x")
        if how == "group":
            raise ExceptionGroup("g", [Http("500", response=1)])
        raise ValueError("v") from Http("cause", response=1)

    @flow
    def body() -> None:
        try:
            fails("empty")
        except Empty:
            handled.append("empty")
        try:
            fails("group")
        except* Http as group:
            handled.extend(f"http {one.response}" for one in group.exceptions if isinstance(one, Http))
        try:
            fails("cause")
        except ValueError as error:
            handled.append(type(error.__cause__).__name__)
        if len(handled) == 3:
            raise OSError

    outcome, log, store = first_attempt("sqlite", tmp_path, body)
    assert isinstance(outcome.error, OSError), outcome.error
    claim(log, 2)
    outcome = attempt(log, store, body, 2)
    assert outcome.status == "completed", outcome.error
    assert handled == ["empty", "http 1", "Http"] * 2


def test_a_failure_that_another_came_from_runs_again_even_if_both_were_on_record(tmp_path: Path) -> None:
    """Else the call that raised the other would run again, and be given the recorded failure once more."""
    broken = [True]

    @checkpoint
    def inner() -> int:
        if broken[0]:
            raise KeyError("inner")
        return 1

    @checkpoint
    def outer() -> int:
        try:
            return inner()
        except KeyError as error:
            raise ValueError("outer") from error

    def first() -> None:
        with suppress(ValueError):
            outer()
        raise OSError

    outcome, log, store = first_attempt("sqlite", tmp_path, flow(first))
    assert isinstance(outcome.error, OSError)
    second = flow(lambda: outer())
    claim(log, 2)
    assert isinstance(attempt(log, store, second, 2).error, ValueError)
    broken[0] = False
    claim(log, 3)
    outcome = attempt(log, store, second, 3)
    assert outcome.value == 1, outcome.error


def frames_of(outcome: Any) -> list[str]:
    """Return the names of the functions, and other lines as they are."""
    shown: list[str] = outcome.failure["error"]["frames"]
    return [line.split(" in ")[1].split(":")[0] if " in " in line else line for line in shown]


def deep() -> None:
    raise KeyError("zz")


class TestShown:
    @pytest.mark.parametrize("timeout", [None, 30.0])
    def test_where_a_call_failed_with_or_without_a_timeout(self, timeout: float | None, tmp_path: Path) -> None:
        @checkpoint(timeout=timeout)
        def parse() -> None:
            deep()

        @flow
        def body() -> None:
            parse()

        outcome, log, _ = first_attempt("sqlite", tmp_path, body)
        assert frames_of(outcome) == ["body", "parse", "deep"]
        assert [line.split(" in ")[1] for line in written(log, records.CALL_FAILED)[0]["error"]["frames"]] == [
            "parse: deep()",
            'deep: raise KeyError("zz")',
        ]

    def test_where_a_replayed_call_failed(self, tmp_path: Path) -> None:
        @checkpoint
        def parse() -> None:
            deep()

        def first() -> None:
            with suppress(KeyError):
                parse()
            raise OSError

        def second() -> None:
            parse()

        _, log, store = first_attempt("sqlite", tmp_path, flow(first))
        claim(log, 2)
        assert frames_of(attempt(log, store, flow(second), 2)) == ["second", "parse", "deep"]

    def test_the_one_failure_in_a_group_of_tasks(self, tmp_path: Path) -> None:
        async def bad() -> None:
            raise KeyError("the real reason")

        async def worse() -> None:
            async with asyncio.TaskGroup() as inner:
                inner.create_task(bad())

        @flow
        async def body() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(worse())

        outcome, _, _ = first_attempt("sqlite", tmp_path, body)
        assert outcome.failure is not None
        assert outcome.failure["error"]["message"] == (
            "unhandled errors in a TaskGroup (1 sub-exception): KeyError: 'the real reason'"
        )
        assert frames_of(outcome) == ["body", "worse", "bad"]

    @pytest.mark.parametrize("timeout", [None, 30.0])
    def test_several_failures_in_a_group(self, timeout: float | None, tmp_path: Path) -> None:
        async def bad(number: int) -> None:
            raise ValueError(f"{number}\n" + "x" * 5000)

        @checkpoint(timeout=timeout)
        def fails() -> None:
            async def run() -> None:
                async with asyncio.TaskGroup() as tasks:
                    for number in range(8):
                        tasks.create_task(bad(number))

            asyncio.run(run())

        @flow
        def body() -> None:
            fails()

        outcome, _, _ = first_attempt("sqlite", tmp_path, body)
        assert outcome.failure is not None
        message = outcome.failure["error"]["message"]
        assert message.startswith("unhandled errors in a TaskGroup (8 sub-exceptions): ValueError: 0 xxx")
        assert "; ValueError: 4 xxx" in message
        assert message.endswith("…; …")
        assert len(message) < 2000
        shown = frames_of(outcome)
        assert shown[:3] == ["body", "fails", "run"]
        assert shown[3].startswith("• ValueError: 0 xxx")
        assert shown[4] == "bad"
        assert shown[-1] == "• 3 more"
        assert len(shown) == 3 + 2 * 5 + 1

    def test_no_frames_of_what_runs_futures(self, tmp_path: Path) -> None:
        @flow
        def body() -> None:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(deep).result()

        outcome, _, _ = first_attempt("sqlite", tmp_path, body)
        assert frames_of(outcome) == ["body", "deep"]
        assert outcome.error is not None
        assert "concurrent/futures" not in failure.for_people(outcome.error)

    def test_a_failure_in_nobodys_code_is_shown_with_what_there_is(self) -> None:
        loop = asyncio.new_event_loop()
        loop.close()
        with pytest.raises(RuntimeError) as caught:
            loop.run_forever()
        traceback = caught.value.__traceback__
        assert traceback is not None
        caught.value.__traceback__ = traceback.tb_next
        assert "asyncio/base_events.py" in failure.useful_frames(caught.value)[0]

    def test_no_text_is_endless(self, store: FolderStore) -> None:
        error = raised(ValueError("m" * 5_000_000))
        described = failure.describe(error, store)
        assert described["message"] == "m" * 10_000 + "… (4,990,000 more characters)"
        assert len(described["traceback"]) < 21_000
        assert "in raised" in described["traceback"]
        assert "more characters" in described["traceback"]
        again = failure.rebuild(described, store)
        assert str(again) == "m" * 5_000_000
        assert len(again.__notes__[0]) < 21_000

    @pytest.mark.parametrize("kind", ["coroutine", "task", "generator"])
    def test_what_to_do_about_a_result_that_is_still_to_come(self, kind: str, tmp_path: Path) -> None:
        async def value() -> int:
            return 1

        async def values() -> Any:
            yield 1

        made: list[Any] = []
        makers: dict[str, Callable[[], Any]] = {
            "coroutine": value,
            "task": lambda: asyncio.ensure_future(value()),
            "generator": values,
        }

        @flow
        async def body() -> Any:
            made.append(makers[kind]())
            return made[0]

        outcome, _, _ = first_attempt("sqlite", tmp_path, body)
        if kind == "coroutine":
            made[0].close()
        assert isinstance(outcome.error, ClaryError)
        expected = "[item async for item in …]" if kind == "generator" else "Await it"
        assert expected in outcome.error.next_step


class OutOfMemoryError(RuntimeError):
    """As PyTorch's."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
        (OSError(errno.ENOENT, "No such file"), "user_code"),
        (OutOfMemoryError("no"), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("no"), "user_code"),
        (ExceptionGroup("g", [ExceptionGroup("h", [MemoryError()])]), "out_of_memory"),
        (ExceptionGroup("g", [MemoryError(), KeyError()]), "user_code"),
        (ThrottledError("a.b", "no", next_step="wait"), "throttled"),
        (ExceptionGroup("g", [PermissionDeniedError("a.b", "no", next_step="ask")]), "permission"),
    ],
)
def test_the_cause_of_a_failure(error: BaseException, cause: str) -> None:
    assert failure.cause_of(error) == cause


class TestInAProcessOfItsOwn:
    """A call with a timeout fails as one without."""

    @pytest.mark.parametrize("timeout", [None, 30.0])
    @pytest.mark.parametrize("error", [SystemExit(3), Ends(why="w"), GeneratorExit("x"), BaseException("plain")])
    def test_what_is_no_exception_reaches_the_flow(
        self, error: BaseException, timeout: float | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        @checkpoint(timeout=timeout)
        def ends() -> None:
            raise error

        @flow
        def body() -> list[Any]:
            try:
                ends()
            except BaseException as caught:
                return [type(caught).__name__, getattr(caught, "code", None), [str(one) for one in caught.args]]
            return []

        outcome, log, _ = first_attempt("sqlite", tmp_path, body)
        assert outcome.value == [type(error).__name__, getattr(error, "code", None), [str(one) for one in error.args]]
        assert written(log, records.CALL_FAILED) == []
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("timeout", [None, 30.0])
    def test_an_interrupt_stops_the_run(
        self, timeout: float | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        @checkpoint(timeout=timeout)
        def interrupted() -> None:
            raise KeyboardInterrupt

        @flow
        def body() -> None:
            interrupted()

        with pytest.raises(KeyboardInterrupt):
            first_attempt("sqlite", tmp_path, body)
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("timeout", [None, 30.0])
    def test_an_exception_without_a_readable_text(
        self, timeout: float | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        @checkpoint(timeout=timeout)
        def fails() -> None:
            class Silent(Exception):  # noqa: N818
                def __str__(self) -> str:
                    raise ZeroDivisionError

            raise Silent

        @flow
        def body() -> None:
            fails()

        outcome, _, _ = first_attempt("sqlite", tmp_path, body)
        assert outcome.failure is not None
        assert outcome.failure["error"]["message"] == "(the exception has no readable text)"
        assert type(outcome.error).__name__ == "Silent"
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("kind", [Exception, BaseException])
    def test_what_cannot_leave_its_process_is_told_by_its_text(
        self, kind: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)  # as where there is none

        @checkpoint(timeout=30)
        def fails() -> None:
            raise type("Local", (kind,), {})("odd")

        @flow
        def body() -> str:
            try:
                fails()
            except BaseException as error:
                return repr(error)
            return ""

        expected = "RuntimeError" if kind is Exception else "BaseException"
        assert first_attempt("sqlite", tmp_path, body)[0].value == f"{expected}('Local: odd')"
