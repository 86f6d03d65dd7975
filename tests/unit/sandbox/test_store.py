from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clary.sandbox.clock import SandboxClock
from clary.sandbox.model import Job, JobKind
from clary.sandbox.store import NameTaken, SqliteJobStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteJobStore]:
    store = SqliteJobStore(tmp_path / "jobs.db", lambda since: SandboxClock(not_before=since))
    yield store
    store.close()


def job(name: str = "j", kind: JobKind = JobKind.TRAINING, **describe: Any) -> Job:
    first = {"Status": "Starting", "StartTime": 1.0, "StatusMessage": ""}
    training = {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting", "SecondaryStatusTransitions": [first]}
    status = training if kind is JobKind.TRAINING else {"ProcessingJobStatus": "InProgress"}
    return Job(
        kind=kind,
        name=name,
        arn=f"arn:aws:sagemaker:us-east-1:1:{kind}-job/{name}",
        account="1",
        region="us-east-1",
        request={"RoleArn": "r"},
        describe={**status, "CreationTime": 1.0, "LastModifiedTime": 1.0, **describe},
        version=1,
    )


def test_changes_made_from_an_old_copy_are_merged(store: SqliteJobStore) -> None:
    old = store.create(job(), {})
    store.update(old, {"A": 1, "B": 1})
    new = store.update(old, {"B": 2, "C": 3})
    assert {name: new.describe[name] for name in "ABC"} == {"A": 1, "B": 2, "C": 3}
    assert new.version == 3
    assert "A" not in store.update(old, {"A": None}).describe


def test_transitions_close_what_was_before(store: SqliteJobStore) -> None:
    made = store.create(job(), {})
    store.transition(made, "Training", "runs")
    store.transition(made, "Training", "still runs")
    ended = store.transition(made, "Completed", "done", status="Completed", BillableTimeInSeconds=3)
    history = ended.describe["SecondaryStatusTransitions"]
    assert [entry["Status"] for entry in history] == ["Starting", "Training", "Completed"]
    assert history[1]["StatusMessage"] == "still runs"
    assert history[0]["EndTime"] <= history[1]["StartTime"] <= history[1]["EndTime"]
    assert "EndTime" in history[2]
    assert ended.describe["BillableTimeInSeconds"] == 3


def test_a_terminal_status_is_never_left(store: SqliteJobStore) -> None:
    made = store.create(job(), {})
    store.transition(made, "Stopped", "stopped", status="Stopped")
    late = store.transition(made, "Completed", "done", status="Completed")
    assert (late.status, late.describe["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert store.unfinished() == []


def test_processing_jobs_have_no_transitions(store: SqliteJobStore) -> None:
    made = store.create(job(kind=JobKind.PROCESSING), {})
    ended = store.transition(made, "Completed", "done", status="Completed")
    assert ended.status == "Completed"
    assert "SecondaryStatusTransitions" not in ended.describe


def test_a_name_is_taken_in_its_kind_only(store: SqliteJobStore) -> None:
    store.create(job(), {})
    store.create(job(kind=JobKind.PROCESSING), {})
    with pytest.raises(NameTaken, match="training-job/j"):
        store.create(job(), {})


def test_a_refused_create_leaves_nothing(store: SqliteJobStore) -> None:
    def refuse() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        store.create(job(), {"a": "b"}, check=refuse)
    assert store.unfinished() == []
    assert store.tags(job().arn) == {}
    assert store.undelivered() == []


def test_only_changed_statuses_are_told_and_in_order(store: SqliteJobStore) -> None:
    made = store.create(job(), {"team": "a"})
    store.update(made, {"FinalMetricDataList": []})
    store.transition(made, "Training", "runs")
    events = store.undelivered()
    assert [event.detail["SecondaryStatus"] for event in events] == ["Starting", "Training"]
    assert events[0].detail["Tags"] == {"team": "a"}
    store.delivered(events[0])
    assert [event.id for event in store.undelivered()] == [events[1].id]


def test_everything_is_there_after_reopening(store: SqliteJobStore, tmp_path: Path) -> None:
    made = store.update(store.create(job(), {"a": "b"}), {"X": [1]})
    again = SqliteJobStore(tmp_path / "jobs.db", lambda since: SandboxClock(not_before=since))
    assert again.get(JobKind.TRAINING, "j", account="1", region="us-east-1") == made
    assert again.tags(made.arn) == {"a": "b"}
    assert again.clock.now() >= made.describe["LastModifiedTime"]
    assert len(again.undelivered()) == 1
    again.close()
