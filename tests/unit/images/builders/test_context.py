"""The context of a build: what is in it, what is not, and that its bytes depend on the files alone."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

import package_index
from clary.code.archive import content_digest
from clary.errors import ClaryError
from clary.image import Image
from clary.images import added
from clary.images.builders.context import Entry, Selected, digest_of, pack, selected
from clary.images.builders.dockerignore import Ignored
from clary.images.builders.sources import engine_name, sources_of
from clary.images.building import Order, Python, Wheel
from clary.images.packages import pylocks, store
from clary.images.reference import Reference


def files(found: Selected) -> list[str]:
    return [entry.path for entry in found.entries if not entry.folder]


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_files_that_hold_secrets_stay_unless_they_are_asked_for(tmp_path: Path) -> None:
    make(tmp_path, "a", ".env", "x/id_rsa", ".aws/credentials", "x/b", ".env.example")
    found = selected(tmp_path, Ignored([]))
    assert files(found) == [".env.example", "a", "x/b"]
    assert found.withheld == (".aws", ".env", "x/id_rsa")
    asked = selected(tmp_path, Ignored(["!x/id_rsa", "!.aws/credentials"]))
    assert files(asked) == [".env.example", "a", "x/b", "x/id_rsa"]


def test_a_secret_in_a_folder_that_is_taken_back(tmp_path: Path) -> None:
    make(tmp_path, "out/a", "out/b", "out/.env")
    found = selected(tmp_path, Ignored(["out", "!out/a"]))
    assert files(found) == ["out/a"]
    assert found.withheld == ()


def test_links_inside_travel_and_links_outside_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "a", "x/b")
    (root / "x" / "to").symlink_to("../a")
    (root / "absolute").symlink_to(root / "x" / "b")
    links = {entry.path: entry.link for entry in selected(root, Ignored([])).entries if entry.link}
    assert links == {"absolute": "x/b", "x/to": "../a"}
    (root / "out").symlink_to("../elsewhere")
    with pytest.raises(ClaryError) as caught:
        selected(root, Ignored([]))
    assert (caught.value.code, caught.value.field) == ("image.link_outside", "image.context")
    assert ".dockerignore" in caught.value.next_step
    assert "out" not in files(selected(root, Ignored(["out"])))


def test_a_link_that_leads_out_through_another_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root" / "a").symlink_to("../elsewhere")
    (tmp_path / "root" / "b").symlink_to("a/x")
    with pytest.raises(ClaryError) as caught:
        selected(tmp_path / "root", Ignored(["a"]))
    assert caught.value.code == "image.link_outside"


def test_sockets_and_the_like_do_not_travel(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert files(selected(tmp_path, Ignored([]))) == []


@pytest.mark.parametrize("compressed", [True, False])
def test_the_same_files_give_the_same_bytes(tmp_path: Path, compressed: bool) -> None:
    digests = []
    for number, name in enumerate(("one", "two")):
        root = tmp_path / name
        for path in sorted(["x/a", "b", "é" * 80], reverse=bool(number)):
            make(root, path)
        (root / "b").chmod(0o700 if number else 0o755)
        os.utime(root / "x" / "a", (number, number))
        digests.append(pack(selected(root, Ignored([])).entries, tmp_path / f"{name}.tar", compressed=compressed))
    assert digests[0] == digests[1]
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_an_archive_holds_files_folders_and_links_of_nobody(tmp_path: Path) -> None:
    make(tmp_path, "run.sh")
    (tmp_path / "run.sh").chmod(0o700)
    entries = [
        Entry("x/y/run.sh", tmp_path / "run.sh", executable=True),
        Entry("text", b"content"),
        Entry("empty", folder=True),
        Entry("x/link", link="y/run.sh"),
    ]
    pack(entries, tmp_path / "c.tar", compressed=False)
    with tarfile.open(tmp_path / "c.tar") as tar:
        found = {one.name: (one.mode, one.type, one.linkname) for one in tar}
        assert all((one.uid, one.gid, one.uname, one.gname, one.mtime) == (0, 0, "", "", 0) for one in tar)
        assert tar.extractfile("text").read() == b"content"  # type: ignore[union-attr]
    folder = (0o755, tarfile.DIRTYPE, "")
    assert list(found) == [".", "empty", "text", "x", "x/link", "x/y", "x/y/run.sh"]
    assert found["."] == found["empty"] == found["x"] == found["x/y"] == folder
    assert found["x/y/run.sh"][:2] == (0o755, tarfile.REGTYPE)
    assert found["x/link"] == (0o777, tarfile.SYMTYPE, "y/run.sh")


def test_a_file_that_goes_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClaryError) as caught:
        pack([Entry("a", tmp_path / "a")], tmp_path / "c.tar", compressed=True)
    assert caught.value.code == "image.unreadable"
    assert "a cannot be put" in caught.value.summary


def test_a_file_that_is_no_longer_what_was_chosen_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a")
    entry = Entry("a", tmp_path / "a", digest=content_digest(tmp_path / "a"))
    assert pack([entry], tmp_path / "c.tar", compressed=False) == digest_of([entry])
    (tmp_path / "a").write_text("b")
    with pytest.raises(ClaryError) as caught:
        pack([entry], tmp_path / "c.tar", compressed=False)
    assert caught.value.code == "image.copy_changed"


def test_what_is_added_lies_below_its_own_name(tmp_path: Path) -> None:
    make(tmp_path, "data/x/y", "one")
    image = Image(copy={"data": "/srv/data", "one": "/opt/one"})
    base, target = Reference.parse("registry.example/b@sha256:" + "b" * 64), Reference("registry.example", "a", "t")
    wanted = Order(image, tmp_path, base, target, None, copies=added.copies(image, tmp_path, tmp_path / "cache"))
    found = sources_of(wanted, tmp_path, tmp_path / "images", buildkit=True, addresses={})
    assert [entry.path for entry in found.entries] == ["Dockerfile", "copy/0", "copy/0/x/y", "copy/1"]


def test_wheels_that_no_index_has_lie_beside_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "near-1.0-py3-none-any.whl"
    file.write_bytes(package_index.wheel("near", "1.0", tag="py3-none-any"))
    sha256, size, path = store.take_in(store.wheel_store(tmp_path / "images"), file)
    near = Wheel("near", "1.0", file.name, sha256, size)
    far = Wheel(
        "far", "1.0", "far-1.0-py3-none-any.whl", "0" * 64, 1, url="https://index.example/far-1.0-py3-none-any.whl"
    )
    python = Python("3.12", "/usr/bin/python3.12")
    base, target = Reference.parse("registry.example/b@sha256:" + "b" * 64), Reference("registry.example", "a", "t")
    wanted = Order(Image(), tmp_path, base, target, python, lock=pylocks.render([near, far], [], python))
    for buildkit in (True, False):
        found = sources_of(wanted, tmp_path, tmp_path / "images", buildkit=buildkit, addresses={})
        [entry] = [entry for entry in found.entries if entry.path.endswith(".whl")]
        assert (entry.path, entry.source, entry.digest) == (f"packages/wheels/{file.name}", path, sha256)
        assert f'path = "wheels/{file.name}"'.encode() in wanted.lock
    path.unlink()
    with pytest.raises(ClaryError) as caught:
        sources_of(wanted, tmp_path, tmp_path / "images", buildkit=True, addresses={})
    assert caught.value.code == "image.wheel_missing"


def own(project: Path, image: Image) -> Order:
    return Order(image, project, None, Reference("registry.example", "a", "t"), None)


def test_a_dockerfiles_own_ignore_file_wins(tmp_path: Path) -> None:
    make(tmp_path, "a", "b", "Dockerfile")
    (tmp_path / ".dockerignore").write_text("a\n")
    (tmp_path / "Dockerfile.dockerignore").write_text("b\nDockerfile\n")
    found = sources_of(
        own(tmp_path, Image(dockerfile="Dockerfile")), tmp_path, tmp_path / "images", buildkit=True, addresses={}
    )
    paths = [entry.path for entry in found.entries]
    assert "a" in paths
    assert "b" not in paths
    assert paths.count("Dockerfile") == 1, "it travels even where it is ignored"


@pytest.mark.parametrize(
    ("image", "code", "field"),
    [
        (Image(dockerfile="Dockerfile.other"), "image.no_dockerfile", "image.dockerfile"),
        (Image(dockerfile="folder"), "image.no_dockerfile", "image.dockerfile"),
        (Image(dockerfile="Dockerfile", context="nowhere"), "image.no_context", "image.context"),
    ],
)
def test_what_is_not_there_is_told(tmp_path: Path, image: Image, code: str, field: str) -> None:
    make(tmp_path, "Dockerfile", "folder/a")
    with pytest.raises(ClaryError) as caught:
        sources_of(own(tmp_path, image), tmp_path, tmp_path / "images", buildkit=True, addresses={})
    assert (caught.value.code, caught.value.field) == (code, field)


def test_the_registries_of_a_dockerfile_are_known(tmp_path: Path) -> None:
    lines = [
        "ARG V=1",
        "FROM --platform=linux/amd64 a.example/x:1 AS one",
        "from b.example:5000/y",
        "FROM $V",
        "FROM one",
    ]
    (tmp_path / "Dockerfile").write_text("\n".join(lines))
    found = sources_of(
        own(tmp_path, Image(dockerfile="Dockerfile")), tmp_path, tmp_path / "images", buildkit=True, addresses={}
    )
    assert found.hosts == ("a.example", "b.example:5000", "registry-1.docker.io")


def test_an_engines_name_of_an_image() -> None:
    digest = "sha256:" + "a" * 64
    assert engine_name(Reference.parse(f"python:3.12@{digest}"), {}) == f"docker.io/library/python@{digest}"
    assert engine_name(Reference("h.example", "a", "t"), {"h.example": "127.0.0.1:5000"}) == "127.0.0.1:5000/a:t"
