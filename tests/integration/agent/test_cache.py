"""The cache of a stack: filled by runs, listed, explained and cleared, here and in a bucket."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import cache, service
from clary.agent.place import place_of
from clary.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.agent.views import RunView
    from clary.stacks.model import Stack

FLOWS = """
from datetime import timedelta

from clary import Cache, checkpoint, flow
from steps import shape

SCALE = 2


@checkpoint(cache=True)
def prepare(rows: int) -> list:
    print("prepare", rows)
    return shape.widen(rows)


@checkpoint(cache=Cache(expires=timedelta(days=1), version="1"))
def fit(rows: list, rate: float = 0.5) -> float:
    print("fit", rate)
    return sum(rows) * rate * SCALE


@flow
def study(rows: int = 3, rate: float = 0.5) -> float:
    return fit(prepare(rows), rate)


@flow
def large() -> int:
    return len(prepare(100_000))
"""
SHAPE = """
def widen(rows):
    return list(range(rows))
"""


@pytest.fixture
def write(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the project anew with changes; imported modules of it are forgotten."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(flows: tuple[str, str] = ("", ""), shape: tuple[str, str] = ("", "")) -> None:
        (project / "steps").mkdir(exist_ok=True)
        (project / "steps" / "__init__.py").touch()
        (project / "study.py").write_text(FLOWS.replace(*flows, 1))
        (project / "steps" / "shape.py").write_text(SHAPE.replace(*shape, 1))
        for name in ("study", "steps", "steps.shape"):
            sys.modules.pop(name, None)

    written()
    return written


def _run(stack: Stack, flow: str = "study", **inputs: Any) -> RunView:
    return service.wait(stack, service.start(service.load_target(f"study.py:{flow}"), inputs, stack).id, 60)


def _reused(run: RunView) -> dict[str, bool]:
    return {call.path: call.origin is not None and call.origin["kind"] == "cache" for call in run.calls}


def _why(stack: Stack, run: RunView) -> dict[str, tuple[str, ...]]:
    return {one.path: one.reasons for one in cache.why(place_of(stack), run.id)}


def test_a_run_says_what_it_took_and_from_which_run(local: Stack, write: Any) -> None:
    first = _run(local)
    second = _run(local, rate=1.0)

    assert _reused(second) == {"prepare#1": True, "fit#1": False}
    assert second.calls[0].origin is not None
    assert (second.calls[0].origin["run"], second.calls[0].origin["path"]) == (first.id, "prepare#1")
    assert second.result == "6.0"
    found = cache.why(place_of(local), second.id)
    assert [(one.path, one.reused, one.run, one.call) for one in found] == [
        ("prepare#1", True, first.id, "prepare#1"),
        ("fit#1", False, first.id, "fit#1"),
    ]
    assert found[1].reasons == ("input rate: changed (0.5 before, 1.0 now)",)
    assert _why(local, first)["fit#1"] == ("no earlier run has left a result of this checkpoint",)


MORE = ("fit#1", "input more: new")


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"shape": ("range(rows)", "range(rows, 0, -1)")}, "prepare#1", "code of steps.shape:widen: changed"),
        ({"flows": ("SCALE = 2", "SCALE = 3")}, "fit#1", "value of study:SCALE: changed"),
        ({"flows": ('version="1"', 'version="2"')}, "fit#1", "the declared version"),
        ({"flows": ("* rate * SCALE", "* rate")}, "fit#1", "code of study:fit: changed"),
        (
            {"flows": ("rate: float = 0.5) -> float:\n    p", "rate: float = 0.5, more: int = 1) -> float:\n    p")},
            *MORE,
        ),
    ],
    ids=["helper", "constant", "version", "own code", "parameter"],
)
def test_a_miss_says_what_differs(local: Stack, write: Any, change: Any, path: str, reason: str) -> None:
    _run(local)
    write(**change)
    after = _run(local)
    assert not _reused(after)[path]
    assert reason in _why(local, after)[path]


def test_comments_and_what_is_not_called_change_nothing(local: Stack, write: Any) -> None:
    _run(local)
    write(shape=("def widen", "def other():\n    return 1\n\n\n# comment\ndef widen"))
    assert _reused(_run(local)) == {"prepare#1": True, "fit#1": True}


def test_an_expired_result_is_told_as_that(local: Stack, write: Any) -> None:
    _run(local)
    (file,) = Path(local.artifact_store, "cache", "fit").glob("*.json")
    entry = json.loads(file.read_bytes())
    entry["made"]["at"] -= 2 * 86400
    file.write_text(json.dumps(entry))
    assert _why(local, _run(local))["fit#1"] == ("the result that was kept had expired",)


def test_listing_and_clearing(local: Stack, write: Any) -> None:
    place = place_of(local)
    assert cache.entries(place) == []
    first = _run(local)
    _run(local, "large")
    found = cache.entries(place)
    assert [one.checkpoint for one in found] == ["prepare", "fit", "prepare"]
    assert found[0].size
    assert {one.run for one in found[1:]} == {first.id}
    assert [one.checkpoint for one in cache.entries(place, "fit")] == ["fit"]
    with pytest.raises(NotFoundError, match="Did you mean 'fit'"):
        cache.entries(place, "fitt")

    values = sorted(Path(local.artifact_store, "values").iterdir())
    assert cache.clear(place, older_than=3600) == 0
    assert cache.clear(place, "fit") == 1
    Path(local.artifact_store, found[0].key).write_text("damaged")
    assert len(cache.entries(place)) == 1
    assert cache.clear(place, older_than=3600) == 1
    assert cache.clear(place) == 1
    assert cache.entries(place) == []
    assert sorted(Path(local.artifact_store, "values").iterdir()) == values
    assert not any(_reused(_run(local)).values())


def test_jobs_share_the_cache_of_their_bucket(stack: Stack, write: Any, keys: Callable[[], list[str]]) -> None:
    first = _run(stack, "large")
    second = _run(stack, "large")

    assert (first.result, second.result) == ("100000", "100000")
    assert _reused(second) == {"prepare#1": True}
    assert len([key for key in keys() if key.startswith("values/")]) == 1
    place = place_of(stack)
    assert [(one.checkpoint, one.run) for one in cache.entries(place)] == [("prepare", first.id)]
    write(shape=("list(range(rows))", "list(range(rows))[:7]"))
    third = _run(stack, "large")
    assert third.result == "7"
    assert _why(stack, third)["prepare#1"] == ("code of steps.shape:widen: changed",)
    assert cache.clear(place) == 2
    assert not [key for key in keys() if key.startswith("cache/")]
