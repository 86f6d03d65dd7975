"""The sandbox's own image in the registry, as an image of layers that others can be built on.

Jobs that name it run in it as it is, without a copy. Its layers are packed when somebody first asks for them, and kept.
The same machine packs the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import tarfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from clary.sandbox.containers import portable
from clary.sandbox.containers.image import OWN_REPOSITORY, VERSION, ensure_image
from clary.sandbox.registry import repositories
from clary.sandbox.registry.blobs import digest_of
from clary.sandbox.registry.names import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Place
from clary.sandbox.registry.store import Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clary.sandbox.containers.image import Image
    from clary.sandbox.containers.portable import Files
    from clary.sandbox.registry.store import Store

_EPOCH = "1970-01-01T00:00:00Z"
_LEVEL = 1


class OwnImage:
    """The sandbox's own image, which is packed when it is first needed. Safe from any thread."""

    def __init__(self, store: Store, data: Path, account: str, requirements: Sequence[str] = ()) -> None:
        self._store = store
        self._data = data
        self._account = account
        self._requirements = requirements
        self._lock = threading.Lock()
        self._ready: set[Place] = set()

    def ensure(self, place: Place) -> None:
        """Have the image in its repository, if that is the one meant."""
        if place.repository != OWN_REPOSITORY or place.account != self._account or place in self._ready:
            return
        with self._lock:
            if place not in self._ready and repositories.repository(place) is not None:
                self._make(place)
                self._ready.add(place)

    def _make(self, place: Place) -> None:
        image = ensure_image(self._data, self._requirements)
        fact = f"own-image:{portable.LAYOUT}:{image.root.parent.name}:{place.region}"
        digest = self._store.fact(fact)
        kept = self._store.find(place, digest) if digest is not None else None
        if kept is None:
            kept = self._pack(place, image)
        members = [kept.document["config"]["digest"], *(one["digest"] for one in kept.document["layers"])]
        self._store.put(kept, members, VERSION)
        self._store.note(fact, kept.digest)

    def _pack(self, place: Place, image: Image) -> Manifest:
        layers = [self._layer(place, files) for files in portable.parts(image)]
        config = json.dumps(_config(image, [diff_id for _, diff_id in layers]), sort_keys=True).encode()
        path = self._store.blobs.arriving()
        path.write_bytes(config)
        self._store.add_blob(place, digest_of(config), path)
        described = {"mediaType": DOCKER_CONFIG, "digest": digest_of(config), "size": len(config)}
        document = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": described,
            "layers": [descriptor for descriptor, _ in layers],
        }
        body = json.dumps(document, sort_keys=True).encode()
        return Manifest(place, digest_of(body), DOCKER_MANIFEST, body, time.time())

    def _layer(self, place: Place, files: Files) -> tuple[dict[str, Any], str]:
        """Pack a part; returns the descriptor of its layer and the digest of its plain bytes."""
        path = self._store.blobs.arriving()
        with path.open("wb") as file:
            packed = _Digesting(file)
            with gzip.GzipFile("", "wb", _LEVEL, cast("IO[bytes]", packed), mtime=0) as compressed:
                plain = _Digesting(compressed)
                with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="w|", format=tarfile.PAX_FORMAT) as archive:
                    for name in sorted(files):
                        _add(archive, name, files[name])
        size = path.stat().st_size
        self._store.add_blob(place, packed.digest, path)
        return {"mediaType": DOCKER_LAYER, "digest": packed.digest, "size": size}, plain.digest


class _Digesting:
    """A file whose bytes are digested as they are written."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return int(self._file.write(data))

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _add(archive: tarfile.TarFile, name: str, path: Path) -> None:
    """Add one file, link or folder, with nothing in it that changes from time to time."""
    member = tarfile.TarInfo(name)
    mode = path.lstat().st_mode
    if path.is_symlink():
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, portable.link_inside(path), 0o777
        archive.addfile(member)
    elif path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, mode & 0o1777 | 0o755 if name != "root" else 0o700
        archive.addfile(member)
    elif path.is_file():
        member.mode, member.size = 0o755 if mode & 0o100 else 0o644, path.stat().st_size
        with path.open("rb") as file:
            archive.addfile(member, file)


def _config(image: Image, diff_ids: Sequence[str]) -> dict[str, Any]:
    variables = {**image.environment, "PYTHON_VERSION": platform.python_version()}
    return {
        "architecture": "amd64",  # that of SageMaker's machines, whatever this one is
        "os": "linux",
        "created": _EPOCH,
        "config": {
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Cmd": list(image.command),
            "WorkingDir": image.workdir,
        },
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
