"""Each entity of the store: kept, found, replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clary.agent.views import CallView, RunView
from clary.control import components, projects, runs, settings, stacks
from clary.control.database import Connection, Database


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """A transaction on a new store."""
    with Database(tmp_path / "clary.db").transaction() as connection:
        yield connection


def view(identifier: str, **changes: Any) -> dict[str, Any]:
    call = CallView("train#1", "train", "completed", 1, 1.0, 2.0)
    run = RunView(identifier, "digits", "local", "running", 5.0, calls=(call,))
    return run.to_dict() | changes


def test_settings(connection: Connection) -> None:
    assert settings.get(connection, "x") is None
    settings.put(connection, "x", "1")
    settings.put(connection, "x", "2")
    assert settings.get(connection, "x") == "2"


def test_stacks(connection: Connection) -> None:
    made = stacks.add(connection, name="b", type_="sagemaker", components={"orchestrator": "1"}, managed=True)
    stacks.add(connection, name="a", type_="local", components={}, managed=False)
    assert stacks.get(connection, "b") == made == stacks.by_id(connection, made.id)
    assert [row.name for row in stacks.every(connection)] == ["a", "b"]
    stacks.replace(connection, made.id, name="c", type_="local", components={"orchestrator": "2"}, managed=False)
    replaced = stacks.get(connection, "c")
    assert replaced is not None
    assert (replaced.id, replaced.components, replaced.managed) == (made.id, {"orchestrator": "2"}, False)
    assert stacks.remove(connection, made.id)
    assert not stacks.remove(connection, made.id)
    assert stacks.get(connection, "c") is None


def test_components(connection: Connection) -> None:
    document = {"options": {"path": "/x"}, "provides": {"artifact_store": "/x"}}
    made = components.add(connection, kind="artifact_store", name="b", flavor="local", document=document)
    components.add(connection, kind="orchestrator", name="b", flavor="local", document={})
    assert components.get(connection, "artifact_store", "b") == made
    assert [row.kind for row in components.every(connection)] == ["artifact_store", "orchestrator"]
    assert components.every(connection, "artifact_store") == [made]
    components.replace(connection, made.id, name="c", flavor="s3", document={"options": {}})
    replaced = components.get(connection, "artifact_store", "c")
    assert replaced is not None
    assert (replaced.id, replaced.flavor, replaced.document) == (made.id, "s3", {"options": {}})
    components.remove(connection, made.id)
    assert components.get(connection, "artifact_store", "c") is None


def test_runs_keep_the_newest_view(connection: Connection) -> None:
    runs.remember(connection, view("01AAAA"), seen=10.0)
    runs.remember(connection, view("01AAAA", status="completed"), seen=20.0)
    runs.remember(connection, view("01AAAA", status="starting"), seen=15.0)  # read earlier, stored later
    kept = runs.get(connection, "01AAAA")
    assert kept is not None
    assert (kept.status, kept.updated, kept.view["status"]) == ("completed", 20.0, "completed")
    assert kept.view["calls"][0]["path"] == "train#1"
    assert runs.get(connection, "01BBBB") is None


def test_projects(connection: Connection) -> None:
    assert projects.root_of(connection, "R1") is None
    projects.remember(connection, "R1", Path("/srv/first"))
    projects.remember(connection, "R1", Path("/srv/second"))
    assert projects.root_of(connection, "R1") == Path("/srv/second")
    assert projects.root_of(connection, "R2") is None
