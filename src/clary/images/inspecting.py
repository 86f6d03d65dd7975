"""What an image in a registry is: shown, compared with another, and read to its last byte."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import ClaryError, NotFoundError
from clary.images import labels, oci
from clary.images.chunks import ChunkFile
from clary.images.platforms import AMD64
from clary.images.pulling import pull_seconds

if TYPE_CHECKING:
    from clary.images.building import Progress
    from clary.images.oci import Config, Manifest
    from clary.images.reference import Reference
    from clary.images.registry.client import Registry
    from clary.images.registry.registries import Registries

_CHUNK = 1 << 20


@dataclass(frozen=True)
class SeenLayer:
    """A layer, as its image tells of it."""

    digest: str
    size: int
    """Compressed bytes."""
    made_by: str
    """What the image's history says of it; empty where it says nothing."""


@dataclass(frozen=True)
class Seen:
    """An image."""

    reference: str
    digest: str
    media_type: str
    platform: str
    size: int
    """Bytes that a pull moves."""
    layers: tuple[SeenLayer, ...]
    environment: dict[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    workdir: str
    labels: dict[str, str]
    packages: dict[str, str]
    """Versions by name, of images that Clary made."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "pull_seconds": pull_seconds(self.size)}


@dataclass(frozen=True)
class Problem:
    """Something in an image that is not as it says."""

    where: str
    problem: str


def show(reference: Reference, registries: Registries) -> Seen:
    """Return what an image is. Raises NotFoundError ``image.not_found``, and what the registry raises."""
    _, manifest, config = _read(reference, registries)
    texts = _history(config, len(manifest.layers))
    layers = tuple(
        SeenLayer(layer.digest, layer.size, text) for layer, text in zip(manifest.layers, texts, strict=True)
    )
    return Seen(
        reference=str(reference),
        digest=manifest.digest,
        media_type=manifest.media_type,
        platform=str(config.platform),
        size=manifest.size,
        layers=layers,
        environment=config.environment,
        entrypoint=config.entrypoint,
        command=config.command,
        user=config.user,
        workdir=config.workdir,
        labels={name: text for name, text in config.labels.items() if name != labels.PACKAGES},
        packages=labels.packages_of(config),
    )


def differences(one: Seen, other: Seen) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return what differs between two images, by kind and name: a pair of values, None where there is none."""
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "packages": (one.packages, other.packages),
        "environment": (one.environment, other.environment),
        "labels": (one.labels, other.labels),
        "settings": (_settings(one), _settings(other)),
        "layers": (_layers(one), _layers(other)),
    }
    found = {}
    for kind, (before, after) in kinds.items():
        names = sorted({*before, *after})
        changed = {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}
        if changed:
            found[kind] = changed
    return found


def verify(reference: Reference, registries: Registries, progress: Progress) -> tuple[Seen, list[Problem]]:
    """Read every layer of an image, and return what it is and what of it is not as it says: digests, sizes, types.

    Raises NotFoundError ``image.not_found``, and what the registry raises for the manifest.
    """
    registry, manifest, config = _read(reference, registries)
    problems = []
    if manifest.media_type != oci.DOCKER_MANIFEST:
        told = f"its type is {manifest.media_type}; parts of SageMaker take Docker's alone"
        problems.append(Problem("manifest", told))
    if config.platform != AMD64:
        problems.append(Problem("configuration", f"it is for {config.platform}; SageMaker's jobs run on {AMD64}"))
    if len(config.diff_ids) != len(manifest.layers):
        count = f"{len(config.diff_ids)} layers, the manifest {len(manifest.layers)}"
        problems.append(Problem("configuration", f"it names {count}"))
    for number, layer in enumerate(manifest.layers):
        progress.stage(f"reading layer {number + 1} of {len(manifest.layers)}")
        wanted = config.diff_ids[number] if number < len(config.diff_ids) else None
        problem = _layer_problem(registry, reference.repository, layer, wanted)
        if problem is not None:
            problems.append(Problem(layer.digest, problem))
    return show(reference, registries), problems


def _layer_problem(registry: Registry, repository: str, layer: oci.Descriptor, diff_id: str | None) -> str | None:
    if layer.media_type not in oci.GZIP_LAYERS:
        return f"its type is {layer.media_type}, which jobs are not known to take"
    found = hashlib.sha256()
    try:
        with registry.read_blob(repository, layer.digest, layer.size) as chunks:
            for piece in _unpacked(chunks):
                found.update(piece)
    except ClaryError as error:
        return error.summary
    except (OSError, EOFError) as error:  # gzip's own errors are OSError
        return f"it cannot be unpacked: {error}"
    told = f"sha256:{found.hexdigest()}"
    return None if diff_id in (None, told) else f"unpacked it is {told}, and the configuration says {diff_id}"


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=io.BufferedReader(ChunkFile(chunks), _CHUNK)) as file:
        while piece := file.read(_CHUNK):
            yield piece


def _read(reference: Reference, registries: Registries) -> tuple[Registry, Manifest, Config]:
    registry = registries.open(reference)
    found = registry.manifest(reference.repository, reference.pointer)
    if found is None:
        raise NotFoundError(
            "image.not_found",
            f"There is no image {reference}.",
            next_step="Check the name; `clary image plan` prints that of the image that a flow would run in.",
            field="image",
        )
    return registry, found.manifest, registry.config(reference.repository, found.manifest.config)


def _history(config: Config, layers: int) -> list[str]:
    told = config.document.get("history") or ()
    texts = [str(entry.get("created_by") or "") for entry in told if not entry.get("empty_layer")]
    return texts if len(texts) == layers else [""] * layers


def _settings(seen: Seen) -> dict[str, Any]:
    return {
        "platform": seen.platform,
        "entrypoint": list(seen.entrypoint),
        "command": list(seen.command),
        "user": seen.user,
        "workdir": seen.workdir,
    }


def _layers(seen: Seen) -> dict[str, Any]:
    return {layer.digest: {"size": layer.size, "made_by": layer.made_by} for layer in seen.layers}
