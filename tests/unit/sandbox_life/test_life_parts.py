"""The parts that need no container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from clary.sandbox.life.beneath import read_beneath, safe_relative, walk_beneath
from clary.sandbox.life.instances import memory_of
from clary.sandbox.life.s3 import Address, Source, address, share
from clary.sandbox.trees import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

_GIB = 1024**3


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("ml.m5.large", 8),
        ("ml.t3.medium", 4),
        ("ml.c5.9xlarge", 72),
        ("ml.r5.2xlarge", 64),
        ("ml.m6i.xlarge", 16),
        ("ml.p4d.24xlarge", None),
        ("rubbish", None),
    ],
)
def test_memory_of_types(name: str, gib: int | None) -> None:
    assert memory_of(name) == (None if gib is None else gib * _GIB)


@pytest.mark.parametrize("path", ["..", "a/../b", ".", "a/./b", "", "/", "a\0"])
def test_paths_that_do_not_stay_below(path: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        safe_relative(path)


def test_paths_that_stay_below() -> None:
    assert str(safe_relative("/a//b..c/d")) == "a/b..c/d"


def test_links_on_the_way_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("secret")
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real/file").write_text("mine")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "real/link").symlink_to(tmp_path / "outside/file")
    os.mkfifo(root / "real/fifo")
    assert read_beneath(root, "real/file", 2) == b"mi"
    assert [read_beneath(root, name, 9) for name in ("folder/file", "real/link", "real/fifo", "none")] == [None] * 4
    assert [(entry.name, entry.is_file, entry.target != "") for entry in walk_beneath(root)] == [
        ("folder", False, True),
        ("real", False, False),
        ("real/fifo", False, False),
        ("real/file", True, False),
        ("real/link", False, True),
    ]
    assert list(walk_beneath(root, "folder")) == list(walk_beneath(root, "nothing")) == []


def test_addresses() -> None:
    assert address("s3://bucket/a/b/") == Address("bucket", "a/b/")
    assert str(Address("bucket", "").below("job", "x")) == "s3://bucket/job/x"
    assert str(Address("bucket", "a/").below("job")) == "s3://bucket/a/job"


def test_every_object_goes_to_one_host() -> None:
    found = [Source("b", f"{number}", safe_relative(f"{number}")) for number in range(7)]
    shares = [share(found, "ShardedByS3Key", host, 3) for host in range(3)]
    assert sorted(one.key for part in shares for one in part) == [one.key for one in found]
    assert share(found, "FullyReplicated", 1, 3) == found


def test_a_folder_that_nobody_may_enter_is_removed(tmp_path: Path) -> None:
    closed = tmp_path / "job/work/work"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0)
    remove_tree(tmp_path / "job")
    assert not (tmp_path / "job").exists()
