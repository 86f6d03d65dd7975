"""Many processes open a new journal at once: SQLite does not wait when the journal mode is changed, so we do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import crashing
from clary.journal.records import new_entry
from clary.journal.sqlite import SqliteLog

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_file_is_opened_by_all_who_come_at_once(tmp_path: Path) -> None:
    for number in range(15):
        path = tmp_path / str(number) / "journal.db"

        def write(seq: int, path: Path = path) -> int:
            log = SqliteLog(path, "R")
            stored = log.create(new_entry(seq, []))
            log.close()
            return 0 if stored else 1

        children = [crashing.fork(lambda seq=seq: write(seq)) for seq in range(1, 9)]  # type: ignore[misc]  # a default
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
        log = SqliteLog(path, "R")
        assert [entry["seq"] for entry in log.read()] == list(range(1, 9))
        log.close()
