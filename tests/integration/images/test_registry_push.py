"""Whole images: side by side, watched, given up, copied, kept; and what they cost in memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
import uuid
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.errors import AwsError, ConfigError, NotFoundError
from clary.images import oci
from clary.images.building import Layer
from clary.images.reference import Reference
from clary.images.registry.blobs import Bytes
from clary.images.registry.copy import copy_image
from clary.images.registry.layercache import LayerCache
from clary.images.registry.push import push_image
from clary.images.registry.uploads import Meter, Outcome
from registry_images import check_image, registry_at, small_image
from registry_proxy import Proxy, once, proxy_before
from registry_server import Server, docker_registry, needs_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.images.registry.client import Registry

pytestmark = needs_registry
IMAGE = small_image(11, layers=5)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    with (
        docker_registry(tmp_path_factory.mktemp("one")) as one,
        docker_registry(tmp_path_factory.mktemp("other")) as other,
    ):
        yield one, other


@pytest.fixture
def proxy(servers: tuple[Server, Server]) -> Iterator[Proxy]:
    with proxy_before(servers[0].host) as found:
        yield found


@pytest.fixture
def registry(proxy: Proxy) -> Iterator[Registry]:
    found = registry_at(proxy.origin)
    yield found
    found.close()


@pytest.fixture
def other(servers: tuple[Server, Server]) -> Iterator[Registry]:
    found = registry_at(servers[1].origin)
    yield found
    found.close()


def new() -> str:
    return f"app/{uuid.uuid4().hex}"


class Watcher:
    def __init__(self) -> None:
        self.told: list[tuple[str, int, int, float]] = []

    def stage(self, text: str) -> None:
        raise AssertionError(text)

    def transfer(self, name: str, done: int, total: int) -> None:
        self.told.append((name, done, total, time.monotonic()))

    def of(self, name: str) -> list[tuple[int, float]]:
        return [(done, at) for named, done, _, at in self.told if named == name]


class Slow(Bytes):
    """A blob that is read at the pace of a line."""

    def open(self) -> Slow:
        self.__dict__["at"] = 0
        return self

    def read(self, size: int) -> bytes:
        time.sleep(0.01)
        begin: int = self.__dict__["at"]
        taken = self.data[begin : begin + min(size, 20_000)]
        self.__dict__["at"] = begin + len(taken)
        return taken

    def seek(self, offset: int) -> int:
        self.__dict__["at"] = offset
        return offset

    def close(self) -> None:
        """Nothing is open."""


def test_progress_is_told_seldom_and_to_the_end(registry: Registry) -> None:
    watcher = Watcher()
    blob = Slow(os.urandom(1_000_000), "torch 2.6")
    registry.push_blob(new(), blob, progress=watcher)
    told = watcher.of("torch 2.6")
    assert told[-1][0] == blob.size
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    pauses = [after - before for (_, before), (_, after) in pairwise(told[:-1])]  # the last byte may come sooner
    assert len(told) >= 4
    assert min(pauses) >= 0.09
    assert {total for *_, total, _ in watcher.told} == {blob.size}


def test_what_needs_no_upload_is_told_as_done(registry: Registry) -> None:
    blob, repository = IMAGE.blobs[0], new()
    registry.push_blob(repository, blob)
    for target, lenders in ((repository, ()), (new(), (repository,))):
        watcher = Watcher()
        registry.push_blob(target, blob, mount_from=lenders, progress=watcher)
        assert [done for done, _ in watcher.of(blob.name)] == [blob.size]


def test_the_meter_tells_the_last_byte_however_soon() -> None:
    watcher = Watcher()
    meter = Meter(watcher, Bytes(b"12345"))
    for done in range(6):
        meter.at(done)
    assert [done for _, done, _, _ in watcher.told] == [0, 5]


def test_blobs_go_side_by_side(registry: Registry) -> None:
    blobs = [Slow(os.urandom(400_000), f"layer {number}") for number in range(4)]
    config = Bytes(oci.canonical({"os": "linux", "architecture": "amd64"}))
    described = [oci.Descriptor(oci.DOCKER_LAYER, blob.digest, blob.size) for blob in blobs]
    watcher = Watcher()
    push_image(registry, new(), oci.manifest_of(config.data, described), [*blobs, config], progress=watcher, at_once=4)
    began = [watcher.of(blob.name)[0][1] for blob in blobs]
    ended = [watcher.of(blob.name)[-1][1] for blob in blobs]
    assert max(began) < min(ended)


def test_one_failure_ends_the_others_soon_and_nothing_points_to_the_image(
    registry: Registry, proxy: Proxy, servers: tuple[Server, Server]
) -> None:
    endless = [Slow(os.urandom(80_000_000), f"large {number}") for number in range(3)]  # forty seconds each
    broken = Layer(f"sha256:{'1' * 64}", "", 1, Path("/nowhere/layer"), "broken")
    repository, began = new(), time.monotonic()
    manifest = oci.manifest_of(b"{}", [oci.Descriptor(oci.DOCKER_LAYER, one.digest, one.size) for one in endless])
    with pytest.raises(ConfigError, match="broken") as caught:
        push_image(registry, repository, manifest, [*endless, broken], tags=["v1"])
    assert caught.value.code == "image.layer_changed"
    assert time.monotonic() - began < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clary-push")]
    assert "put manifest" not in proxy.manners.steps()
    assert registry.manifest(repository, "v1") is None


def test_a_copy_is_the_same_image_and_goes_through_once(registry: Registry, other: Registry, proxy: Proxy) -> None:
    repository, target = new(), new()
    push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
    image = Reference.parse(f"{proxy.host}/{repository}:v1")
    watcher = Watcher()
    copied = copy_image(registry, image, other, target, tags=["mine"], progress=watcher)
    assert copied.digest == IMAGE.digest
    assert set(copied.outcomes.values()) == {Outcome.UPLOADED}
    check_image(other, target, IMAGE, "mine")
    assert {name for name, *_ in watcher.told} == {*(f"layer {n} of 5" for n in range(1, 6)), "configuration"}
    proxy.manners.seen.clear()
    again = copy_image(registry, image, other, target, tags=["mine"])
    assert (again.digest, again.outcomes) == (IMAGE.digest, {})
    assert "get blob" not in proxy.manners.steps()


def test_a_copy_within_a_registry_moves_no_bytes(registry: Registry, proxy: Proxy) -> None:
    repository = new()
    push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
    image = Reference.parse(f"{proxy.host}/{repository}:v1")
    proxy.manners.seen.clear()
    copied = copy_image(registry, image, registry, new())
    assert set(copied.outcomes.values()) == {Outcome.MOUNTED}
    assert copied.uploaded == 0
    assert not {"get blob", "put"} & set(proxy.manners.steps())


@pytest.mark.parametrize("where", ["source", "target"])
def test_a_copy_survives_faults_on_both_sides(
    registry: Registry, other: Registry, proxy: Proxy, where: str, servers: tuple[Server, Server]
) -> None:
    repository, target = new(), new()
    whole, far = (registry, other) if where == "source" else (other, registry)
    push_image(whole, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
    proxy.manners.remembers = True
    proxy.manners.faults = {
        "get blob": ["cut reply", "reset", "503", "cut reply", "cut reply"],
        "put": ["reset midway", "lose reply", "500"],
        "patch": ["reset midway"],
    }
    image = Reference.parse(f"{whole.host}/{repository}:v1")
    copy_image(whole, image, far, target, tags=["v1"])
    assert len(proxy.manners.met) >= 3
    check_image(far, target, IMAGE, "v1")


def test_damaged_bytes_are_not_copied(registry: Registry, other: Registry, proxy: Proxy) -> None:
    repository, target = new(), new()
    push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
    proxy.manners.faults = once("get blob", *["wrong bytes"] * 100)
    with pytest.raises(AwsError) as caught:
        copy_image(registry, Reference.parse(f"{proxy.host}/{repository}:v1"), other, target, tags=["v1"])
    assert caught.value.code == "registry.wrong_digest"
    assert other.manifest(target, "v1") is None
    proxy.manners.faults = once("get blob", "wrong bytes")
    copy_image(registry, Reference.parse(f"{proxy.host}/{repository}:v1"), other, target, tags=["v1"])
    check_image(other, target, IMAGE, "v1")


def test_what_is_not_there_cannot_be_copied(registry: Registry, other: Registry, proxy: Proxy) -> None:
    with pytest.raises(NotFoundError) as caught:
        copy_image(registry, Reference.parse(f"{proxy.host}/nowhere:v1"), other, new())
    assert caught.value.code == "registry.not_found"


def test_a_kept_layer_is_found_and_lent(registry: Registry, proxy: Proxy, tmp_path: Path) -> None:
    kept = new()
    cache = LayerCache(registry, kept)
    blob = IMAGE.blobs[0]
    (tmp_path / "layer").write_bytes(blob.data)
    layer = Layer(blob.digest, f"sha256:{'2' * 64}", blob.size, tmp_path / "layer", "numpy 2.3.1")
    assert cache.find("numpy any key: /") is None
    assert cache.keep("numpy any key: /", layer) == cache.find("numpy any key: /") == (layer.descriptor, layer.diff_id)
    assert cache.find("another") is None
    (tmp_path / "layer").unlink()
    proxy.manners.seen.clear()
    assert cache.keep("numpy any key: /", layer).diff_id == layer.diff_id  # it is there, and nobody reads the file
    assert "put" not in proxy.manners.steps()
    assert registry.push_blob(new(), layer, mount_from=[kept]) is Outcome.MOUNTED
    described = registry.manifest(kept, registry.tags(kept)[0])
    assert described is not None
    assert [one.digest for one in described.manifest.layers] == [layer.digest]


_COST = """
import sys
from pathlib import Path
def peak():
    line, = [one for one in open("/proc/self/status") if one.startswith("VmHWM")]
    return int(line.split()[1])
bare = peak()
from clary.images.building import Layer
from clary.images.oci import Descriptor
from clary.images.registry.client import Registry
from clary.images.registry.http import Http
origin, file, digest, size = sys.argv[1:]
registry, size = Registry(Http(origin)), int(size)
registry.push_blob("big/one", Layer(digest, digest, size, Path(file), "big"))
with registry.read_blob("big/one", digest, size) as chunks:
    assert sum(map(len, chunks)) == size
registry.push_blob("big/two", Registry(Http(origin)).blob("big/one", Descriptor("", digest, size), "big"))
print(peak() - bare)
"""


def test_a_large_blob_costs_little_memory(servers: tuple[Server, Server], tmp_path: Path) -> None:
    """Pushed, read and copied by a process of its own: 96 MiB cost what the client itself needs. 500 MiB cost no
    more (18 MiB over the interpreter), which the test need not show every time."""
    piece, seen = os.urandom(1 << 20), hashlib.sha256()
    with (tmp_path / "blob").open("wb") as file:
        for number in range(96):
            part = number.to_bytes(8, "big") + piece[8:]
            seen.update(part)
            file.write(part)
    command = [sys.executable, "-c", _COST, servers[0].origin, str(tmp_path / "blob"), f"sha256:{seen.hexdigest()}"]
    done = subprocess.run([*command, str(96 << 20)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40 * 1024  # KiB
