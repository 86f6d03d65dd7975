from __future__ import annotations

from pathlib import Path

import pytest

from clary.code.project import MARKERS, find_project


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


@pytest.mark.parametrize("marker", MARKERS)
def test_the_nearest_marked_folder_is_the_root(tmp_path: Path, marker: str) -> None:
    _file(tmp_path / "outer" / "pyproject.toml")
    _file(tmp_path / "outer" / "inner" / marker)
    file = _file(tmp_path / "outer" / "inner" / "deep" / "er" / "flow.py")

    project = find_project(file)

    assert project.root == (tmp_path / "outer" / "inner").resolve()
    assert project.entry == "deep/er/flow.py"


def test_without_a_marker_the_folder_of_the_file_is_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # whatever lies above it plays no part
    file = _file(tmp_path / "a" / "b" / "flow.py")

    project = find_project(file)

    assert project.entry == "flow.py"
    assert project.root == file.parent.resolve()


def test_the_home_folder_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _file(tmp_path / "pyproject.toml")
    file = _file(tmp_path / "scratch" / "flow.py")

    assert find_project(file).root == file.parent.resolve()
