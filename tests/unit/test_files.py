from __future__ import annotations

import stat
from pathlib import Path

import pytest

from clary.files import write_whole


def test_a_file_is_private_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_whole(path, "first")
    with path.open() as reader:
        write_whole(path, "sécond")
        assert reader.read() == "first"
    assert path.read_text(encoding="utf-8") == "sécond"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


def test_what_cannot_be_written_leaves_nothing_and_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_whole(path, "first")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "first"
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]
