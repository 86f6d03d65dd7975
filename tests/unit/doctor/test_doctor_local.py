"""The checks of a stack that runs on this machine, in folders of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clary.doctor import local
from clary.doctor.findings import Finding, Status
from clary.doctor.runner import run
from clary.doctor.subject import Subject
from clary.stacks.model import local_stack


def look(name: str, folder: Path) -> Finding:
    (check,) = [check for check in local.CHECKS if check.name == name]
    (result,) = run([check], Subject(local_stack(str(folder))))
    return result.finding


def test_a_folder_that_is_there_or_can_be_made(tmp_path: Path) -> None:
    assert look("folder", tmp_path).status is Status.OK
    later = look("folder", tmp_path / "not" / "yet")
    assert (later.status, "will be made" in later.summary) == (Status.OK, True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Even root cannot write into the process table."""
    if not Path("/proc/self").is_dir():
        pytest.skip("needs /proc, a folder that nobody can write into")
    found = look("folder", Path("/proc/self"))
    assert found.status is Status.FAILED
    assert "CLARY_HOME" in str(found.fix)


@pytest.mark.parametrize(
    ("free", "status"),
    [(local.TOO_LITTLE - 1, Status.FAILED), (local.LITTLE - 1, Status.WARNING), (1 << 40, Status.OK)],
)
def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: Status) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert look("disk", tmp_path / "later").status is status


@pytest.mark.parametrize(("mode", "status"), [("wal", Status.OK), ("delete", Status.WARNING)])
def test_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, status: Status) -> None:
    monkeypatch.setattr(local, "journal_mode", lambda _: mode)
    assert look("journal", tmp_path).status is status
