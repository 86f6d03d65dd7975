"""The registry with unmodified clients: the AWS CLI, skopeo, umoci, python-dxf."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.ids import new_id
from oci_images import DOCKER_MANIFEST, OCI_MANIFEST, config, digest_of, layer, manifest, password

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.testing import Sandbox

_AWS = Path(sys.executable).with_name("aws")


@pytest.fixture
def run(idle: Sandbox, tmp_path: Path) -> Callable[..., str]:
    """Run a program in an empty home; return what it printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_PAGER": "", **idle.environment}

    def run(*words: str, given: str | None = None) -> str:
        done = subprocess.run(
            words, input=given, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def host(idle: Sandbox) -> str:
    return idle.endpoint.removeprefix("http://")


@pytest.fixture
def repository(idle: Sandbox) -> str:
    name = f"tools/{new_id().lower()}"
    idle.client("ecr").create_repository(repositoryName=name)
    return name


def layout(folder: Path, oci: bool) -> str:
    """Write an image as skopeo's ``dir:`` has it; returns its digest."""
    layers = [layer(("etc/hello", "hi")), layer(("data", os.urandom(2_000_000)))]
    said = config(layers, Entrypoint=["/bin/sh"])
    body = manifest(said, layers, oci=oci)
    folder.mkdir()
    for data in (said, *(one.data for one in layers)):
        (folder / digest_of(data).removeprefix("sha256:")).write_bytes(data)
    (folder / "manifest.json").write_bytes(body)
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    return digest_of(body)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("oci", [False, True])
def test_skopeo_signs_in_pushes_and_pulls(
    run: Callable[..., str], host: str, repository: str, tmp_path: Path, oci: bool
) -> None:
    digest = layout(tmp_path / "image", oci)
    secret = run(sys.executable, str(_AWS), "ecr", "get-login-password")
    files = ("--authfile", str(tmp_path / "auth.json"))
    began = time.monotonic()
    run("skopeo", "login", "--tls-verify=false", *files, "--username", "AWS", "--password-stdin", host, given=secret)
    there = f"docker://{host}/{repository}:v1"
    run("skopeo", "copy", "--dest-tls-verify=false", *files, f"dir:{tmp_path}/image", there)
    run("skopeo", "copy", "--src-tls-verify=false", *files, there, f"dir:{tmp_path}/back")
    assert time.monotonic() - began < 27, "clients that try TLS first are not kept waiting (Go's patience: 10 s each)"
    names = {path.name for path in (tmp_path / "image").iterdir()}
    assert {path.name for path in (tmp_path / "back").iterdir()} == names
    for name in names - {"version"}:
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "image" / name).read_bytes()
    shown = json.loads(run("skopeo", "inspect", "--tls-verify=false", *files, there))
    assert (shown["Digest"], shown["RepoTags"]) == (digest, ["v1"])
    listed = json.loads(run("skopeo", "list-tags", "--tls-verify=false", *files, f"docker://{host}/{repository}"))
    assert listed["Tags"] == ["v1"]


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_the_aws_cli_lists_what_skopeo_pushed(
    run: Callable[..., str], idle: Sandbox, host: str, repository: str, tmp_path: Path
) -> None:
    digest = layout(tmp_path / "image", oci=True)
    copy = ("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", f"AWS:{password(idle.client('ecr'))}")
    run(*copy, f"dir:{tmp_path}/image", f"docker://{host}/{repository}:v1")
    run(*copy, "--format", "v2s2", f"dir:{tmp_path}/image", f"docker://{host}/{repository}:v2")

    def ecr(*words: str) -> Any:
        return json.loads(run(sys.executable, str(_AWS), "ecr", *words, "--repository-name", repository))

    details = {one["imageTags"][0]: one for one in ecr("describe-images")["imageDetails"]}
    assert (details["v1"]["imageDigest"], details["v1"]["imageManifestMediaType"]) == (digest, OCI_MANIFEST)
    assert details["v2"]["imageManifestMediaType"] == DOCKER_MANIFEST
    assert details["v2"]["imageSizeInBytes"] > 2_000_000
    assert ecr("batch-delete-image", "--image-ids", "imageTag=v1")["failures"] == []
    assert [one["imageTag"] for one in ecr("list-images")["imageIds"]] == ["v2"]


@pytest.mark.skipif(shutil.which("umoci") is None or shutil.which("skopeo") is None, reason="umoci is not installed")
def test_umoci_unpacks_the_sandboxs_own_image(
    run: Callable[..., str], idle: Sandbox, host: str, tmp_path: Path
) -> None:
    name = f"docker://{host}/{idle.image.partition('/')[2]}"
    secret = f"AWS:{password(idle.client('ecr'))}"
    run("skopeo", "copy", "--src-tls-verify=false", "--src-creds", secret, name, f"oci:{tmp_path}/own:x")
    rootless = () if os.getuid() == 0 else ("--rootless",)
    run("umoci", "unpack", *rootless, "--image", f"{tmp_path}/own:x", str(tmp_path / "bundle"))
    root = tmp_path / "bundle/rootfs"
    spec = json.loads((tmp_path / "bundle/config.json").read_text())
    if os.getuid() == 0:
        modules = "import ssl, sqlite3, ctypes, bz2, lzma, zoneinfo, hashlib, sys; print(sys.prefix)"
        program = (
            f"import os; os.chroot({str(root)!r}); os.chdir('/'); os.execve('/opt/venv/bin/python3', ['python3', '-c', "
        )
        env = dict(one.split("=", 1) for one in spec["process"]["env"])
        assert run(sys.executable, "-c", f"{program}{modules!r}], {env!r})") == "/opt/venv\n"


def test_dxf_pushes_mounts_and_pulls(idle: Sandbox, host: str, repository: str, tmp_path: Path) -> None:
    from dxf import DXF

    ecr = idle.client("ecr")
    ecr.create_repository(repositoryName=f"{repository}-other")
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    signed = base64.b64encode(f"AWS:{password(ecr)}".encode()).decode()

    def open_repository(name: str) -> Any:
        client = DXF(host, name, insecure=True)
        client._headers = {"Authorization": f"Basic {signed}"}  # it sends no password over http by itself
        return client

    one = layer(("a", os.urandom(5_000_000)))
    file = tmp_path / "layer"
    file.write_bytes(one.data)
    first, second = open_repository(repository), open_repository(f"{repository}-other")
    try:
        assert first.push_blob(str(file)) == one.digest
        assert b"".join(first.pull_blob(one.digest)) == one.data
        said = config([one])
        assert first.push_blob(data=iter([said]), digest=digest_of(said)) == digest_of(said)
        first.set_manifest("v1", manifest(said, [one]).decode())
        assert first.list_aliases() == ["v1"]
        assert second.mount_blob(repository, one.digest) == one.digest
        assert b"".join(second.pull_blob(one.digest)) == one.data
    finally:
        ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
