"""Images of the builder ``layers``, pulled and run by a real Docker engine: on a base with owners, modes and links."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import ConfigError
from clary.images import oci, service
from clary.images.building import Built, Quiet
from clary.images.oci import Descriptor
from clary.images.preparing import prepare
from clary.images.registry.blobs import Bytes
from clary.images.registry.push import push_image
from clary.images.registry.registries import Registries
from clary.images.site import Site
from clary.images.spec import parsed

if TYPE_CHECKING:
    from docker_engine import Engine

pytestmark = pytest.mark.timeout(180)
Entry = tuple[str, int, int, str]
"""Path (a folder's ends in ``/``), mode, owner, where a link leads."""
LIVED_IN: list[Entry] = [
    ("home/app/", 0o750, 1000, ""),
    ("home/app/.config/", 0o700, 1000, ""),
    ("var/secret/", 0o700, 0, ""),
    ("srv/shared/", 0o2775, 3_000_000, ""),
    ("mnt/x/", 0o755, 0, ""),
    ("mnt/x/kept", 0o644, 0, ""),
    ("data", 0o777, 0, "/mnt/x"),
    ("conf", 0o777, 0, "mnt/x/kept"),
    ("turn", 0o777, 0, "turn"),
]


def layer(entries: list[Entry]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, mode, owner, target in entries:
            entry = tarfile.TarInfo(path.rstrip("/"))
            kind = tarfile.DIRTYPE if path.endswith("/") else tarfile.SYMTYPE if target else tarfile.REGTYPE
            entry.type, entry.mode, entry.linkname, entry.uid, entry.gid = kind, mode, target, owner, owner
            archive.addfile(entry)
    return packed.getvalue()


def on_base(engine: Engine, name: str, layers: list[bytes]) -> str:
    """Push the engine's base with more layers, and return its name."""
    with Registries() as registries:
        registry = registries.open(engine.base)
        found = registry.manifest(engine.base.repository, str(engine.base.digest))
        assert found is not None
        config = registry.config(engine.base.repository, found.manifest.config)
        blobs = [Bytes(gzip.compress(one, mtime=0)) for one in layers]
        diff_ids = [*config.diff_ids, *(oci.digest_of(one) for one in layers)]
        document = {**config.document, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        document.pop("history", None)
        data = oci.canonical(document)
        more = [Descriptor(oci.DOCKER_LAYER, one.digest, one.size) for one in blobs]
        manifest = oci.manifest_of(data, [*found.manifest.layers, *more])
        old = [registry.blob(engine.base.repository, one, "base") for one in found.manifest.layers]
        push_image(registry, name, manifest, [*old, *blobs, Bytes(data)], tags=["1"])
    return f"{engine.registry}/{name}:1"


@dataclass
class Bench:
    engine: Engine
    folder: Path
    base: str

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def build(self, **said: Any) -> Built:
        site = Site(Registries(), self.folder / "home", host=self.engine.registry, repository=self.folder.name.lower())
        image = parsed({"base": self.base, "requirements": [], **said})
        return service.ensure(prepare(image, self.project, site, Quiet()), site, Quiet())

    def run(self, built: Built, *words: str) -> str:
        return self.engine.docker("run", "--rm", "--network", "none", str(built.reference), *words)

    def stat(self, built: Built, *paths: str) -> list[str]:
        return self.run(built, "stat", "-c", "%n %a %u", *paths).splitlines()


@pytest.fixture(scope="module")
def lived_in(engine: Engine) -> str:
    return on_base(engine, "base/lived-in", [layer(LIVED_IN)])


@pytest.fixture
def bench(engine: Engine, lived_in: str, tmp_path: Path) -> Bench:
    made = Bench(engine, tmp_path, lived_in)
    made.project.mkdir()
    (made.project / "x").write_text("content")
    (made.project / "y").write_text("other")
    (made.project / "d").mkdir()
    (made.project / "d/x").write_text("inner")
    return made


def test_folders_of_the_base_keep_their_owners_and_modes(bench: Bench) -> None:
    places = {"x": "/home/app/.config/x", "y": "/var/secret/new/y", "d": "/srv/shared"}
    built = bench.build(copy=places)
    found = bench.stat(
        built, "/home/app", "/home/app/.config", "/home", "/var/secret", "/var/secret/new", "/srv/shared", "/tmp"
    )
    assert found == [
        "/home/app 750 1000",
        "/home/app/.config 700 1000",
        "/home 755 0",
        "/var/secret 700 0",
        "/var/secret/new 755 0",
        "/srv/shared 2775 3000000",
        "/tmp 1777 0",
    ]
    assert bench.run(built, "cat", "/home/app/.config/x", "/srv/shared/x") == "contentinner"


def test_links_of_the_base_are_followed(bench: Bench) -> None:
    built = bench.build(copy={"x": "/data/deep/x", "y": "/conf"})
    assert bench.run(built, "sh", "-c", "test -L /data && cat /mnt/x/deep/x /data/kept /conf") == "contentother"


@pytest.mark.parametrize(
    ("copy", "code", "step"),
    [
        ({"x": "/home/app"}, "image.bad_place", "/home/app/"),
        ({"x": "/data"}, "image.bad_place", "/data/"),
        ({"x": "/usr"}, "image.bad_place", "/usr/"),
        ({"d": "/mnt/x/kept"}, "image.copy_clash", "another place"),
        ({"x": "/turn/x"}, "image.bad_place", "plain"),
        ({"x": "/data/z", "y": "/mnt/x/z"}, "image.copy_clash", "another place"),
    ],
)
def test_what_would_take_the_place_of_the_bases_is_refused(
    bench: Bench, copy: dict[str, str], code: str, step: str
) -> None:
    site = Site(Registries(), bench.folder / "home", host=bench.engine.registry)
    image = parsed({"base": bench.base, "requirements": [], "copy": copy})
    with pytest.raises(ConfigError) as caught:
        prepare(image, bench.project, site, Quiet())
    assert caught.value.code == code
    assert step in str(caught.value.next_step)


def test_a_file_goes_into_a_folder_under_its_own_name(bench: Bench) -> None:
    built = bench.build(copy={"x": "/usr/", "y": "/tmp/", "d": "/opt/d/"})
    assert bench.run(built, "cat", "/usr/x", "/tmp/y", "/opt/d/x") == "contentotherinner"
    assert bench.stat(built, "/tmp", "/usr") == ["/tmp 1777 0", "/usr 755 0"]


def test_an_image_never_has_more_layers_than_an_engine_pulls(engine: Engine, bench: Bench) -> None:
    (bench.project / "run.py").write_text("print('ran')")
    filled = [layer([(f"f{number}", 0o644, 0, "")]) for number in range(124)]
    bench.base = on_base(engine, "base/deep", filled[:-1])  # 124 layers with the engine's own
    built = bench.build(code=True, copy={"x": "/opt/x"})
    assert bench.run(built, "sh", "-c", "python3 /opt/clary/code/run.py; cat /opt/x") == "ran\ncontent"
    bench.base = on_base(engine, "base/deeper", filled)
    with pytest.raises(ConfigError) as caught:
        bench.build(copy={"x": "/opt/x"})
    assert caught.value.code == "image.too_many_layers"
