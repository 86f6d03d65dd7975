from __future__ import annotations

import stat
from pathlib import Path

import pytest

from clary.files import size_text, write_whole


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


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_258_291, "1.2 MiB"), (5 * 1024**5, "5120.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text
