"""A local record that cannot be written says so at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from clary.errors import JournalError, Retry
from clary.journal.records import new_entry
from clary.journal.sqlite import SqliteLog
from clary.journal.writer import store

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_file_is_told_at_once_and_not_tried_for_minutes(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "journal.db", "R")
    pages = log._connection.execute("PRAGMA page_count").fetchone()[0]
    log._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then says what it says of a full disk
    started = time.monotonic()
    with pytest.raises(JournalError, match="full") as refused:
        store(log, new_entry(1, [{"kind": "logged", "values": {"text": "x" * 100_000}}]))
    assert refused.value.code == "journal.unwritable"
    assert refused.value.retry is Retry.NO
    assert time.monotonic() - started < 60
    log.close()
