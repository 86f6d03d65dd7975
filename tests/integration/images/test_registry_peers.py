"""Other clients read what this one pushed, and the reverse."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from clary.images import oci
from clary.images.registry.push import push_image
from registry_images import check_image, registry_at, small_image
from registry_server import Server, docker_registry, needs_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clary.images.registry.client import Registry

pytestmark = needs_registry
IMAGE = small_image(21, layers=3)
SKOPEO = shutil.which("skopeo")
needs_skopeo = pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as served:
        yield served


@pytest.fixture
def registry(server: Server) -> Iterator[Registry]:
    found = registry_at(server.origin)
    yield found
    found.close()


@pytest.fixture
def pushed(registry: Registry) -> str:
    repository = f"app/{uuid.uuid4().hex}"
    push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
    return repository


def test_dxf_reads_what_was_pushed(server: Server, pushed: str) -> None:
    from dxf import DXF

    with DXF(server.host, pushed, insecure=True) as peer:
        assert peer.list_aliases() == ["v1"]
        assert peer.get_manifest("v1") == IMAGE.manifest.decode()
        for blob in IMAGE.blobs:
            assert peer.blob_size(blob.digest) == blob.size
            chunks = peer.pull_blob(blob.digest)
            assert not isinstance(chunks, tuple)  # it is one only where the size is asked for, too
            assert b"".join(chunks) == blob.data


def test_what_dxf_pushed_is_read(server: Server, registry: Registry, tmp_path: Path) -> None:
    from dxf import DXF

    repository = f"app/{uuid.uuid4().hex}"
    with DXF(server.host, repository, insecure=True) as peer:
        for blob in IMAGE.blobs:
            (tmp_path / "blob").write_bytes(blob.data)
            assert peer.push_blob(str(tmp_path / "blob")) == blob.digest
        peer.set_manifest("v1", IMAGE.manifest.decode())
    check_image(registry, repository, IMAGE, "v1")
    assert registry.tags(repository) == ["v1"]


def skopeo(*arguments: str) -> bytes:
    assert SKOPEO is not None
    return subprocess.run([SKOPEO, *arguments], capture_output=True, check=True, timeout=60).stdout


@needs_skopeo
def test_skopeo_inspects_and_copies_what_was_pushed(server: Server, pushed: str, tmp_path: Path) -> None:
    name = f"docker://{server.host}/{pushed}:v1"
    assert skopeo("inspect", "--raw", "--tls-verify=false", name) == IMAGE.manifest
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", name))
    assert inspected["Digest"] == IMAGE.digest
    assert inspected["Architecture"] == "amd64"
    skopeo("copy", "--src-tls-verify=false", name, f"dir:{tmp_path}/image")
    for blob in IMAGE.blobs:
        assert (tmp_path / "image" / blob.digest.removeprefix("sha256:")).read_bytes() == blob.data


@needs_skopeo
@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_skopeo_pushed_is_read(server: Server, registry: Registry, pushed: str, form: str) -> None:
    repository = f"app/{uuid.uuid4().hex}"
    source, target = f"docker://{server.host}/{pushed}:v1", f"docker://{server.host}/{repository}:v1"
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", form, source, target)
    found = registry.manifest(repository, "v1")
    assert found is not None
    assert found.manifest.media_type == (oci.OCI_MANIFEST if form == "oci" else oci.DOCKER_MANIFEST)
    assert [layer.digest for layer in found.manifest.layers] == [blob.digest for blob in IMAGE.blobs[:-1]]
    assert registry.config(repository, found.manifest.config).platform.machine == "x86_64"
