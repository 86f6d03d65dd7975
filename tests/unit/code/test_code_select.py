from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from clary.code.select import Selection, select
from clary.errors import UsageError, ValidationError

needs_git = pytest.mark.skipif(
    shutil.which("git") is None and not os.environ.get("CI"), reason="git is not installed on this machine"
)


def _make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def _git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def _paths(selection: Selection) -> list[str]:
    return [file.path for file in selection.files]


def test_a_tree_without_git_is_walked_without_clutter_and_secrets(tmp_path: Path) -> None:
    _make(tmp_path, "flow.py", "pkg/mod.py", "data/small.csv", ".hidden", ".env.example")
    _make(tmp_path, "pkg/__pycache__/mod.pyc", ".venv/x.py", "other/pyvenv.cfg", "other/lib/y.py", "node_modules/z.js")
    _make(tmp_path, ".env", "conf/.env.production", "conf/tls.key", "id_rsa", ".aws/credentials")

    selection = select(tmp_path)

    assert _paths(selection) == [".env.example", ".hidden", "data/small.csv", "flow.py", "pkg/mod.py"]
    assert selection.withheld == (".aws", ".env", "conf/.env.production", "conf/tls.key", "id_rsa")


@needs_git
def test_git_names_what_it_tracks_and_what_is_new_and_not_ignored(tmp_path: Path) -> None:
    _make(tmp_path, "flow.py", "gone.py", "data/big.bin", ".env", "sub/new.py")
    (tmp_path / ".gitignore").write_text("data/\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "flow.py", "gone.py", ".env")
    (tmp_path / "gone.py").unlink()

    selection = select(tmp_path)

    assert _paths(selection) == [".gitignore", "flow.py", "sub/new.py"]
    assert selection.withheld == (".env",)


@needs_git
def test_a_project_below_the_repository_s_top_sends_only_itself(tmp_path: Path) -> None:
    _make(tmp_path, "elsewhere.py", "project/flow.py")
    _git(tmp_path, "init", "-q")

    assert _paths(select(tmp_path / "project")) == ["flow.py"]


@needs_git
def test_a_project_that_the_repository_around_it_ignores_is_walked(tmp_path: Path) -> None:
    _make(tmp_path, "scratch/flow.py")
    (tmp_path / ".gitignore").write_text("scratch/\n")
    _git(tmp_path, "init", "-q")

    assert _paths(select(tmp_path / "scratch")) == ["flow.py"]


@needs_git
def test_submodules_travel(tmp_path: Path) -> None:
    library, project = tmp_path / "library", tmp_path / "project"
    _make(library, "lib.py")
    _git(library, "init", "-q")
    _git(library, "add", ".")
    _git(library, "commit", "-qm", "x")
    _make(project, "flow.py")
    _git(project, "init", "-q")
    _git(project, "submodule", "add", "-q", str(library), "vendor")

    assert _paths(select(project)) == [".gitmodules", "flow.py", "vendor/lib.py"]


@pytest.mark.parametrize("git", [False, pytest.param(True, marks=needs_git)])
def test_claryignore_takes_out_and_takes_back(tmp_path: Path, git: bool) -> None:
    _make(tmp_path, "flow.py", "notes/a.md", "data/big.bin", "data/deep/x.bin", "certs/ca.pem", "certs/own.pem")
    (tmp_path / ".claryignore").write_text("data/\n*.md\n!certs/ca.pem\n")
    if git:
        _git(tmp_path, "init", "-q")
        _git(tmp_path, "add", ".")

    assert _paths(select(tmp_path)) == [".claryignore", "certs/ca.pem", "flow.py"]


def test_links_inside_the_tree_travel_as_relative_links(tmp_path: Path) -> None:
    _make(tmp_path, "pkg/mod.py")
    (tmp_path / "short.py").symlink_to("pkg/mod.py")
    (tmp_path / "pkg" / "absolute.py").symlink_to(tmp_path / "pkg" / "mod.py")

    links = {file.path: file.link for file in select(tmp_path).files}

    assert links == {"pkg/absolute.py": "mod.py", "pkg/mod.py": None, "short.py": "pkg/mod.py"}


@pytest.mark.parametrize("target", ["../outside.py", "/etc/hostname", "chain"])
def test_links_out_of_the_tree_are_refused(tmp_path: Path, target: str) -> None:
    root = tmp_path / "project"
    _make(root, "flow.py")
    _make(tmp_path, "outside.py")
    (root / "chain").symlink_to("../outside.py")
    (root / "link.py").symlink_to(target)

    with pytest.raises(UsageError) as caught:
        select(root)

    assert caught.value.code == "code.link_outside"
    (root / ".claryignore").write_text("link.py\nchain\n")
    assert "flow.py" in _paths(select(root))


def test_a_tree_that_is_too_large_is_refused_with_the_biggest_files(tmp_path: Path) -> None:
    _make(tmp_path, "flow.py")
    (tmp_path / "big.bin").write_bytes(b"x" * 3000)
    (tmp_path / "bigger.bin").write_bytes(b"x" * 5000)

    with pytest.raises(ValidationError) as caught:
        select(tmp_path, limit=6000)

    assert caught.value.code == "code.too_large"
    assert "bigger.bin (4.9 KiB), big.bin (2.9 KiB)" in caught.value.summary


def test_sockets_and_the_like_stay_behind(tmp_path: Path) -> None:
    _make(tmp_path, "flow.py")
    os.mkfifo(tmp_path / "pipe")

    assert _paths(select(tmp_path)) == ["flow.py"]
