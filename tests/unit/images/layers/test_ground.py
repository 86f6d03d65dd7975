"""What the layers of a base come to, for files that are put on them."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from clary.errors import ConfigError
from clary.images.added import AddedFile
from clary.images.layers import ground
from clary.images.layers.assembling import Folder
from clary.images.layers.ground import Ground
from clary.images.layers.making import files_layer

Entry = tuple[str, int, str]
"""Path (a folder's ends in ``/``), mode, where a link leads."""


def layer(*entries: Entry) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, mode, target in entries:
            entry = tarfile.TarInfo(path)
            kind = tarfile.DIRTYPE if path.endswith("/") else tarfile.SYMTYPE if target else tarfile.REGTYPE
            entry.type, entry.mode, entry.linkname, entry.uid, entry.gid = kind, mode, target, 7, 8
            archive.addfile(entry)
    return gzip.compress(packed.getvalue())


def seen(*layers: bytes) -> Ground:
    found = ground._Seen()
    for one in layers:
        found.read([one])
    return found.ground()


def laid(there: Ground, *paths: str) -> list[str]:
    return [file.path for file in there.laid([AddedFile(path, Path("x"), "") for path in paths])]


def test_later_layers_lie_over_earlier_ones() -> None:
    found = seen(
        layer(("./a/", 0o755, ""), ("./a/f", 0o644, ""), ("b/", 0o700, ""), ("b/c/", 0o755, ""), ("l", 0o777, "a")),
        layer(("a/", 0o711, ""), ("b/.wh.c", 0, ""), ("d/e/f", 0o644, "")),
    )
    assert found.folders == {
        "a": Folder(0o711, 7, 8),
        "b": Folder(0o700, 7, 8),
        "d": Folder(0o755),
        "d/e": Folder(0o755),
    }
    assert found.links == {"l": "a"}
    assert found.files == {"a/f", "d/e/f"}


@pytest.mark.parametrize("over", [[(".wh.b", 0, "")], [("b", 0o644, "")], [("b", 0o777, "a")]])
def test_what_was_in_a_folder_that_is_gone_is_gone(over: list[Entry]) -> None:
    before = layer(("a/", 0o755, ""), ("b/c/", 0o755, ""), ("b/c/f", 0o644, ""), ("bc", 0o644, ""))
    found = seen(before, layer(*over))
    assert not any(path.startswith("b/") for path in (*found.folders, *found.files))
    assert "bc" in found.files


def test_an_opaque_folder_hides_lower_layers_alone() -> None:
    found = seen(
        layer(("b/old", 0o644, ""), ("keep", 0o644, "")), layer(("b/new", 0o644, ""), ("b/.wh..wh..opq", 0, ""))
    )
    assert found.files == {"b/new", "keep"}


def test_links_are_followed_in_the_image() -> None:
    found = seen(
        layer(
            ("mnt/x/", 0o755, ""), ("data", 0o777, "/mnt/x"), ("mnt/up", 0o777, "../../mnt"), ("two", 0o777, "data/."),
            ("away", 0o777, "/nowhere/yet"), ("boot", 0o777, "/proc"), ("mnt/x/old", 0o777, "gone"),
        )
    )  # fmt: skip
    assert laid(found, "/data/f", "/mnt/up/x/g", "/two/h/i", "/away/j") == [
        "/mnt/x/f",
        "/mnt/x/g",
        "/mnt/x/h/i",
        "/nowhere/yet/j",
    ]
    assert laid(found, "/data/old") == ["/mnt/x/old"], "a link in the place of a file is replaced"
    with pytest.raises(ConfigError) as caught:
        laid(found, "/boot/x")
    assert caught.value.code == "image.bad_place"


def test_a_layer_changes_no_folder_that_is_there(tmp_path: Path) -> None:
    there = Ground({"srv": Folder(0o750, 1000, 3_000_000), "srv/old": Folder(0o1777, 5, 6)})
    (tmp_path / "x").write_text("")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    files = there.laid([AddedFile(path, tmp_path / "x", digest) for path in ("/srv/old/x", "/srv/new/x")])

    made = files_layer(files, tmp_path / "layer", "copied files", there.folders)

    with tarfile.open(made.path) as archive:
        modes = {one.name: (one.mode, one.uid, one.gid) for one in archive if one.isdir()}
    assert modes == {"srv": (0o750, 1000, 3_000_000), "srv/old": (0o1777, 5, 6), "srv/new": (0o755, 0, 0)}
    assert there.digest(files) != Ground({"srv": Folder(0o755)}).digest(files)
    assert there.digest(files) == Ground({**there.folders, "etc": Folder(0o700)}).digest(files)
