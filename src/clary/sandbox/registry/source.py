"""Images for jobs, out of the registry: what a reference names, unpacked and ready to start."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from clary.sandbox.containers.image import Image
from clary.sandbox.containers.unpacking import BadLayerError, leftovers, unpack
from clary.sandbox.model import ImageNotFound
from clary.sandbox.registry import repositories
from clary.sandbox.registry.answers import no_repository
from clary.sandbox.registry.blobs import digest_of
from clary.sandbox.registry.names import Named
from clary.sandbox.trees import remove_tree

if TYPE_CHECKING:
    from clary.sandbox.containers.unpacking import Layer
    from clary.sandbox.registry.registry import Registry
    from clary.sandbox.registry.store import Manifest

_FOLDER = "layers"
_EMPTY = "empty"
_PLATFORM = ("linux", "amd64")
"""What SageMaker's machines are."""
_LARGEST_CONFIG = 16 * 1024 * 1024
_GZIP_OR_PLAIN = ("tar.gzip", "tar+gzip", ".tar")
"""How the types of layers end that are taken."""


class RegistryImages:
    """The source of images that were pushed. Layers are unpacked once, whatever images have them."""

    def __init__(self, data: Path, registry: Registry) -> None:
        self._registry = registry
        self._folder = data / _FOLDER
        (self._folder / _EMPTY).mkdir(parents=True, exist_ok=True)
        (self._folder / _EMPTY).chmod(0o755)
        self._folder.chmod(0o755)
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._known: dict[str, Image] = {}

    def resolve(self, reference: str) -> Image:
        """Return an image of ECR, unpacked; raises ImageNotFound, saying what is wrong with it."""
        manifest = self._manifest(reference)
        with self._lock:
            lock = self._locks.setdefault(manifest.digest, threading.Lock())
        with lock:  # an image that takes long does not hold up the others
            image = self._known.get(manifest.digest)
            if image is None:
                image = self._known[manifest.digest] = self._unpacked(reference, manifest)
            return image

    def digest(self, reference: str) -> str | None:
        """See ``containers.docker.Archives``."""
        return self._manifest(reference).digest if Named.read(reference) is not None else None

    def write(self, reference: str, name: str, file: IO[bytes]) -> None:
        """See ``containers.docker.Archives``; the format is that of ``docker save``."""
        document = self._manifest(reference).document
        config, layers = str(document["config"]["digest"]), [str(one["digest"]) for one in document["layers"]]
        listed = [{"Config": f"{config[7:]}.json", "RepoTags": [name], "Layers": [f"{one[7:]}.tar" for one in layers]}]
        with tarfile.open(fileobj=file, mode="w|") as archive:
            for digest in dict.fromkeys(layers):
                archive.add(self._registry.store.blobs.path(digest), f"{digest[7:]}.tar")
            archive.add(self._registry.store.blobs.path(config), f"{config[7:]}.json")
            text = json.dumps(listed).encode()
            member = tarfile.TarInfo("manifest.json")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))

    def _manifest(self, reference: str) -> Manifest:
        """Return the manifest for SageMaker's machines."""
        found = self._found(reference)
        return self._chosen(found) if found.is_list else found

    def _found(self, reference: str) -> Manifest:
        named = Named.read(reference)
        if named is None:
            raise ImageNotFound(f"{reference!r} is not the name of an image in Amazon ECR, where jobs pull from")
        self._registry.own.ensure(named.place)
        store = self._registry.store
        found = store.find(named.place, named.pointer)
        if found is not None:
            return found
        if repositories.repository(named.place) is None:
            raise ImageNotFound(no_repository(named.place))
        raise ImageNotFound(f"The repository {named.place.repository!r} has no image {named.pointer}")

    def _chosen(self, listing: Manifest) -> Manifest:
        offered = []
        for one in listing.document.get("manifests") or ():
            platform = one.get("platform") or {}
            offered.append(f"{platform.get('os')}/{platform.get('architecture')}")
            if (platform.get("os"), platform.get("architecture")) == _PLATFORM:
                found = self._registry.store.find(listing.place, str(one["digest"]))
                if found is not None and not found.is_list:
                    return found
        raise ImageNotFound(
            f"no matching manifest for {'/'.join(_PLATFORM)} in the manifest list entries: {', '.join(offered)}"
        )

    def _unpacked(self, reference: str, manifest: Manifest) -> Image:
        config = self._config(manifest)
        container = config["config"]
        descriptors: Sequence[Mapping[str, Any]] = manifest.document["layers"]
        diff_ids = config["rootfs"].get("diff_ids") or ()
        if len(diff_ids) != len(descriptors):
            raise ImageNotFound("the image's configuration names other layers than its manifest")
        layers = [self._layer(one, str(diff)) for one, diff in zip(descriptors, diff_ids, strict=True)]
        return Image(
            reference=reference,
            root=self._folder / _EMPTY,
            layers=tuple(layers),
            entrypoint=_words(container.get("Entrypoint")),
            command=_words(container.get("Cmd")),
            environment=dict(_variables(container.get("Env"))),
            user=str(container.get("User") or ""),
            workdir=str(container.get("WorkingDir") or "/"),
        )

    def _config(self, manifest: Manifest) -> Mapping[str, Mapping[str, Any]]:
        """Return the two parts of a configuration that count here."""
        digest = str((manifest.document.get("config") or {}).get("digest"))
        path = self._registry.store.blobs.path(digest)
        try:
            data = path.read_bytes() if path.stat().st_size <= _LARGEST_CONFIG else b""
            config = json.loads(data) if digest_of(data) == digest else None
        except (OSError, ValueError):
            config = None
        if not isinstance(config, dict):
            raise ImageNotFound("the image's configuration cannot be read")
        parts = {name: config.get(name) or {} for name in ("config", "rootfs")}
        if not all(isinstance(one, dict) for one in parts.values()):
            raise ImageNotFound("the image's configuration cannot be read")
        return parts

    def _layer(self, descriptor: Mapping[str, Any], diff_id: str) -> Layer:
        digest, kind = str(descriptor.get("digest")), str(descriptor.get("mediaType"))
        if not kind.endswith(_GZIP_OR_PLAIN):
            raise ImageNotFound(f"the layer {digest} is of the type {kind}, which jobs are not known to take")
        try:
            return unpack(self._folder, self._registry.store.blobs.path(digest), digest, diff_id)
        except FileNotFoundError:
            raise ImageNotFound(f"the layer {digest} is not in the registry") from None
        except BadLayerError as error:
            raise ImageNotFound(str(error)) from error

    def tidy(self) -> None:
        """Remove the layers of images that are gone. Only while no container runs."""
        wanted = set()
        for place in self._registry.store.places():
            for manifest in self._registry.store.manifests(place):
                if not manifest.is_list:
                    wanted |= self._diff_ids(manifest)
        for path in leftovers(self._folder, wanted):
            if path.is_dir():
                remove_tree(path)
            else:
                path.unlink()

    def _diff_ids(self, manifest: Manifest) -> set[str]:
        try:
            config = self._config(manifest)
        except ImageNotFound:
            return set()
        return {str(one) for one in config["rootfs"].get("diff_ids") or ()}


def _words(found: Any) -> tuple[str, ...]:
    return tuple(str(word) for word in found or ())


def _variables(found: Any) -> Iterator[tuple[str, str]]:
    for entry in found or ():
        name, _, value = str(entry).partition("=")
        yield name, value
