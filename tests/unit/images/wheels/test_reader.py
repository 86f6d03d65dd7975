from __future__ import annotations

import base64
import hashlib
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from clary.errors import ConfigError
from clary.images.building import Wheel
from clary.images.wheels.reader import WheelFile
from wheel_maker import Draft, changed, demo, digest_of

INFO = "demo-1.0.dist-info"


def _read(wheel: Wheel) -> dict[str, bytes]:
    """Read everything, as making a layer does."""
    assert wheel.path is not None
    source = WheelFile(wheel.path, wheel.filename)
    source.python_scripts()
    return {entry.name: source.read(entry) for entry in source.entries}


def _refused(wheel: Wheel, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        _read(wheel)
    assert caught.value.code == "image.bad_wheel"
    assert wheel.filename in caught.value.summary
    assert caught.value.next_step


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stored": ("demo/big.bin", "demo/__init__.py")},
        {"zip64": True},
        {"descriptors": True},
        {"level": 9},
        {"level": 0},
    ],
    ids=["deflated", "stored", "zip64", "descriptors", "level 9", "level 0"],
)
def test_reads_what_was_packed(tmp_path: Path, changes: dict[str, object]) -> None:
    draft = demo(**changes)

    assert _read(draft.write(tmp_path)) == draft.all_files()


def test_zip64_with_descriptors(tmp_path: Path) -> None:
    draft = demo(zip64=True, descriptors=True)

    assert _read(draft.write(tmp_path)) == draft.all_files()


def test_hands_over_the_stream_as_it_lies_in_the_wheel(tmp_path: Path) -> None:
    wheel = demo().write(tmp_path)
    assert wheel.path is not None
    source = WheelFile(wheel.path, wheel.filename)
    entry = next(one for one in source.entries if one.name == "demo/big.bin")
    packed: list[bytes] = []
    content: list[bytes] = []

    source.copy(entry, content.append, packed.append)

    assert zlib.decompress(b"".join(packed), -15) == b"".join(content) == demo().files["demo/big.bin"]


def test_finds_the_scripts_that_want_an_interpreter(tmp_path: Path) -> None:
    scripts = {"demo-1.0.data/scripts/a": b"#!python\nx", "demo-1.0.data/scripts/b": b"#!/bin/sh\n", "a": b"#!python"}
    wheel = demo(files=scripts).write(tmp_path)
    assert wheel.path is not None

    assert WheelFile(wheel.path, wheel.filename).python_scripts() == {"demo-1.0.data/scripts/a": b"#!python\nx"}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/passwd", "absolute"),
        ("C:/x", "absolute"),
        ("../x", "leads out"),
        ("demo/../../x", "leads out"),
        ("demo\\x", "backslash"),
        ("demo//x", "plain form"),
        ("./x", "plain form"),
        ("demo/a\nb", "control"),
        ("n" * 256, "too long"),
        ("d/" * 1100 + "x", "too long"),
    ],
)
def test_refuses_unsafe_names(tmp_path: Path, name: str, problem: str) -> None:
    _refused(demo(files={name: b"x"}).write(tmp_path), problem)


def test_refuses_a_name_with_nul(tmp_path: Path) -> None:
    wheel = demo(files={"demo/aXb": b"x"}, unlisted=["demo/aXb"]).write(tmp_path)

    _refused(changed(wheel, lambda data: data.replace(b"aXb", b"a\0b")), "control")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_refuses_links_and_special_files(tmp_path: Path, kind: int) -> None:
    _refused(demo(modes={"demo/main.py": kind | 0o777}).write(tmp_path), "link or a special")


def test_refuses_what_is_there_twice(tmp_path: Path) -> None:
    wheel = demo(files={"demo/a": b"1", "demo/b": b"2"}, unlisted=["demo/a", "demo/b"]).write(tmp_path)

    _refused(changed(wheel, lambda data: data.replace(b"demo/b", b"demo/a")), "twice")


def test_refuses_a_file_that_is_also_a_folder(tmp_path: Path) -> None:
    _refused(demo(files={"demo": b"", "demo/x": b""}).write(tmp_path), "both a file and a folder")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: b"", "no zip"),
        (lambda data: b"not a wheel" * 10, "no zip"),
        (lambda data: data[: len(data) // 2], "no zip|cut off"),
        (lambda data: data[:-1], "no zip|follows"),
        (lambda data: data + b"x", "follows"),
        (lambda data: b"MZ" + data, "does not lie where"),
        (lambda data: _in_directory(data, 8, "<H", 1), "encrypted"),
        (lambda data: _in_directory(data, 10, "<H", 12), "method 12"),
        (lambda data: _in_directory(data, 16, "<L", 1), "other sizes than"),
        (lambda data: _in_directory(data, 20, "<L", 1), "sizes|overlaps"),
        (lambda data: _in_directory(data, 24, "<L", 1 << 31), "sizes cannot be right"),
        (lambda data: _in_directory(data, 24, "<L", 20), "other sizes than"),
        (lambda data: _in_directory(data, 34, "<H", 1), "another disk"),
        (lambda data: _in_directory(data, 42, "<L", 10), "header does not agree"),
        (lambda data: _in_directory(data, 42, "<L", len(data)), "behind the end"),
        (lambda data: data[:30] + b"X" + data[31:], "another name"),
        (lambda data: data.replace(b"demo/main.py", b"demo/mai\xff.py"), "UTF-8|RECORD"),
    ],
)
def test_refuses_damage(tmp_path: Path, change: Callable[[bytes], bytes], problem: str) -> None:
    _refused(changed(demo().write(tmp_path), change), problem)


def test_refuses_overlapping_files(tmp_path: Path) -> None:
    """The bomb of David Fifield: many files of the directory share the same bytes."""
    wheel = demo(files={"demo/a": b"0" * 1000, "demo/b": b"0" * 1000}, stored=["demo/a"]).write(tmp_path)

    def point_to_the_same(data: bytes) -> bytes:
        directory = data.index(b"PK\1\2")
        at = data.index(b"demo/b", directory) - 46
        first = data.index(b"demo/a", directory) - 46
        return data[: at + 16] + data[first + 16 : first + 46] + data[at + 46 :]

    _refused(changed(wheel, point_to_the_same), "header|overlaps|twice")


@pytest.mark.parametrize("shift", [-1, 1, 100])
def test_refuses_a_length_that_is_not_true(tmp_path: Path, shift: int) -> None:
    draft = demo()
    size = len(draft.files["demo/main.py"])

    wheel = changed(draft.write(tmp_path), lambda data: _resized(data, b"demo/main.py", size + shift))

    _refused(wheel, "promised|RECORD")


def test_stops_a_bomb_at_the_size_it_claims(tmp_path: Path) -> None:
    draft = demo(files={"demo/bomb": b"0" * 3_000_000})
    draft.record = {"demo/bomb": f"{digest_of(b'x')},1000"}
    wheel = changed(draft.write(tmp_path), lambda data: _resized(data, b"demo/bomb", 1000))

    _refused(wheel, "more than the 1000 bytes")


def test_refuses_a_wrong_crc_in_both_headers(tmp_path: Path) -> None:
    crc = struct.pack("<L", zlib.crc32(demo().files["demo/main.py"]))

    _refused(changed(demo().write(tmp_path), lambda data: data.replace(crc, b"abcd")), "CRC")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"record": {"demo/main.py": f"{digest_of(b'other')},28"}}, "digest that RECORD"),
        ({"record": {"demo/main.py": f"{digest_of(b'x')},999"}}, "RECORD says 999"),
        ({"record": {"demo/main.py": ","}}, "no digest"),
        ({"record": {"demo/main.py": "md5=1B2M2Y8AsgTpgAmY7PhCfg,"}}, "no digest"),
        ({"record": {"demo/main.py": "sha256=short,"}}, "no digest"),
        ({"record": {"demo/gone.py": f"{digest_of(b'')},0"}}, "is missing"),
        ({"record": {"x,y,z": ",,,,"}}, "cannot be read"),
        ({"unlisted": ["demo/main.py"]}, "does not list"),
        ({"filename": "other-1.0-py3-none-any.whl"}, "another package"),
        ({"filename": "demo-2.0-py3-none-any.whl"}, "another package's or version"),
        ({"filename": "demo.whl"}, "not one of a wheel"),
    ],
)
def test_refuses_what_disagrees(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    _refused(demo(**change).write(tmp_path), problem)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({f"{INFO}/WHEEL": b"Wheel-Version: 2.0\n"}, "version '2.0'"),
        ({f"{INFO}/WHEEL": b""}, "version 'unknown'"),
        ({f"{INFO}/WHEEL": b"\xff"}, "not UTF-8"),
        ({f"{INFO}/METADATA": b"Name: other\nVersion: 1.0\n"}, "says 'other'"),
        ({f"{INFO}/METADATA": b"Name: demo\nVersion: 3\n"}, "says 'demo' '3'"),
        ({"other-1.0.dist-info/METADATA": b""}, "2 folders"),
        ({f"{INFO}/entry_points.txt": b"[console_scripts]\nx = y\n"}, "cannot be read"),
        ({f"{INFO}/entry_points.txt": b"no section\n"}, "cannot be read"),
        ({f"{INFO}/entry_points.txt": b"[console_scripts]\n../x = a:b\n"}, "is a path"),
        ({f"{INFO}/entry_points.txt": b"[console_scripts]\n.. = a:b\n"}, "leads out"),
    ],
)
def test_refuses_bad_metadata(tmp_path: Path, files: dict[str, bytes], problem: str) -> None:
    _refused(demo(files=files).write(tmp_path), problem)


@pytest.mark.parametrize("part", ["WHEEL", "METADATA", "RECORD"])
def test_refuses_a_wheel_without(tmp_path: Path, part: str) -> None:
    wheel = demo().write(tmp_path)
    assert wheel.path is not None
    with zipfile.ZipFile(wheel.path) as archive:
        kept = {one: archive.read(one) for one in archive.namelist() if not one.endswith(part)}
    with zipfile.ZipFile(wheel.path, "w") as archive:
        for name, data in kept.items():
            archive.writestr(name, data)

    _refused(wheel, "is missing")


def test_knows_packages_by_any_spelling(tmp_path: Path) -> None:
    draft = Draft(name="My.Demo", version="1.0", filename="my_demo-1.0.0-py3-none-any.whl")
    wheel = draft.write(tmp_path)
    assert wheel.path is not None

    assert WheelFile(wheel.path, wheel.filename).metadata.title == "my-demo 1.0.0"


def test_takes_stronger_digests_and_padding(tmp_path: Path) -> None:
    content = demo().files["demo/main.py"]
    strong = base64.urlsafe_b64encode(hashlib.sha512(content).digest()).decode()
    wheel = demo(record={"demo/main.py": f"SHA512={strong},"}).write(tmp_path)

    assert _read(wheel)["demo/main.py"] == content


def test_says_so_where_there_is_no_file(tmp_path: Path) -> None:
    _refused(Wheel("demo", "1.0", "demo-1.0-py3-none-any.whl", "", 0, path=tmp_path / "gone"), "cannot be read")


def test_takes_folders_for_granted(tmp_path: Path) -> None:
    wheel = demo(files={"demo/": b"", "demo/x": b""}, unlisted=["demo/"], modes={"demo/": 0o40755}).write(tmp_path)

    assert "demo/" not in _read(wheel)


def _in_directory(data: bytes, at: int, form: str, value: int) -> bytes:
    """Return the file with a field of its directory's first entry changed."""
    start = data.index(b"PK\1\2") + at
    return data[:start] + struct.pack(form, value) + data[start + struct.calcsize(form) :]


def _resized(data: bytes, name: bytes, size: int) -> bytes:
    """Return the file with another unpacked size in both headers of an entry."""
    for found in reversed(list(re.finditer(re.escape(name), data))):
        for mark, fixed, at in ((b"PK\3\4", 30, 22), (b"PK\1\2", 46, 24)):
            start = found.start() - fixed
            if start >= 0 and data[start : start + 4] == mark:
                data = data[: start + at] + struct.pack("<L", size) + data[start + at + 4 :]
    return data
