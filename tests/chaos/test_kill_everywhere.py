"""A run is killed at every boundary of every call and inside every write, and each time goes on where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import crashing
from durable import KINDS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flow", crashing.FLOWS)
@pytest.mark.parametrize("point", crashing.POINTS)
def test_killed_at_every_point_a_run_goes_on_where_it_was(kind: str, flow: str, point: str, tmp_path: Path) -> None:
    deaths = 0
    for number in range(1, 100):
        folder = tmp_path / str(number)
        crashing.start(kind, folder)
        status = crashing.forked_attempt(kind, folder, flow, 1, crashing.Death(point, number))
        if not crashing.is_killed(status):
            assert status == 0
            crashing.check(kind, folder, flow)
            break
        deaths += 1
        crashing.take_over(kind, folder, 2)
        if not crashing.is_completed(kind, folder):  # else it died behind its last write
            assert crashing.forked_attempt(kind, folder, flow, 2) == 0
        crashing.check(kind, folder, flow)
    if point in ("enter", "leave"):
        assert deaths == crashing.CALLS[flow]
    elif "put" in point:
        assert deaths >= 8
    else:
        assert deaths >= (2 if flow == "threads" else 0)


def test_the_check_sees_a_call_that_ran_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above rely on: an engine that forgets its record does not pass."""
    crashing.start("sqlite", tmp_path)
    assert crashing.is_killed(crashing.forked_attempt("sqlite", tmp_path, "threads", 1, crashing.Death("enter", 5)))
    crashing.take_over("sqlite", tmp_path, 2)
    monkeypatch.setattr("clary.engine.execution.Execution.is_recorded", lambda _self, _call: False)
    assert crashing.forked_attempt("sqlite", tmp_path, "threads", 2) == 0
    with pytest.raises(AssertionError):
        crashing.check("sqlite", tmp_path, "threads")
