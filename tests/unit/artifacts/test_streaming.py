"""Large values: bounded memory, one upload, progress, and what goes wrong on the way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pytest

from clary.artifacts import content, decode, encode, progress_to, storing
from clary.artifacts.content import CHUNK, Made, Memory, Spool
from clary.artifacts.storing import BIG, Source, keep
from clary.errors import SerializationError
from clary.objects.folder import FolderStore
from exactly import same
from s3_proxy import S3, s3_on_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY = """
import resource, sys
import numpy as np
from clary.artifacts import decode, encode
from clary.objects import open_store

kind, root, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
store = open_store(root)
small = {"bytes": b"x" * (9 << 20), "array": np.ones(9 << 20, "u1"), "fortran": np.ones((4096, 4096), "u1").T,
         "strided": np.ones((8192, 4096), "u1")[:, ::2]}
decode(encode(small[kind], store), store)  # what libraries and the allocator take once
made = {
    "bytes": lambda: bytes(size),
    "array": lambda: np.zeros(size // 8),
    "fortran": lambda: np.zeros((size // 8 // 1000, 1000)).T,
    "strided": lambda: np.zeros((size // 8 // 500, 1000))[:, ::2],
}
value = made[kind]()
if kind != "bytes":
    (value if kind != "strided" else value.base)[...] = 1.0
before = peak()
encoded = encode(value, store)
kept = peak() - before
del value
value = None
import gc; gc.collect()
before = int(open("/proc/self/statm").read().split()[1]) * 4096
open("/proc/self/clear_refs", "w").write("5")
decoded = decode(encoded, store)
read = [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")][0] - before
print(kept / size, read / size)
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_on_loopback() as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "store"))


@pytest.mark.parametrize("kind", ["bytes", "strided"])
def test_a_large_value_is_never_held_twice(tmp_path: Path, kind: str) -> None:
    """In a process of its own: 200 MB, of which keeping may take a part of a copy, and reading one and a part."""
    command = [sys.executable, "-c", _MEMORY, kind, str(tmp_path), "200000000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    kept, read = map(float, done.stdout.split())
    assert kept < 0.3
    assert read < 1.3


class Counting(FolderStore):
    """Notes what is asked of it."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.asked: list[str] = []

    def put(self, key: str, data: bytes) -> None:
        self.asked.append("put")
        super().put(key, data)

    def put_stream(self, key: str, chunks: Any, size: int) -> None:
        self.asked.append("stream")
        super().put_stream(key, chunks, size)

    def size(self, key: str) -> int | None:
        self.asked.append("size")
        return super().size(key)


def test_equal_values_are_stored_once(tmp_path: Path) -> None:
    large, middle = np.arange(2 << 20), np.arange(20_000)
    store = Counting(str(tmp_path))
    first = [encode(large, store), encode(middle, store)]
    assert store.asked == ["size", "stream", "put"]
    other = Counting(str(tmp_path))  # as of another run
    assert [encode(large.copy(), other), encode(middle.copy(), other)] == first
    assert other.asked == ["size", "put"]  # a small one is sent again: that costs as much as the question
    assert len(list(store.keys("values"))) == 2


def test_parts_that_are_equal_are_stored_once(tmp_path: Path) -> None:
    store = Counting(str(tmp_path))
    array = np.arange(20_000)
    encode({"a": array, "b": array, "c": [array]}, store)
    assert store.asked == ["put"]


def test_large_values_of_every_kind_there_and_back_on_s3(s3: S3) -> None:
    store = s3.store()
    for value in (
        os.urandom(BIG + 5),
        bytearray(os.urandom(BIG + 5)),
        "ü\ud800x" * (BIG // 3),
        np.arange(3 << 20),
        np.asfortranarray(np.arange(3 << 20).reshape(3, -1)),
        [os.urandom(20 << 20)],
    ):
        encoded = json.loads(json.dumps(encode(value, store)))
        assert same(decode(encoded, store, unpickle=False), value)


def test_a_reply_that_breaks_off_is_asked_for_again(s3: S3) -> None:
    store = s3.store()
    value = os.urandom(20 << 20)
    encoded = encode(value, store)
    s3.plan.fault = lambda method, key, seen: "cut reply" if method == "GET" and "values" in key and seen < 2 else None
    s3.plan.seen.clear()
    try:
        assert decode(encoded, store) == value
    finally:
        s3.plan.fault = lambda _method, _key, _number: None


def test_progress_is_told_for_large_values_only(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "TOLD", 10 << 20)
    told: list[tuple[str, int, int]] = []
    with progress_to(lambda *one: told.append(one)):
        decode(encode(bytes(9 << 20), store), store)
        assert told == []
        size = 12 << 20
        decode(encode(bytes(size), store), store)
    assert [one for one in told if one[0] == "stored"][-1] == ("stored", size, size)
    assert [one[1] for one in told if one[0] == "read"] == [CHUNK, 2 * CHUNK, size]
    before = len(told)
    decode(encode(bytes(size + 1), store), store)
    assert len(told) == before


def test_what_changes_while_it_is_stored_is_refused_and_leaves_nothing(store: FolderStore) -> None:
    turns = iter((b"a" * BIG + b"1", b"a" * BIG + b"2"))
    with pytest.raises(SerializationError) as caught:
        keep(Made(BIG + 1, lambda: Memory(next(turns)).chunks()), store, 0)
    assert caught.value.code == "value.changed"
    assert list(store.keys("values")) == []


def test_the_same_on_s3(s3: S3) -> None:
    store = s3.store()
    turns = iter((b"a" * BIG * 2 + b"1", b"a" * BIG * 2 + b"2"))
    with pytest.raises(SerializationError) as caught:
        keep(Made(BIG * 2 + 1, lambda: Memory(next(turns)).chunks()), store, 0)
    assert caught.value.code == "value.changed"
    assert list(store.keys("values")) == []


@pytest.mark.parametrize("damage", ["truncated", "longer", "altered"])
@pytest.mark.parametrize("size", [100_000, BIG + CHUNK])
def test_damaged_objects_are_told_whatever_reads_them(store: FolderStore, damage: str, size: int) -> None:
    values: list[Any] = [np.ones(size, "u1"), {"a": np.ones(size, "u1")}, os.urandom(max(size, 2 << 20)), _Opaque(size)]
    for value in values:
        encoded = encode(value, store)
        for key in list(store.keys("values")):
            file = Path(store.url(key))
            data = file.read_bytes()
            changed = {"truncated": data[:-7], "longer": data + b"x", "altered": data[:-1] + bytes([data[-1] ^ 1])}
            file.write_bytes(changed[damage])
        with pytest.raises(SerializationError) as caught:
            decode(encoded, store)
        assert caught.value.code == "value.unreadable"
        for key in list(store.keys("values")):
            Path(store.url(key)).unlink()


class _Opaque:
    def __init__(self, size: int) -> None:
        self.data = os.urandom(size)


def test_a_full_disk_is_told(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: IO[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SerializationError) as caught:
        Spool(full)
    assert caught.value.code == "value.no_space"
    assert "TMPDIR" in caught.value.next_step
    encoded = encode(_Opaque(100_000), store)
    source = Source(encoded, store)
    with pytest.raises(SerializationError, match="no room"), content.disk_watched():
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    assert source.all()
