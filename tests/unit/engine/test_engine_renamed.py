"""A checkpoint that was given another name is told as such: what it did under the old one is not done again unseen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clary.engine import divergence
from clary.errors import DivergenceError
from clary.flows import Checkpoint, checkpoint, flow
from durable import KINDS, attempt, claim, first_attempt

RAN: Counter[str] = Counter()


def fit(number: int) -> int:
    RAN["fit"] += 1
    return number


def named(name: str) -> Checkpoint[Any, int]:
    return checkpoint(name=name)(fit)


@pytest.mark.parametrize("kind", KINDS)
def test_a_renamed_checkpoint_is_an_error_with_ways_out(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RAN.clear()
    steps = {"fit": named("fit_of_before")}

    @flow
    def body() -> int:
        value = steps["fit"](1)
        if RAN["fit"] < 2:
            raise RuntimeError("later")
        return value

    _, log, store = first_attempt(kind, tmp_path, body)
    monkeypatch.setattr(divergence, "DECLARED", set())  # a new process, in which nothing has the old name
    steps["fit"] = named("fit_of_now")
    claim(log, 2)
    outcome = attempt(log, store, body, 2)
    assert isinstance(outcome.error, DivergenceError)
    assert "recorded fit_of_before, now fit_of_now" in outcome.error.summary
    assert RAN["fit"] == 1
    claim(log, 3, on_change="accept")
    RAN["fit"] = 5
    assert attempt(log, store, body, 3).value == 1
    assert RAN["fit"] == 5


def test_two_checkpoints_of_one_function_are_not_taken_for_each_other(tmp_path: Path) -> None:
    RAN.clear()
    one, other = named("one"), named("other")

    @flow
    def body(first: bool) -> list[int]:
        if RAN["fit"] == 0:
            other(1)
            raise RuntimeError("killed before the first one was recorded")
        return [one(1), other(1)]

    _, log, store = first_attempt("sqlite", tmp_path, body, first=True)
    claim(log, 2)
    assert attempt(log, store, body, 2).value == [1, 1]
