from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from clary.images.layers.tarring import END, file_header, folder_header, link_header, padding

LONG = [
    "a" * 100,
    "a" * 101,
    "d" * 155 + "/" + "n" * 100,
    "d" * 156 + "/" + "n" * 100,
    "d/" * 120 + "name",
    "/".join(["part"] * 60),
    "näme/ü.txt",
    "\N{PILE OF POO}" * 30,
    "d" * 50 + "/" + "n" * 101,
]


def _members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()


@pytest.mark.parametrize("name", ["x", *LONG])
def test_others_read_the_names(name: str) -> None:
    data = file_header(name, 3, 0o755) + b"abc" + padding(3) + folder_header(f"{name}.d") + link_header("l", name) + END

    file, folder, link = _members(data)

    assert (file.name, file.size, file.mode) == (name, 3, 0o755)
    assert (folder.name, folder.mode, folder.isdir()) == (f"{name}.d", 0o755, True)
    assert (link.name, link.linkname, link.mode) == ("l", name, 0o777)


@pytest.mark.parametrize("name", [name for name in LONG if name.isascii() and len(name) < 256])
def test_gnu_tar_reads_the_names(name: str, tmp_path: Path) -> None:
    tar = shutil.which("tar")
    assert tar is not None
    (tmp_path / "x.tar").write_bytes(file_header(name, 0, 0o644) + END)

    listed = subprocess.run([tar, "-tf", str(tmp_path / "x.tar")], capture_output=True, text=True, check=True)

    assert listed.stdout == f"{name}\n"


def test_plain_headers_are_those_of_the_standard_library() -> None:
    entry = tarfile.TarInfo("opt/clary/venv/bin/tool")
    entry.size, entry.mode = 12345, 0o755

    assert file_header(entry.name, entry.size, 0o755) == entry.tobuf(tarfile.PAX_FORMAT)


def test_no_extension_without_need() -> None:
    assert len(file_header("d" * 155 + "/" + "n" * 100, 8**11 - 1, 0o644)) == 512
    assert len(file_header("é", 1, 0o644)) == 3 * 512


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 8**12])
def test_sizes_beyond_eight_gibibytes(size: int) -> None:
    header = tarfile.TarInfo.frombuf(file_header("x", size, 0o644)[-512:], "utf-8", "strict")

    assert header.size == (size if size < 8**11 else 0)
    if size >= 8**11:
        assert f"size={size}\n".encode() in file_header("x", size, 0o644)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_padding_fills_blocks(size: int) -> None:
    assert (size + len(padding(size))) % 512 == 0
    assert len(padding(size)) < 512


@pytest.mark.parametrize("length", range(80, 110))
def test_records_count_their_own_length(length: int) -> None:
    (entry,) = _members(file_header("é" * length, 0, 0o644) + END)

    assert entry.name == "é" * length
