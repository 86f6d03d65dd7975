from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clary.code import archive, snapshot
from clary.errors import JournalError, UsageError


def _project(root: Path) -> Path:
    (root / "pkg").mkdir(parents=True)
    (root / "flow.py").write_text("print('flow')\n")
    (root / "pkg" / "mod.py").write_text("x = 1\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link.py").symlink_to("pkg/mod.py")
    (root / "näme.txt").write_text("ü")
    return root


def test_the_same_tree_gives_the_same_digest_and_bytes(tmp_path: Path) -> None:
    first, second = _project(tmp_path / "a"), _project(tmp_path / "b")
    os.utime(second / "flow.py", (1, 1))
    (second / "pkg" / "mod.py").chmod(0o600)

    taken = [snapshot.take(root, tmp_path / "cache") for root in (first, second)]
    for number, each in enumerate(taken):
        each.pack(tmp_path / f"{number}.tar.gz")

    assert taken[0].digest == taken[1].digest
    assert (tmp_path / "0.tar.gz").read_bytes() == (tmp_path / "1.tar.gz").read_bytes()
    assert taken[0].key == f"code/{taken[0].digest}.tar.gz"


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "flow.py").write_text("print('flaw')\n"),
        lambda root: (root / "flow.py").rename(root / "flows.py"),
        lambda root: (root / "flow.py").chmod(0o755),
        lambda root: (root / "new.py").touch(),
        lambda root: ((root / "link.py").unlink(), (root / "link.py").symlink_to("flow.py")),
    ],
    ids=["content", "name", "mode", "new file", "link"],
)
def test_every_change_gives_another_digest(tmp_path: Path, change: Callable[[Path], object]) -> None:
    root = _project(tmp_path / "a")
    before = snapshot.take(root, tmp_path / "cache").digest

    change(root)

    assert snapshot.take(root, tmp_path / "cache").digest != before


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _project(tmp_path / "a")
    monkeypatch.setattr(snapshot, "_SETTLED_NS", -time.time_ns())  # as if the files had been written long ago
    first = snapshot.take(root, tmp_path / "cache")
    read: list[Path] = []

    def reading(path: Path) -> str:
        read.append(path)
        return "0" * 64

    monkeypatch.setattr(archive, "content_digest", reading)

    again = snapshot.take(root, tmp_path / "cache")

    assert read == []
    assert again.digest == first.digest
    (root / "flow.py").write_text("print('FLOW')\n")  # the same size
    assert snapshot.take(root, tmp_path / "cache").digest != first.digest
    assert read == [root / "flow.py"]


def test_a_file_that_has_just_been_written_is_read_again(tmp_path: Path) -> None:
    root = _project(tmp_path / "a")
    snapshot.take(root, tmp_path / "cache")

    remembered = next((tmp_path / "cache").iterdir()).read_text()

    assert remembered == "{}"


def test_a_broken_memory_is_no_harm(tmp_path: Path) -> None:
    root = _project(tmp_path / "a")
    first = snapshot.take(root, tmp_path / "cache").digest
    next((tmp_path / "cache").iterdir()).write_text("[1")

    assert snapshot.take(root, tmp_path / "cache").digest == first


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    taken = snapshot.take(_project(tmp_path / "a"), tmp_path / "cache")
    taken.pack(tmp_path / "a.tar.gz")

    archive.unpack(tmp_path / "a.tar.gz", tmp_path / "out", taken.digest)

    assert (tmp_path / "out" / "flow.py").read_text() == "print('flow')\n"
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert (tmp_path / "out" / "link.py").readlink() == Path("pkg/mod.py")
    assert snapshot.take(tmp_path / "out", tmp_path / "cache").digest == taken.digest
    assert not (tmp_path / "out.part").exists()


def test_a_file_that_changes_while_packing_is_noticed(tmp_path: Path) -> None:
    root = _project(tmp_path / "a")
    taken = snapshot.take(root, tmp_path / "cache")
    (root / "flow.py").write_text("print('flaw')\n")

    with pytest.raises(UsageError) as caught:
        taken.pack(tmp_path / "a.tar.gz")

    assert caught.value.code == "code.changed_meanwhile"


def _evil(path: Path, *entries: tuple[str, bytes, str]) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, kind, link in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            entry.size = 4 if kind == tarfile.REGTYPE else 0
            made.addfile(entry, io.BytesIO(b"evil"))
    return path


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil.py", tarfile.REGTYPE, "")],
        [("/tmp/evil.py", tarfile.REGTYPE, "")],
        [("a/../../evil.py", tarfile.REGTYPE, "")],
        [("link", tarfile.SYMTYPE, "/etc")],
        [("a/link", tarfile.SYMTYPE, "../../evil")],
        [("link", tarfile.SYMTYPE, "."), ("link/evil.py", tarfile.REGTYPE, "")],
        [
            ("a/b/up", tarfile.SYMTYPE, ".."),
            ("out", tarfile.SYMTYPE, "a/b/up/../.."),
        ],
        [
            ("out", tarfile.SYMTYPE, "a/b/up/../.."),
            ("a/b/up", tarfile.SYMTYPE, ".."),
            ("out/evil.py", tarfile.SYMTYPE, "a"),
        ],
        [("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [("device", tarfile.CHRTYPE, "")],
        [("same.py", tarfile.REGTYPE, ""), ("same.py", tarfile.REGTYPE, "")],
        [("other.py", tarfile.REGTYPE, "")],
    ],
    ids=[
        "up",
        "absolute",
        "inner up",
        "absolute link",
        "link up",
        "through a link",
        "out through another link",
        "a link through a link",
        "hard link",
        "device",
        "twice",
        "other",
    ],
)
def test_an_archive_that_is_not_the_tree_is_refused(tmp_path: Path, entries: list[tuple[str, bytes, str]]) -> None:
    path = _evil(tmp_path / "x.tar.gz", *entries)

    with pytest.raises(JournalError) as caught:
        archive.unpack(path, tmp_path / "in" / "out", "0" * 64)

    assert caught.value.code == "code.damaged"
    assert not (tmp_path / "in" / "out").exists()
    made = [Path(folder) for folder, _, files in os.walk(tmp_path) if "evil.py" in files]  # dangling links too
    assert all(folder.is_relative_to(tmp_path / "in" / "out.part") for folder in made)


def test_a_link_to_the_project_itself_travels(tmp_path: Path) -> None:
    root = _project(tmp_path / "a")
    (root / "pkg" / "here").symlink_to("..")
    taken = snapshot.take(root, tmp_path / "cache")
    taken.pack(tmp_path / "a.tar.gz")

    archive.unpack(tmp_path / "a.tar.gz", tmp_path / "out", taken.digest)

    assert (tmp_path / "out" / "pkg" / "here" / "flow.py").is_file()


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    taken = snapshot.take(_project(tmp_path / "a"), tmp_path / "cache")
    taken.pack(tmp_path / "a.tar.gz")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(JournalError):
        archive.unpack(tmp_path / "a.tar.gz", tmp_path / "out", taken.digest)
