"""Each entity of the store: kept, found, replaced, forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clary.agent.views import CallView, RunView
from clary.control import projects, runs, settings, stacks
from clary.control.database import Connection, Database


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """A transaction on a new store."""
    with Database(tmp_path / "clary.db").transaction() as connection:
        yield connection


def view(identifier: str, **changes: Any) -> dict[str, Any]:
    call = CallView("train#1", "train", "completed", 1, 1.0, 2.0)
    run = RunView(identifier, "digits", changes.pop("stack", "local"), "running", 5.0, calls=(call,))
    return run.to_dict() | changes


def test_settings(connection: Connection) -> None:
    assert settings.get(connection, "x") is None
    settings.put(connection, "x", "1")
    settings.put(connection, "x", "2")
    assert settings.get(connection, "x") == "2"
    settings.remove(connection, "x")
    settings.remove(connection, "x")
    assert settings.get(connection, "x") is None


def test_stacks(connection: Connection) -> None:
    made = stacks.add(connection, name="b", type_="sagemaker", document={"name": "b", "settings": {"k": [1]}})
    stacks.add(connection, name="a", type_="local", document={"name": "a"})
    assert stacks.get(connection, "b") == made == stacks.by_id(connection, made.id)
    assert [row.name for row in stacks.every(connection)] == ["a", "b"]
    assert stacks.replace(connection, "b", {"name": "b", "region": "r"})
    replaced = stacks.get(connection, "b")
    assert replaced is not None
    assert (replaced.id, replaced.document) == (made.id, {"name": "b", "region": "r"})
    assert not stacks.replace(connection, "zz", {})
    assert stacks.remove(connection, "b")
    assert not stacks.remove(connection, "b")
    assert stacks.get(connection, "b") is None


def test_runs_keep_the_newest_view(connection: Connection) -> None:
    runs.remember(connection, view("01AAAA"), seen=10.0)
    runs.remember(connection, view("01AAAA", status="completed"), seen=20.0)
    runs.remember(connection, view("01AAAA", status="starting"), seen=15.0)  # read earlier, stored later
    kept = runs.get(connection, "01AAAA")
    assert kept is not None
    assert (kept.status, kept.updated, kept.view["status"]) == ("completed", 20.0, "completed")
    assert kept.view["calls"][0]["path"] == "train#1"
    runs.forget(connection, "01AAAA")
    assert runs.get(connection, "01AAAA") is None


def test_runs_are_found_by_the_beginning_of_their_id(connection: Connection) -> None:
    for number, (identifier, stack) in enumerate([("01AAAA", "local"), ("01AABB", "gpu"), ("02%AAA", "gpu")]):
        runs.remember(connection, view(identifier, stack=stack, created=float(number)))
    assert [row.id for row in runs.matching(connection, "01aa")] == ["01AABB", "01AAAA"]
    assert [row.id for row in runs.matching(connection, "01AA", stack="local")] == ["01AAAA"]
    assert runs.matching(connection, "%") == []  # no wildcard
    assert [row.id for row in runs.newest(connection, limit=2)] == ["02%AAA", "01AABB"]
    assert [row.id for row in runs.newest(connection, stack="gpu", status="running")] == ["02%AAA", "01AABB"]
    assert runs.newest(connection, status="failed") == []


def test_projects(connection: Connection) -> None:
    assert projects.root_of(connection, "R1") is None
    projects.remember(connection, "R1", Path("/srv/first"))
    projects.remember(connection, "R1", Path("/srv/second"))
    assert projects.root_of(connection, "R1") == Path("/srv/second")
    assert projects.root_of(connection, "R2") is None
