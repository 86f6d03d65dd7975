"""Images made by hand for tests, and a plain client that pushes and pulls them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from urllib3 import BaseHTTPResponse, PoolManager, Timeout

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_OCI = {_CONFIG: "application/vnd.oci.image.config.v1+json", _LAYER: "application/vnd.oci.image.layer.v1.tar+gzip"}


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Layer:
    """A layer's bytes, plain and compressed."""

    plain: bytes
    data: bytes
    media_type: str = _LAYER

    @property
    def diff_id(self) -> str:
        return digest_of(self.plain)

    @property
    def digest(self) -> str:
        return digest_of(self.data)


def layer(*entries: tarfile.TarInfo | tuple[str, str | bytes], mode: int = 0o644) -> Layer:
    """Make a layer of files (name and content) and of other entries."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
                continue
            name, content = entry
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
    return Layer(plain.getvalue(), gzip.compress(plain.getvalue(), 1, mtime=0))


def entry(name: str, kind: bytes = tarfile.DIRTYPE, link: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    """Make an entry without content: a folder, a link, a device."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, mode
    return member


def config(layers: Iterable[Layer], *, architecture: str = "amd64", **container: Any) -> bytes:
    """Make an image's configuration; ``container`` are its members Entrypoint, Env…"""
    rootfs = {"type": "layers", "diff_ids": [one.diff_id for one in layers]}
    return json.dumps({"architecture": architecture, "os": "linux", "config": container, "rootfs": rootfs}).encode()


def manifest(said: bytes, layers: Iterable[Layer], *, oci: bool = False) -> bytes:
    """Make the manifest of a configuration and layers."""

    def descriptor(kind: str, data: bytes) -> dict[str, Any]:
        return {"mediaType": _OCI.get(kind, kind) if oci else kind, "digest": digest_of(data), "size": len(data)}

    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if oci else DOCKER_MANIFEST,
        "config": descriptor(_CONFIG, said),
        "layers": [descriptor(one.media_type, one.data) for one in layers],
    }
    return json.dumps(document).encode()


def index(*manifests: tuple[str, bytes]) -> bytes:
    """Make a list of manifests by architecture."""
    entries = [
        {
            "mediaType": json.loads(data)["mediaType"],
            "digest": digest_of(data),
            "size": len(data),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture, data in manifests
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def password(ecr: Any, **options: Any) -> str:
    """Return a password of the registry, as ``aws ecr get-login-password`` prints it."""
    (data,) = ecr.get_authorization_token(**options)["authorizationData"]
    return base64.b64decode(data["authorizationToken"]).decode().removeprefix("AWS:")


class Client:
    """The registry protocol, one request at a time. It does not follow redirects by itself."""

    def __init__(self, endpoint: str, secret: str | None) -> None:
        self.endpoint = endpoint
        self._pool = PoolManager(timeout=Timeout(30), retries=False)
        said = base64.b64encode(f"AWS:{secret}".encode()).decode()
        self.headers: Mapping[str, str] = {} if secret is None else {"Authorization": f"Basic {said}"}

    def close(self) -> None:
        self._pool.clear()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> BaseHTTPResponse:
        url = path if path.startswith("http") else f"{self.endpoint}{path}"
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._pool.request(method, url, body=body, headers={**self.headers, **more}, redirect=False)

    def plain(self, url: str, **headers: str) -> BaseHTTPResponse:
        """Fetch an address without signing in."""
        return self._pool.request("GET", url, headers=headers, redirect=False)

    def push_blob(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        if self.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status != 200:
            begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
            assert begun.status == 202, begun.data
            done = self.ask("PUT", f"{begun.headers['Location']}?digest={digest}", data)
            assert done.status == 201, done.data
        return digest

    def push_manifest(self, repository: str, tag: str, data: bytes) -> str:
        kind = json.loads(data)["mediaType"]
        done = self.ask("PUT", f"/v2/{repository}/manifests/{tag}", data, Content_Type=kind)
        assert done.status == 201, done.data
        return str(done.headers["Docker-Content-Digest"])

    def push(
        self,
        repository: str,
        tag: str,
        *layers: Layer,
        oci: bool = False,
        architecture: str = "amd64",
        **container: Any,
    ) -> str:
        """Push an image and return its digest."""
        said = config(layers, architecture=architecture, **container)
        for data in (said, *(one.data for one in layers)):
            self.push_blob(repository, data)
        return self.push_manifest(repository, tag, manifest(said, layers, oci=oci))

    def pull_blob(self, repository: str, digest: str) -> bytes:
        found = self.ask("GET", f"/v2/{repository}/blobs/{digest}")
        assert found.status == 307, found.data
        answer = self.plain(str(found.headers["Location"]))
        assert answer.status == 200, answer.data
        return bytes(answer.data)


def error_of(answer: BaseHTTPResponse) -> tuple[int, str, str]:
    """Return status, code and text of a refusal."""
    (error,) = json.loads(answer.data)["errors"]
    return answer.status, error["code"], error["message"]
