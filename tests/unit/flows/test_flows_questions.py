"""Answers as values of a type: what fits, what becomes of it, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest

from clary import checkpoint, flow, wait
from clary.agent import answers
from clary.errors import UsageError, ValidationError
from clary.flows.questions import read, schema_of
from clary.journal import records
from clary.journal.writer import append
from durable import attempt, claim, first_attempt, state_of, written


class Level(enum.Enum):
    LOW = 1
    HIGH = "high"


class Day(pydantic.BaseModel):
    number: int
    day: datetime.date


class Week(pydantic.BaseModel):
    days: list[Day] = []


class Even(pydantic.BaseModel):
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def is_even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("odd numbers are not for us")
        return number


@dataclasses.dataclass
class Range:
    low: int
    high: int = 9
    width: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise KeyError(self.low)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (int, 3.0, 3),
        (int, 1e3, 1000),
        (float, 3, 3.0),
        (list[int], [1.0, 2], [1, 2]),
        (dict[str, int], {"a": 1.0}, {"a": 1}),
        (dict[int, str], {"1": "x", "-20": "y"}, {1: "x", -20: "y"}),
        (dict[float, str], {"1.5": "x", "2": "y"}, {1.5: "x", 2.0: "y"}),
        (dict[bool, int], {"true": 1}, {True: 1}),
        (dict[Level, int], {"1": 1, "high": 2}, {Level.LOW: 1, Level.HIGH: 2}),
        (dict[Literal["a", 2], int], {"2": 1}, {2: 1}),
        (Literal["a", 1], 1.0, 1),
        (Literal[1, True], True, True),
        (Literal[Level.HIGH], "high", Level.HIGH),
        (Level, 1.0, Level.LOW),
        (int | None, 3.0, 3),
        (int | float, 3.0, 3.0),
        (bool | int, 1.0, 1),
        (list[int] | list[str], ["a"], ["a"]),
        (set, [1, "a"], {1, "a"}),
        (Range, {"low": 1.0}, Range(1)),
        (list[Week], [{"days": [{"number": 1.0, "day": "2024-05-06"}]}], None),
        (Week | None, {"days": [{"number": 1, "day": "2024-05-06"}]}, None),
        (dict[str, Week | list[Week]], {"a": {}, "b": [{}]}, None),
    ],
)
def test_an_answer_that_fits_is_a_value_of_the_very_type(kind: Any, given: Any, value: Any) -> None:
    assert answers.fits(schema_of(kind), given)
    found = read(kind, given)
    if value is not None:
        assert (found, repr(found)) == (value, repr(value))


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (int, 3.5),
        (int, True),
        (int, "3"),
        (str, 3),
        (bool, 1),
        (list[int], [1.5]),
        (list[int], {"a": 1}),
        (dict[int, str], {"a": "x"}),
        (dict[int, str], {"01": "x"}),
        (dict[bool, int], {"yes": 1}),
        (dict[Level, int], {"2": 1}),
        (Literal["a", 1], True),
        (Level, "low"),
        (int | None, "x"),
        (set, [[1]]),
        (Range, {"low": 1, "width": 3}),
        (Range, {"low": 1, "depth": 3}),
        (Day, {"number": 1, "day": "x"}),
        (list[Week], [{"days": [{"number": 1, "day": "2024-13-01"}]}]),
        (Week | None, {"days": [{"number": 1, "day": 3.5}]}),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_where_it_is_given(kind: Any, given: Any) -> None:
    assert not answers.fits(schema_of(kind), given)
    if given != {"01": "x"}:  # what the flow would take
        with pytest.raises((ValueError, TypeError)):
            read(kind, given)


@pytest.mark.parametrize(
    ("format_", "good", "bad"),
    [
        ("date", "2024-05-06", "6.5.2024"),
        ("date-time", "2024-05-06T12:00:00Z", "noon"),
        ("time", "12:00", "25:00"),
        ("duration", "PT5M", "5 minutes"),
        ("uuid", "12345678-1234-5678-1234-567812345678", "12345"),
        ("uuid4", "c0ffee00-0000-4000-8000-000000000000", "c0ffee00-0000-1000-8000-000000000000"),
        ("email", "somebody@example.com", "somebody"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6network", "fe80::/64", "fe80::/640"),
        ("ipvanyaddress", "::1", "localhost"),
        ("uri", "https://example.com/a", "example"),
        ("base64", "/w==", "/w"),
        ("regex", "a+", "a("),
    ],
)
def test_formats_of_texts_are_checked(format_: str, good: str, bad: str) -> None:
    schema = {"type": "string", "format": format_}
    assert answers.fits(schema, good)
    assert not answers.fits(schema, bad)


def test_keys_that_no_text_can_stand_for_are_no_type_of_an_answer() -> None:
    with pytest.raises(UsageError) as caught:
        schema_of(dict[tuple[int, int], str])
    assert caught.value.code == "wait.bad_type"


@checkpoint
def counted(number: int) -> int:
    return number


@flow
def asks() -> Any:
    counted(1)
    counted(2)
    return wait("how many", Even)


@flow
def asks_first() -> Any:
    return wait("range", Range)


@pytest.mark.parametrize(
    ("body", "given", "step"),
    [
        (asks, {"number": 3}, "--at 'counted#2' --skip 'counted#2'"),
        (asks_first, {"low": 10}, "start a new run, which asks again"),
    ],
)
def test_an_answer_that_only_the_type_refuses_says_what_can_be_done(
    tmp_path: Path, body: Any, given: Any, step: str
) -> None:
    _, log, store = first_attempt("sqlite", tmp_path, body)
    [asked] = state_of(log).open_waits()
    assert answers.fits(asked["schema"], given)
    append(log, state_of(log), lambda _now: [records.answer(asked["path"], records.ANSWERED, given, "somebody")])
    claim(log, 2)
    error = attempt(log, store, body, 2).error
    assert isinstance(error, ValidationError)
    assert error.code == "wait.unusable_answer"
    assert f"The recorded answer to “{asked['name']}”" in error.summary
    assert "clary runs resume" in error.next_step
    assert step in error.next_step


@pytest.mark.parametrize(
    ("kind", "default", "fits"),
    [
        (Literal["a", "b"], "c", False),
        (int, "notint", False),
        (int, None, True),
        (dict[int, str], {"x": "y"}, False),
        (Even, {"number": 3}, False),
        (Even, {"number": 2}, True),
        (Literal["a", "b"], "b", True),
        (int | None, None, True),
        (list[int], (1, 2), True),
        (None, {"any": 1}, True),
    ],
)
def test_a_default_has_to_fit_the_type(tmp_path: Path, kind: Any, default: Any, fits: bool) -> None:
    @flow
    def body() -> Any:
        try:
            return wait("x", kind, expires=3600, default=default)
        except UsageError as error:
            return error.code

    outcome, log, _ = first_attempt("sqlite", tmp_path, body)
    if fits:
        assert outcome.status == "waiting"
    else:
        assert outcome.value == "wait.bad_question"
        assert written(log, records.WAIT) == []


def test_a_name_that_is_no_text_cannot_be_asked_for(tmp_path: Path) -> None:
    @flow
    def body() -> Any:
        name: Any = 5
        return wait(name, int)

    error = first_attempt("sqlite", tmp_path, body)[0].error
    assert isinstance(error, UsageError)
    assert error.code == "wait.bad_question"
