"""Files and folders as values: content, names and modes there and back; what is refused; what is only a place."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from clary.artifacts import decode, digest, encode, only_names
from clary.artifacts.files import scratch
from clary.errors import JournalError, SerializationError
from clary.objects.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "model"
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "weights.bin").write_bytes(os.urandom(100_000))
    (top / "sub" / "größe.txt").write_text("small")
    (top / "sub" / "run.sh").write_text("#!/bin/sh")
    (top / "sub" / "run.sh").chmod(0o755)
    return top


def kept(value: Any, store: FolderStore) -> tuple[Any, dict[str, Any]]:
    encoded = json.loads(json.dumps(encode(value, store)))
    return decode(encoded, store, unpickle=False), encoded


def listing(top: Path) -> list[tuple[str, int, bytes]]:
    return sorted(
        (path.relative_to(top).as_posix(), path.stat().st_mode & 0o777, b"" if path.is_dir() else path.read_bytes())
        for path in top.rglob("*")
    )


@pytest.mark.parametrize("size", [0, 10, 200_000, 9 << 20])
def test_a_file_comes_back_with_content_name_and_mode(store: FolderStore, tmp_path: Path, size: int) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(os.urandom(size))
    file.chmod(0o640)
    back, encoded = kept(file, store)
    assert type(back) is type(file)
    assert back != file
    assert (back.name, back.stat().st_mode & 0o777, back.read_bytes()) == ("data.bin", 0o640, file.read_bytes())
    assert back.parent.stat().st_mode & 0o077 == 0
    assert encoded["d"] == digest(file) == digest(back)
    assert ("at" in encoded) == (size > 64 * 1024)


def test_a_folder_comes_back_whole_and_shares_what_is_the_same(store: FolderStore, folder: Path) -> None:
    back, encoded = kept(folder, store)
    assert encoded["c"] == "folder"
    assert encoded["m"]["files"] == 3
    assert back.name == "model"
    assert listing(back) == listing(folder)
    assert encoded["d"] == digest(folder) == digest(back)
    before = len(list(store.keys("values")))
    shutil.copy(folder / "weights.bin", folder / "copy.bin")
    again, other = kept(folder, store)
    assert len(list(store.keys("values"))) == before  # the list is inline, the copy is there already
    assert other["d"] != encoded["d"]
    assert listing(again) == listing(folder)


def test_a_read_only_folder_is_kept_and_removed_again(store: FolderStore, folder: Path) -> None:
    (folder / "sub").chmod(0o500)
    back, _ = kept(folder, store)
    assert (back / "sub").stat().st_mode & 0o777 == 0o500
    assert listing(back) == listing(folder)


def test_every_reader_gets_a_copy_of_its_own(store: FolderStore, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    encoded = encode(file, store)
    first = decode(encoded, store)
    first.write_text("changed")
    assert decode(encoded, store).read_text() == "one"
    assert digest(first) != encoded["d"]  # it is not what was kept any more


def test_a_path_where_nothing_is_and_a_place_are_only_names(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "nothing", Path(), Path("/"), Path.home(), Path("/dev/null"), Path.cwd().parent):
        back, encoded = kept(path, store)
        assert encoded["c"] == "plain"
        assert back == path
    with only_names():
        assert encode(tmp_path / "file", store)["c"] == "plain"


def test_links_pipes_and_sockets_are_refused(store: FolderStore, folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SerializationError, match="pipe"):
        encode(tmp_path / "pipe", store)
    (folder / "sub" / "link").symlink_to("/etc/passwd")
    with pytest.raises(SerializationError, match="symbolic link") as caught:
        encode(folder, store)
    assert caught.value.code == "value.special_file"
    assert caught.value.details["path"].endswith("sub/link")
    assert list(store.keys("values")) == []  # refused before anything is stored
    (folder / "sub" / "link").unlink()
    with socket.socket(socket.AF_UNIX) as one:
        place = Path.cwd()
        os.chdir(folder)  # a socket's path is short
        try:
            one.bind("s")
        finally:
            os.chdir(place)
        with pytest.raises(SerializationError, match="socket"):
            encode(folder, store)


def test_a_linked_file_that_is_named_itself_is_followed(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("content")
    (tmp_path / "link").symlink_to("real.txt")
    back, _ = kept(tmp_path / "link", store)
    assert back.read_text() == "content"
    assert back.name == "real.txt"
    assert not back.is_symlink()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "", "a\0b"])
def test_names_from_a_record_never_lead_out(store: FolderStore, name: str) -> None:
    listed = json.dumps([[name, 0o644, {"b": "eA=="}]]).encode()
    import base64

    made_up = {"c": "folder", "t": "Path", "b": base64.b64encode(listed).decode(), "m": {"name": "x", "mode": 0o755}}
    with pytest.raises(SerializationError) as caught:
        decode(made_up, store)
    assert caught.value.code == "value.unreadable"
    for wrong in ("..", "a/b", "", "."):
        with pytest.raises(SerializationError):
            decode({"c": "file", "t": "Path", "b": "eA==", "m": {"name": wrong, "mode": 0o644}}, store)


def test_no_set_id_bits_come_out_of_a_store(store: FolderStore) -> None:
    back = decode({"c": "file", "t": "Path", "b": "eA==", "m": {"name": "x", "mode": 0o6755}}, store)
    assert back.stat().st_mode & 0o7777 == 0o755


def test_a_damaged_or_missing_file_of_a_folder_is_told(store: FolderStore, folder: Path) -> None:
    encoded = encode(folder, store)
    (key,) = store.keys("values")
    Path(store.url(key)).write_bytes(b"x" * 100_000)
    with pytest.raises(SerializationError, match="damaged"):
        decode(encoded, store)
    Path(store.url(key)).unlink()
    with pytest.raises(JournalError, match="gone"):
        decode(encoded, store)


def test_scratch_folders_are_private_and_distinct() -> None:
    one, other = scratch(), scratch()
    assert one != other
    assert one.stat().st_mode & 0o777 == 0o700
