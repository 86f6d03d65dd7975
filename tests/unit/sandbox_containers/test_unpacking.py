"""Unpacking layers: what they may do, what they cannot, and how they lie over each other."""

from __future__ import annotations

import os
import stat
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.sandbox.containers.inside import follow
from clary.sandbox.containers.unpacking import BadLayerError, lay_over, leftovers, unpack, unpacked
from oci_images import Layer, entry, layer

if TYPE_CHECKING:
    from clary.sandbox.containers import unpacking
    from clary.sandbox.containers.image import Image
    from clary.sandbox.containers.namespaces import Mode
    from unit.sandbox_containers.conftest import Machine


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    (tmp_path / "layers/empty").mkdir(parents=True)
    return tmp_path / "layers"


def put(layers: Path, one: Layer) -> unpacking.Layer:
    blob = layers.parent / "blob"
    blob.write_bytes(one.data)
    return unpack(layers, blob, one.digest, one.diff_id)


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def test_files_folders_and_links(layers: Path) -> None:
    one = layer(
        entry("a", mode=0o555),
        ("a/file", "1"),
        entry("./b/c/"),
        entry("b/link", tarfile.SYMTYPE, "/a/file"),
        entry("b/hard", tarfile.LNKTYPE, "a/file"),
        entry("b/pipe", tarfile.FIFOTYPE, mode=0o600),
        entry("b/device", tarfile.CHRTYPE),
        ("deep/er/file", "2"),
    )
    put_there = put(layers, one)
    root = put_there.path
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o555
    assert (root / "b/link").readlink() == Path("/a/file")
    assert (root / "b/hard").samefile(root / "a/file")
    assert stat.S_ISFIFO((root / "b/pipe").stat().st_mode)
    assert (put_there.skipped, (root / "b/device").exists()) == (("b/device",), False)
    assert (root / "deep/er/file").read_text() == "2"
    assert stat.S_IMODE((root / "deep").stat().st_mode) == 0o755


def test_a_layer_is_unpacked_once(layers: Path) -> None:
    one = layer(("a", "1"))
    first = put(layers, one)
    (first.path / "a").write_text("as it is")
    assert put(layers, one) == first == unpacked(layers, one.diff_id)
    assert files(first.path) == {"a": "as it is"}
    assert unpacked(layers, one.diff_id[:-1] + ("0" if one.diff_id[-1] != "0" else "1")) is None


def test_modes_survive_the_owner(layers: Path) -> None:
    root = put(layers, layer(("su", "x"), mode=0o4755)).path
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o4755
    if os.getuid() == 0:
        owned = entry("home/worker")
        owned.uid, owned.gid = 1234, 4321
        found = (put(layers, layer(owned)).path / "home/worker").stat()
        assert (found.st_uid, found.st_gid) == (1234, 4321)


@pytest.mark.parametrize(
    "name", ["../outside/file", "/../../outside/file", "a/../../outside/file", "out/file", "up/file", "round/up/file"]
)
def test_nothing_leads_out(layers: Path, name: str) -> None:
    (layers.parent / "outside").mkdir()
    one = layer(
        entry("out", tarfile.SYMTYPE, str(layers.parent / "outside")),
        entry("up", tarfile.SYMTYPE, "../../outside"),
        entry("round", tarfile.SYMTYPE, "."),
        (name, "1"),
    )
    root = put(layers, one).path
    assert list((layers.parent / "outside").iterdir()) == []
    assert len([path for path in root.rglob("file") if path.is_file() and path.is_relative_to(root)]) == 1


def test_a_link_is_replaced_and_not_written_through(layers: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    one = layer(entry("a", tarfile.SYMTYPE, str(tmp_path / "victim")), ("a", "1"), entry("b"), ("b", "a file now"))
    root = put(layers, one).path
    assert (tmp_path / "victim").read_text() == "untouched"
    assert files(root) == {"a": "1", "b": "a file now"}


@pytest.mark.parametrize(
    "entries",
    [
        [entry("a", tarfile.LNKTYPE, "../../../etc/passwd")],
        [entry("a", tarfile.LNKTYPE, "/etc/passwd")],
        [entry("l", tarfile.SYMTYPE, "l"), ("l/file", "1")],
        [("a", "1"), ("a/b", "2")],
    ],
)
def test_layers_that_cannot_be(layers: Path, entries: list[tarfile.TarInfo | tuple[str, str]]) -> None:
    with pytest.raises(BadLayerError):
        put(layers, layer(*entries))
    assert sorted(path.name for path in layers.iterdir()) == ["empty"]


def test_bytes_that_are_not_the_layer(layers: Path) -> None:
    one = layer(("a", "1"))
    cut = replace(one, data=one.data[:-20])
    zstd = replace(one, data=b"\x28\xb5\x2f\xfd" + bytes(100))
    plain = replace(one, data=one.plain)
    other = layers.parent / "other"
    other.write_bytes(layer(("a", "2")).data)
    with pytest.raises(BadLayerError, match="is not what its digest"):
        unpack(layers, other, one.digest, one.diff_id)
    with pytest.raises(BadLayerError, match="no archive"):
        put(layers, cut)
    with pytest.raises(BadLayerError, match="zstd"):
        put(layers, zstd)
    assert files(put(layers, plain).path) == {"a": "1"}


def test_an_archive_without_its_end(layers: Path) -> None:
    import gzip

    whole = layer(("a", "123"))
    plain = whole.plain[: 512 + 3]
    assert files(put(layers, Layer(plain, gzip.compress(plain))).path) == {"a": "123"}


_BELOW = layer(("keep", "1"), ("gone", "2"), ("folder/old", "3"), ("folder/deep/old", "4"), ("other/file", "5"))
_ABOVE = layer(
    ("new", "6"),
    (".wh.gone", ""),
    ("folder/.wh..wh..opq", ""),
    ("folder/new", "7"),
    (".wh.other", ""),
    entry("other"),
    ("other/fresh", "8"),
    (".wh..wh.plnk", ""),
)
_TOGETHER = {"keep": "1", "new": "6", "folder/new": "7", "other/fresh": "8"}


def test_what_a_layer_removes(layers: Path, tmp_path: Path) -> None:
    above = put(layers, _ABOVE)
    assert (above.removed, above.opaque) == (("gone",), ("folder", "other"))
    root = tmp_path / "root"
    root.mkdir()
    for one in (put(layers, _BELOW), above):
        lay_over(one, root)
    assert files(root) == _TOGETHER


def test_copying_keeps_links_modes_and_pipes(layers: Path, tmp_path: Path) -> None:
    link, pipe = entry("link", tarfile.SYMTYPE, "/nowhere"), entry("p", tarfile.FIFOTYPE)
    one = layer(("tool", "x"), entry("shut", mode=0o500), link, pipe, mode=0o4755)
    root = tmp_path / "root"
    root.mkdir()
    lay_over(put(layers, layer(entry("link"), ("link/file", "a folder before"))), root)
    lay_over(put(layers, one), root)
    assert stat.S_IMODE((root / "tool").stat().st_mode) == 0o4755
    assert stat.S_IMODE((root / "shut").stat().st_mode) == 0o500
    assert (root / "link").readlink() == Path("/nowhere")
    assert stat.S_ISFIFO((root / "p").stat().st_mode)


@pytest.mark.namespaces
@pytest.mark.parametrize("overlay", [True, False])
def test_a_container_sees_them_over_each_other(
    layers: Path, make_machine: object, mode: Mode, image: Image, overlay: bool
) -> None:
    if overlay and not mode.overlay:
        pytest.skip("no overlay file systems here")
    walk = "import os; print(sorted(os.path.join(p, n) for p, _, names in os.walk('/data') for n in names))"
    below, above = (
        put(layers, layer(("data/keep", "1"), ("data/gone", "2"), ("data/folder/old", "3"))),
        put(layers, layer(("data/.wh.gone", ""), ("data/folder/.wh..wh..opq", ""), ("data/folder/new", "4"))),
    )
    mounted = replace(image, root=layers / "empty", layers=(put(layers, _places(image)), below, above))
    machine: Machine = make_machine(replace(mode, overlay=overlay), of=mounted)  # type: ignore[operator]
    assert machine.run(walk) == (0, "['/data/folder/new', '/data/keep']\n")
    assert machine.run("open('/data/keep', 'w').write('mine'); print(open('/data/keep').read())") == (0, "mine\n")
    assert (below.path / "data/keep").read_text() == "1"


def _places(image: Image) -> Layer:
    """The folders of the sandbox's own image, to which this machine's are mounted."""
    found: list[tarfile.TarInfo | tuple[str, str]] = []
    for path in sorted(image.root.rglob("*")):
        name = str(path.relative_to(image.root))
        if path.is_symlink():
            found.append(entry(name, tarfile.SYMTYPE, str(path.readlink())))
        else:
            found.append(entry(name) if path.is_dir() else (name, path.read_text()))
    return layer(*found)


def test_links_are_followed_inside(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "away").symlink_to("/real")
    (tmp_path / "back").symlink_to("real/../../../../real")
    (tmp_path / "file").write_text("")
    root = str(tmp_path)
    assert follow(root, "away/inner") == f"{root}/real/inner"
    assert follow(root, "/back//./") == f"{root}/real"
    assert follow(root, "../..") == root
    with pytest.raises(NotADirectoryError):
        follow(root, "file/inner")


def test_what_no_image_has_is_left_over(layers: Path) -> None:
    kept, gone = put(layers, layer(("a", "1"))), layer(("a", "2"))
    put(layers, gone)
    (layers / ".arriving-x").mkdir()
    names = {path.name for path in leftovers(layers, {layer(("a", "1")).diff_id})}
    folder = gone.diff_id[7:31]
    assert names == {".arriving-x", folder, f"{folder}.json"}
    assert kept.path.is_dir()
