from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.errors import ConfigError
from clary.images.layers.assembling import Part, write_layer
from clary.images.layers.cache import LocalCache
from clary.images.layers.making import Made

if TYPE_CHECKING:
    from clary.images.building import Layer

FORK = multiprocessing.get_context("fork")


def _maker(content: bytes = b"content", calls: list[str] | None = None) -> Callable[[Path], Made]:
    def make(out: Path) -> Made:
        if calls is not None:
            calls.append("made")
        part = Part("x", len(content), write=lambda packed: packed.write(content))
        return Made(write_layer([part], out, "x 1"), {"x 1": {"lib/x": "sha256=abc"}})

    return make


def _never(out: Path) -> Made:
    raise AssertionError(out)


def _aged(cache: LocalCache, seconds: float, folder: Path) -> None:
    del cache
    for path in folder.glob("**/*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_what_was_made_is_found(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path)

    with cache.use() as use:
        made = use.layer("key", _maker())
    with LocalCache(tmp_path).use() as use:
        found = use.layer("key", _never)

    assert found == made
    assert found.layer.path.read_bytes()
    assert found.layer.path.name == found.layer.digest.removeprefix("sha256:")
    assert cache.info().layers == 1
    assert cache.info().size == made.layer.size


def test_a_failure_keeps_nothing(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path)

    def fail(out: Path) -> Made:
        out.write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError), cache.use() as use:
        use.layer("key", fail)

    assert not [path for path in tmp_path.glob("**/*") if path.is_file() and path.parent.name != "locks"]


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_layer_of_another_length_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    calls: list[str] = []
    with LocalCache(tmp_path).use() as use:
        path = use.layer("key", _maker(calls=calls)).layer.path
        good = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)

    with LocalCache(tmp_path).use() as use:
        assert use.find("key") is None
        again = use.layer("key", _maker(calls=calls))

    assert calls == ["made", "made"]
    assert again.layer.path.read_bytes() == good


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"digest": 1}', "null", '{"brought": []}'])
def test_a_damaged_note_is_no_note(tmp_path: Path, text: str) -> None:
    calls: list[str] = []
    with LocalCache(tmp_path).use() as use:
        use.layer("key", _maker(calls=calls))
    (tmp_path / "keys/key.json").write_text(text)

    with LocalCache(tmp_path).use() as use:
        use.layer("key", _maker(calls=calls))
        use.layer("key", _never)

    assert len(calls) == 2


def test_verify_removes_what_is_damaged(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path)
    with cache.use() as use:
        bad = use.layer("bad", _maker(b"bad")).layer
        good = use.layer("good", _maker(b"good")).layer
    data = bytearray(bad.path.read_bytes())
    data[-1] ^= 1
    bad.path.write_bytes(data)
    wheel = tmp_path / "wheels" / ("0" * 64) / "x.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"not that digest")

    assert sorted(cache.verify()) == sorted([bad.path.name, "0" * 64])

    assert good.path.exists()
    assert not wheel.exists()
    with cache.use() as use:
        assert use.layer("bad", _maker(b"bad")).layer == bad
    assert cache.verify() == []


def test_two_keys_may_share_a_layer(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path)
    with cache.use() as use:
        one, other = use.layer("one", _maker()), use.layer("other", _maker())

    assert one == other
    assert cache.info().layers == 1


def test_prune_by_age(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path)
    with cache.use() as use:
        old = use.layer("old", _maker(b"old")).layer
    _aged(cache, 1000, tmp_path / "blobs")
    with cache.use() as use:
        new = use.layer("new", _maker(b"new")).layer

    assert cache.prune(older_than=500) == old.size

    assert (old.path.exists(), new.path.exists()) == (False, True)
    assert not (tmp_path / "keys/old.json").exists()
    with cache.use() as use:
        assert use.find("old") is None
        assert use.find("new") is not None


def test_prune_to_a_size_begins_with_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path)
    layers: list[Layer] = []
    for number in range(3):
        with cache.use() as use:
            layers.append(use.layer(f"k{number}", _maker(str(number).encode())).layer)
        os.utime(layers[-1].path, (1000 + number, 1000 + number))
    with cache.use() as use:
        use.layer("k0", _never)  # used again

    cache.prune(max_bytes=layers[0].size)

    assert [layer.path.exists() for layer in layers] == [True, False, False]
    assert cache.info().layers == 1


def test_prune_leaves_what_is_in_use(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path)
    with cache.use() as use:
        use.layer("made", _maker(b"made"))
    wheel = tmp_path / "wheels/abc/x.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"wheel")

    with cache.use() as use:
        made, new = use.layer("made", _never).layer, use.layer("new", _maker(b"new")).layer
        assert use.hold(wheel)
        assert cache.prune(max_bytes=0) == 0
        assert made.path.exists()
        assert new.path.exists()
        assert wheel.exists()

    assert cache.prune(max_bytes=0) == made.size + new.size + 5
    assert not made.path.exists()
    assert cache.info().oldest is None


def test_holding_leaves_other_peoples_files_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.whl"
    own.touch()
    os.utime(own, (5, 5))

    with LocalCache(tmp_path / "cache").use() as use:
        assert use.hold(own)
        assert not use.hold(tmp_path / "gone")

    assert own.stat().st_mtime == 5


def test_prune_sweeps_what_the_dead_left(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path)
    old, new = tmp_path / "blobs/.key.1-ab", tmp_path / "blobs/.key.2-cd"
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))

    cache.prune()

    assert (old.exists(), new.exists()) == (False, True)


def _kill_midway(folder: Path, at: int) -> None:
    """Make a layer and die at the given file operation."""
    left = at
    names = ("link", "replace", "rename", "unlink", "open", "utime")
    originals = {name: getattr(os, name) for name in names}

    def dying(name: str) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return originals[name](*arguments, **options)

        return call

    cache = LocalCache(folder)
    for name in names:
        setattr(os, name, dying(name))
    with cache.use() as use:
        use.layer("key", _maker())
    os._exit(0)


def test_a_kill_at_any_moment_leaves_a_usable_cache(tmp_path: Path) -> None:
    codes = []
    for at in range(1, 40):
        child = FORK.Process(target=_kill_midway, args=(tmp_path / str(at), at))
        child.start()
        child.join(30)
        codes.append(child.exitcode)
        with LocalCache(tmp_path / str(at)).use() as use:
            layer = use.layer("key", _maker()).layer
        assert f"sha256:{layer.path.name}" == layer.digest
        assert LocalCache(tmp_path / str(at)).verify() == []
        if child.exitcode == 0:
            break

    assert codes[-1] == 0
    assert codes[:-1] == [-signal.SIGKILL] * (len(codes) - 1)
    assert len(codes) > 4


def _hammer(folder: Path, seed: int) -> None:
    import random

    chance, cache = random.Random(seed), LocalCache(folder)
    for _ in range(40):
        if chance.random() < 0.3:
            cache.prune(max_bytes=chance.choice([0, 200]))
            continue
        with cache.use() as use:
            for _ in range(3):
                number = chance.randrange(4)
                made = use.layer(str(number), _maker(str(number).encode() * 50))
                data = made.layer.path.read_bytes()
                assert len(data) == made.layer.size
    os._exit(0)


def test_many_processes_make_and_prune_at_once(tmp_path: Path) -> None:
    children = [FORK.Process(target=_hammer, args=(tmp_path, seed)) for seed in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)

    assert [child.exitcode for child in children] == [0] * 4
    assert LocalCache(tmp_path).verify() == []


def _slow(folder: Path) -> None:
    def make(out: Path) -> Made:
        with (folder / "made").open("a") as file:
            file.write("x")
        time.sleep(0.3)
        return _maker()(out)

    with LocalCache(folder / "cache").use() as use:
        use.layer("key", make)
    os._exit(0)


def test_what_two_want_is_made_once(tmp_path: Path) -> None:
    children = [FORK.Process(target=_slow, args=(tmp_path,)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)

    assert [child.exitcode for child in children] == [0] * 3
    assert (tmp_path / "made").read_text() == "x"


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    def full(out: Path) -> Made:
        raise OSError(errno.ENOSPC, "No space left on device", str(out))

    with LocalCache(tmp_path).use() as use, pytest.raises(ConfigError) as caught:
        use.layer("key", full)

    assert caught.value.code == "image.disk_full"


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError) as caught:
        LocalCache(tmp_path / "file")

    assert caught.value.code == "image.cache_unusable"


def test_notes_can_be_read_by_people(tmp_path: Path) -> None:
    with LocalCache(tmp_path).use() as use:
        layer = use.layer("key", _maker()).layer

    assert json.loads((tmp_path / "keys/key.json").read_text()) == {
        "digest": layer.digest,
        "diff_id": layer.diff_id,
        "size": layer.size,
        "name": "x 1",
        "brought": {"x 1": {"lib/x": "sha256=abc"}},
    }
