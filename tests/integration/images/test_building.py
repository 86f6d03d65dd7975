"""The builder ``layers`` from what was said to an image in a registry, with real tools at both ends."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import package_index
import tiny_base
from clary.errors import ClaryError, ConfigError
from clary.images import channel, inspecting, oci, service
from clary.images.building import Built, Quiet
from clary.images.layers.cache import LocalCache
from clary.images.packages import pylocks
from clary.images.preparing import Prepared, prepare
from clary.images.reference import Reference
from clary.images.registry.blobs import Bytes
from clary.images.registry.copy import copy_image
from clary.images.registry.push import push_image
from clary.images.registry.registries import Registries
from clary.images.site import Site
from clary.images.spec import parsed
from clary.objects import open_store
from package_index import PackageIndex
from registry_server import Server, docker_registry, needs_registry

pytestmark = [needs_registry, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Shop:
    """A registry with a base, an index with a few packages, a project, and a home."""

    server: Server
    index: PackageIndex
    project: Path
    home: Path
    registries: Registries = field(default_factory=Registries)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"{self.server.host}/base/python:3.11"

    def site(self, repository: str = "team/images", **options: Any) -> Site:
        return Site(
            registries=self.registries,
            home=self.home,
            host=self.server.host,
            repository=repository,
            builder=options,
            environment=self.environment,
        )

    def prepare(self, site: Site | None = None, *, upgrade: bool = False, **said: Any) -> Prepared:
        image = parsed({"base": self.base, "requirements": ["large", "small"], **said})
        return prepare(image, self.project, site or self.site(), Quiet(), upgrade=upgrade)

    def build(self, site: Site | None = None, **said: Any) -> Built:
        site = site or self.site()
        return service.ensure(self.prepare(site, **said), site, Quiet())

    def show(self, built: Built) -> inspecting.Seen:
        return inspecting.show(built.reference, self.registries)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("registry")
    with docker_registry(folder) as server:
        layer = tiny_base.make_layer(tiny_base.make_root(folder / "root"), folder / "base.tar.gz")
        config = oci.canonical(tiny_base.make_config(layer).document)
        manifest = oci.manifest_of(config, [layer.descriptor])
        target = Registries().open(Reference.parse(f"{server.host}/base/python"))
        push_image(target, "base/python", manifest, [layer, Bytes(config)], tags=["3.11"])
        yield server


@pytest.fixture
def shop(registry: Server, tmp_path: Path) -> Iterator[Shop]:
    with package_index.serving() as index:
        index.add_wheel("large", "1.0", payload=bytes(range(256)) * 40_000)
        index.add_wheel("small", "1.0", requires=["smaller"])
        index.add_wheel("smaller", "2.0")
        project = tmp_path / "project"
        project.mkdir()
        environment = package_index.environment(index, tmp_path / "uv")
        yield Shop(registry, index, project, tmp_path / "home", environment=environment)


def names_in(prepared: Prepared) -> set[str]:
    """Return the packages of an image with their versions."""
    wheels = pylocks.wheels_of(prepared.order.lock) if prepared.order.lock else ()
    return {f"{wheel.name} {wheel.version}" for wheel in wheels}


def unpacked(built: Built, folder: Path) -> Path:
    """Return an image's file system, copied by skopeo and unpacked by umoci."""
    for tool in ("skopeo", "umoci"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    source = f"docker://{built.reference}"
    _run("skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", source, f"oci:{folder}/oci:image")
    _run("umoci", "unpack", "--rootless", "--image", f"{folder}/oci:image", str(folder / "bundle"))
    return folder / "bundle/rootfs"


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_image_is_built_and_others_find_it_right(shop: Shop, tmp_path: Path) -> None:
    (shop.project / "run.py").write_text("import small\n")
    built = shop.build(code=True, env={"LEVEL": "info"}, entrypoint=["python", "run.py"])
    raw = json.loads(_run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{built.reference}"))
    assert raw["mediaType"] == oci.DOCKER_MANIFEST
    assert {layer["mediaType"] for layer in raw["layers"]} == {oci.DOCKER_LAYER}
    root = unpacked(built, tmp_path)
    python = "/opt/clary/venv/bin/python"
    printed = _run("chroot", str(root), python, "-c", "import small, large, smaller; print(smaller.VERSION)")
    assert printed == "2.0\n"
    assert (root / "opt/clary/code/run.py").read_text() == "import small\n"
    seen = shop.show(built)
    assert seen.environment["PATH"].startswith("/opt/clary/venv/bin:/usr/local/bin")
    assert seen.environment["LEVEL"] == "info"
    assert (seen.entrypoint, seen.workdir) == (("python", "run.py"), "/opt/clary/code")
    assert seen.packages == {"large": "1.0", "small": "1.0", "smaller": "2.0"}
    assert seen.labels["clary.builder"].startswith("layers ")
    assert seen.labels["org.opencontainers.image.base.name"] == f"{shop.server.host}/base/python"
    assert [layer.made_by for layer in seen.layers][-1] == "clary: code"


def test_what_is_there_is_not_built_again(shop: Shop) -> None:
    first = shop.build()
    assert first.uploaded
    again = shop.build()
    assert again.reference == first.reference
    assert again.uploaded == 0
    forced = service.ensure(shop.prepare(), shop.site(), Quiet(), force=True)
    assert (forced.reference, forced.uploaded) == (first.reference, 0)


@pytest.mark.parametrize("said", [{"code": True}, {"copy": {"run.py": "/opt/run.py"}}])
def test_a_file_that_changes_after_its_image_was_named_is_never_in_it(shop: Shop, said: dict[str, Any]) -> None:
    file = shop.project / "run.py"
    file.write_text("print(1)\n")
    prepared = shop.prepare(requirements=[], **said)
    file.write_text("print(2)\n")
    with pytest.raises(ConfigError) as caught:
        service.ensure(prepared, shop.site(), Quiet())
    assert caught.value.code == "image.copy_changed"
    target = prepared.order.target
    assert shop.registries.open(target).digest(target.repository, target.pointer) is None
    file.write_text("print(1)\n")
    assert service.ensure(prepared, shop.site(), Quiet()).uploaded


def test_bases_of_two_names_have_two_tags(shop: Shop) -> None:
    first = shop.prepare(requirements=[])
    registry = shop.registries.open(first.order.target)
    assert first.base is not None
    copy_image(registry, first.base.reference, registry, "other/python", tags=["3"])
    second = shop.prepare(requirements=[], base=f"{shop.server.host}/other/python:3")
    assert second.base is not None
    assert first.base.manifest.digest == second.base.manifest.digest
    assert first.order.target != second.order.target, "their labels differ"


def test_two_homes_and_two_repositories_give_one_digest(shop: Shop, tmp_path: Path) -> None:
    one = shop.build(shop.site("one"))
    shop.home = tmp_path / "elsewhere"
    two = shop.build(shop.site("two"))
    assert one.reference.digest == two.reference.digest


def test_a_change_of_code_moves_a_small_layer_alone(shop: Shop) -> None:
    (shop.project / "run.py").write_text("print(1)\n")
    shop.build(code=True)
    (shop.project / "run.py").write_text("print(2)\n")
    assert shop.build(code=True).uploaded in range(1, 10_000)


def test_a_plan_tells_what_a_build_then_does(shop: Shop) -> None:
    site = shop.site("planned", layer_threshold=1_000)
    plan = service.plan(shop.prepare(site), site)
    assert not plan.exists
    assert plan.packages == ("large 1.0", "small 1.0", "smaller 2.0")
    assert {layer.where for layer in plan.layers} == {"to mount", "to make"}
    assert plan.download == sum(len(data) for data in shop.index.files.values())
    built = shop.build(site)
    assert built.uploaded == pytest.approx(plan.upload, rel=0.1)
    after = service.plan(shop.prepare(site), site)
    assert (after.exists, after.upload, after.download, after.size) == (True, 0, 0, built.size)
    other = shop.site("another", layer_threshold=1_000)
    elsewhere = service.plan(shop.prepare(other), other)
    assert {layer.where for layer in elsewhere.layers} == {"to mount", "here"}


def test_a_plan_fetches_nothing_for_layers_that_are_made(shop: Shop) -> None:
    large = max(len(data) for data in shop.index.files.values())
    site = shop.site("fetching", layer_threshold=large)
    shop.build(site)
    shutil.rmtree(shop.home / "images/wheels")
    shop.index.add_wheel("extra", "1.0")
    plan = service.plan(shop.prepare(site, requirements=["large", "small", "extra"]), site)
    assert {layer.name: layer.where for layer in plan.layers[1:]} == {"large 1.0": "registry", "3 packages": "to make"}
    assert plan.download == sum(len(data) for data in shop.index.files.values()) - large


def test_images_are_compared_by_what_is_in_them(shop: Shop) -> None:
    before = shop.show(shop.build())
    shop.index.add_wheel("small", "1.1", requires=["smaller"])
    after = shop.show(shop.build(env={"LEVEL": "debug"}, requirements=["large", "small==1.1"]))
    found = inspecting.differences(before, after)
    assert found["packages"] == {"small": ("1.0", "1.1")}
    assert found["environment"] == {"LEVEL": (None, "debug")}
    assert inspecting.differences(after, after) == {}


def test_packages_stay_until_something_changes_or_news_are_asked_for(shop: Shop) -> None:
    first = shop.prepare()
    shop.index.add_wheel("small", "1.5")
    assert shop.prepare().reference == first.reference
    news = shop.prepare(upgrade=True)
    assert names_in(news) == {"large 1.0", "small 1.5"}
    assert shop.prepare().reference == news.reference


def test_a_plain_project_is_found_without_being_told(shop: Shop) -> None:
    (shop.project / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\ndependencies = ["small"]\n')
    prepared = shop.prepare(requirements=None)
    assert names_in(prepared) == {"small 1.0", "smaller 2.0"}
    (shop.project / "pyproject.toml").unlink()
    bare = shop.prepare(requirements=None)
    assert names_in(bare) == set()
    assert "VIRTUAL_ENV" not in bare.order.environment


def test_an_image_without_packages_is_its_base_and_more(shop: Shop, tmp_path: Path) -> None:
    (shop.project / "data").mkdir()
    (shop.project / "data/one.txt").write_text("1")
    (shop.project / "data/.env").write_text("SECRET=1")
    site = shop.site()
    prepared = shop.prepare(site, requirements=[], copy={"data": "/opt/data"}, user="1000")
    assert any(".env" in note for note in prepared.notes)
    built = service.ensure(prepared, site, Quiet())
    root = unpacked(built, tmp_path)
    assert sorted(path.name for path in (root / "opt/data").iterdir()) == ["one.txt"]
    assert shop.show(built).user == "1000"


def test_further_tags_point_to_the_same_image(shop: Shop) -> None:
    first = shop.build()
    shop.build(tag="release")
    target = replace(first.reference, digest=None, tag="release")
    assert inspecting.show(target, shop.registries).digest == first.reference.digest


def test_an_image_is_verified_to_its_last_byte(shop: Shop) -> None:
    built = shop.build(shop.site("verified"))
    seen, problems = inspecting.verify(built.reference, shop.registries, Quiet())
    assert (seen.digest, problems) == (built.reference.digest, [])
    registry = shop.registries.open(built.reference)
    found = registry.manifest("verified", str(built.reference.digest))
    assert found is not None
    config = registry.config("verified", found.manifest.config)
    lie = {**config.document, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * len(config.diff_ids)}}
    data = oci.canonical(lie)
    manifest = oci.manifest_of(data, found.manifest.layers)
    push_image(registry, "verified", manifest, [Bytes(data)], tags=["lie"])
    _, problems = inspecting.verify(replace(built.reference, digest=None, tag="lie"), shop.registries, Quiet())
    assert len(problems) == len(config.diff_ids)
    with pytest.raises(ClaryError) as caught:
        inspecting.verify(replace(built.reference, digest=None, tag="none"), shop.registries, Quiet())
    assert caught.value.code == "image.not_found"


def test_layers_are_kept_in_a_repository_of_their_own(shop: Shop) -> None:
    site = shop.site("with/cache", cache_repository="layers")
    built = shop.build(site)
    tags = shop.registries.open(built.reference).tags("layers")
    assert tags
    assert all(tag.startswith("layer-") for tag in tags)


def test_packages_travel_beside_the_code_where_nothing_is_built(shop: Shop, tmp_path: Path) -> None:
    site = shop.site()
    prepared = shop.prepare(site, builder="none")
    assert str(prepared.reference).startswith(f"{shop.server.host}/base/python@sha256:")
    packages = channel.packages_of(prepared)
    assert packages is not None
    store = open_store(str(tmp_path / "store"))
    sent = channel.store_packages(packages, store, "s3://bucket/prefix", site, Quiet())
    assert sent > 0
    assert channel.store_packages(packages, store, "s3://bucket/prefix", site, Quiet()) == 0
    listed = json.loads((tmp_path / "store" / packages.key).read_text())
    assert listed[0] == {"prefix": "s3://bucket/prefix/dependencies/"}
    assert all((tmp_path / "store/dependencies" / name).is_file() for name in listed[1:])


def test_what_looks_like_a_secret_in_an_image_is_told(shop: Shop) -> None:
    notes = shop.prepare(env={"API_TOKEN": "abcdefgh", "TOKENIZER": "bert"}).notes
    assert ["API_TOKEN" in note and "TOKENIZER" not in note for note in notes] == [True]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"apt": ["git"]}, "image.builder_cannot"),
        ({"dockerfile": "Dockerfile", "base": None, "requirements": None}, "image.builder_cannot"),
        ({"builder": "none", "copy": {"a": "/opt/a"}}, "image.builder_cannot"),
        ({"python": "3.9"}, "image.wrong_python"),
        ({"copy": {"absent": "/opt/absent"}}, "image.no_such_file"),
        ({"requirements": "absent.txt"}, "image.requirements_not_found"),
    ],
)
def test_what_cannot_be_built_is_said_before_anything_begins(shop: Shop, said: dict[str, Any], code: str) -> None:
    with pytest.raises(ClaryError) as caught:
        shop.prepare(**said)
    assert caught.value.code == code
    assert caught.value.next_step


def test_an_image_of_ours_is_no_base(shop: Shop) -> None:
    built = shop.build()
    with pytest.raises(ConfigError) as caught:
        shop.prepare(base=str(built.reference))
    assert caught.value.code == "image.base_is_ours"


def test_a_base_that_is_not_there_is_told(shop: Shop) -> None:
    with pytest.raises(ClaryError) as caught:
        shop.prepare(base=f"{shop.server.host}/base/absent:1")
    assert caught.value.code == "image.base_not_found"


def test_without_a_registry_the_way_out_is_named(shop: Shop) -> None:
    with pytest.raises(ConfigError) as caught:
        shop.prepare(replace(shop.site(), host=None))
    assert caught.value.code == "image.no_registry"
    assert "none" in caught.value.next_step


@pytest.mark.parametrize(
    ("damaged", "code"), [("wheels/*/*.whl", "image.bad_wheel"), ("blobs/*", "image.layer_changed")]
)
def test_what_was_damaged_on_this_machine_is_mended_as_the_error_says(shop: Shop, damaged: str, code: str) -> None:
    images = shop.site("healthy").images
    shop.build(shop.site("healthy"))
    for file in images.glob("keys/*" if damaged.startswith("wheels") else "wheels/*/*.whl"):
        file.unlink()  # the wheels are read where the layers are not known, and the other way round
    for file in images.glob(damaged):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        shop.build(shop.site(code))
    assert caught.value.code == code
    assert "`clary image cache prune --verify`" in str(caught.value.next_step)
    assert LocalCache(images).verify()
    assert shop.build(shop.site(code)).uploaded


@pytest.mark.parametrize("builder", ["docker", "kaniko"])
def test_a_plan_tells_no_size_that_nobody_knows(shop: Shop, builder: str) -> None:
    site = shop.site("unknown")
    plan = service.plan(shop.prepare(site, builder=builder), site)
    assert (plan.exists, plan.layers, plan.size) == (False, (), 0)
