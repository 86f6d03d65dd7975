"""A run is killed at every boundary of every call and inside every write, and each time goes on where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import crashing
from durable import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flow", crashing.STRAIGHT)
@pytest.mark.parametrize("point", crashing.POINTS)
def test_killed_at_every_point_a_run_goes_on_where_it_was(kind: str, flow: str, point: str, tmp_path: Path) -> None:
    deaths = killed_at_each(kind, flow, point, range(1, 100), tmp_path)
    if point in ("enter", "leave"):
        assert deaths == crashing.CALLS[flow]
    elif "put" in point:
        assert deaths >= 8
    else:
        assert deaths >= (2 if flow == "threads" else 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flow", sorted(crashing.FLOWS.keys() - set(crashing.STRAIGHT)))
@pytest.mark.parametrize("point", [point for point in crashing.POINTS if "value" not in point])
def test_killed_between_tries_waiting_and_asleep_a_run_goes_on(
    kind: str, flow: str, point: str, tmp_path: Path
) -> None:
    """The death may come in any of the attempts that such a run takes; each kind of log takes points of its own."""
    assert killed_at_each(kind, flow, point, range(1 + KINDS.index(kind), 100, 3), tmp_path) >= 3


def killed_at_each(kind: str, flow: str, point: str, numbers: Iterable[int], folder: Path) -> int:
    """Let a run die at each of the points that it reaches, and go on; return at how many that was."""
    deaths = 0
    for number in numbers:
        place = folder / str(number)
        crashing.start(kind, place)
        death = crashing.Death(point, number)
        crashing.go_on(kind, place, flow, 0, death)
        crashing.check(kind, place, flow)
        if not death.has_struck:
            break
        deaths += 1
    return deaths


def test_the_check_sees_a_call_that_ran_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above rely on: an engine that forgets its record does not pass."""
    crashing.start("sqlite", tmp_path)
    assert crashing.is_killed(crashing.forked_attempt("sqlite", tmp_path, "threads", 1, crashing.Death("enter", 5)))
    crashing.take_over("sqlite", tmp_path, 2)
    monkeypatch.setattr("clary.engine.execution.Execution.is_recorded", lambda _self, _call: False)
    assert crashing.forked_attempt("sqlite", tmp_path, "threads", 2) == 0
    with pytest.raises(AssertionError):
        crashing.check("sqlite", tmp_path, "threads")
