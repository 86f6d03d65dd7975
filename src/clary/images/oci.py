"""Manifests and image configurations: what registries keep, read and written. Pure.

Written are Docker's schema 2 types alone: every part of SageMaker takes them, and CreateModel refuses OCI's. Read are
both. Sources: the OCI image specification 1.1, Docker's "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clary.errors import ConfigError
from clary.images.platforms import Platform

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFESTS = (DOCKER_MANIFEST, OCI_MANIFEST)
LISTS = (DOCKER_LIST, OCI_INDEX)
GZIP_LAYERS = frozenset({DOCKER_LAYER, OCI_LAYER})
_LONGEST = 4 * 1024 * 1024
"""Bytes of a manifest or a configuration that are read; registries take no larger ones."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data: bytes) -> str:
    """Return the digest by which a registry knows these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Descriptor:
    """What a manifest says of a blob."""

    media_type: str
    digest: str
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return the descriptor as manifests have it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Manifest:
    """The manifest of one image."""

    media_type: str
    digest: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Bytes that a pull moves: the layers and the configuration."""
        return self.config.size + sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class Config:
    """An image's configuration."""

    document: Mapping[str, Any]
    """All of it, as the registry keeps it."""

    @property
    def platform(self) -> Platform:
        """What the image runs on. Raises ConfigError ``image.unknown_platform``."""
        return Platform.parse(f"{self.document.get('os') or 'linux'}/{self.document.get('architecture') or 'amd64'}")

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of the layers' uncompressed bytes."""
        return tuple((self.document.get("rootfs") or {}).get("diff_ids") or ())

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a container starts with."""
        pairs = (entry.partition("=") for entry in self._container.get("Env") or ())
        return {name: value for name, _, value in pairs}

    @property
    def labels(self) -> dict[str, str]:
        """The labels."""
        return dict(self._container.get("Labels") or {})

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """What is started, before the command."""
        return tuple(self._container.get("Entrypoint") or ())

    @property
    def command(self) -> tuple[str, ...]:
        """The words that follow the entry point."""
        return tuple(self._container.get("Cmd") or ())

    @property
    def user(self) -> str:
        """Who runs it, ``name`` or ``uid[:gid]``; empty for root."""
        return str(self._container.get("User") or "")

    @property
    def workdir(self) -> str:
        """Where it runs."""
        return str(self._container.get("WorkingDir") or "/")

    @property
    def _container(self) -> Mapping[str, Any]:
        found = self.document.get("config")
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True)
class Changes:
    """What an image says otherwise than its base; None and empty leave the base's."""

    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] | None = None
    """A new entry point also drops the base's command, which was written for the old one."""
    user: str | None = None
    workdir: str | None = None


def config_of(
    base: Config, diff_ids: Sequence[str], changes: Changes, *, created: int = 0, made_by: Sequence[str] = ()
) -> bytes:
    """Return the configuration of an image that adds layers to ``base``: the same bytes for the same arguments.

    Args:
        base: the base's configuration; its platform fields are taken over.
        diff_ids: of the added layers, in order.
        changes: what else differs.
        created: the time that the image shows, in seconds since the epoch.
        made_by: what the history says of each added layer; empty for no history at all.
    """
    container: dict[str, Any] = dict(base.document.get("config") or {})
    container["Env"] = [f"{name}={value}" for name, value in {**base.environment, **changes.environment}.items()]
    container["Labels"] = {**base.labels, **changes.labels}
    if changes.entrypoint is not None:
        container["Entrypoint"] = list(changes.entrypoint)
        container.pop("Cmd", None)
    if changes.user is not None:
        container["User"] = changes.user
    if changes.workdir is not None:
        container["WorkingDir"] = changes.workdir
    taken = ("architecture", "os", "os.version", "os.features", "variant")
    document = {
        **{name: base.document[name] for name in taken if name in base.document},
        "created": _rfc3339(created),
        "config": container,
        "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, *diff_ids]},
    }
    if made_by:
        added = [{"created": document["created"], "created_by": text} for text in made_by]
        document["history"] = [*_base_history(base), *added]
    return canonical(document)


def _base_history(base: Config) -> list[Any]:
    """Return the base's history, if it has an entry for each layer: tools refuse one that has not."""
    told = base.document.get("history") or []
    counted = sum(1 for entry in told if not entry.get("empty_layer"))
    return list(told) if counted == len(base.diff_ids) else [{"created_by": "base"} for _ in base.diff_ids]


def manifest_of(config: bytes, layers: Sequence[Descriptor]) -> bytes:
    """Return the manifest of an image, of Docker's type: the bytes that are its identity.

    The layers' types are told anew, for a gzip layer is the same bytes by both names.

    Raises ConfigError ``image.layer_type``.
    """
    check_layers(layers)
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": Descriptor(DOCKER_CONFIG, digest_of(config), len(config)).to_dict(),
        "layers": [Descriptor(DOCKER_LAYER, layer.digest, layer.size).to_dict() for layer in layers],
    }
    return canonical(document)


def check_layers(layers: Sequence[Descriptor]) -> None:
    """Raise ConfigError ``image.layer_type`` for a layer that is not compressed by gzip."""
    for layer in layers:
        if layer.media_type not in GZIP_LAYERS:
            raise ConfigError(
                "image.layer_type",
                f"The base has a layer of the type {layer.media_type}, which SageMaker's jobs are not known to take.",
                next_step="Choose a base whose layers are compressed by gzip, or copy it with "
                "`skopeo copy --dest-compress-format gzip`.",
                field="image.base",
            )


def read_manifest(data: bytes) -> Manifest:
    """Return the manifest that these bytes are; raises ConfigError ``image.bad_manifest``."""
    document = _document(data)
    try:
        layers = tuple(_descriptor(layer) for layer in document["layers"])
        kind = str(document.get("mediaType") or OCI_MANIFEST)
        return Manifest(kind, digest_of(data), _descriptor(document["config"]), layers)
    except (KeyError, TypeError, ValueError) as error:
        raise bad_manifest(f"it lacks {error}") from None


def read_config(data: bytes) -> Config:
    """Return the configuration that these bytes are; raises ConfigError ``image.bad_manifest``."""
    document = _document(data)
    _check_forms(document, _CONFIG_FORMS)
    _check_forms(document.get("config") or {}, _CONTAINER_FORMS)
    _check_forms(document.get("rootfs") or {}, {"diff_ids": _are_digests})
    return Config(document)


def is_list(data: bytes) -> bool:
    """Tell whether these bytes name manifests for several platforms."""
    return "manifests" in _document(data)


def choose(data: bytes, platform: Platform) -> str:
    """Return the digest of the manifest for ``platform`` in a list of manifests.

    Raises ConfigError ``image.no_such_platform``.
    """
    document = _document(data)
    _check_forms(document, {"manifests": _are_mappings})
    offered = []
    for entry in document.get("manifests") or ():
        said = entry.get("platform")
        if not isinstance(said, Mapping):
            continue  # it is for no platform, such as an attestation
        if (said.get("os"), said.get("architecture")) == (platform.os, platform.architecture):
            return _digest(entry.get("digest"))
        offered.append(f"{said.get('os')}/{said.get('architecture')}")
    known = sorted({name for name in offered if "unknown" not in name})
    raise ConfigError(
        "image.no_such_platform",
        f"The image is not there for {platform}.",
        next_step=f"It is there for: {', '.join(known) or 'nothing'}. Name another base, or set platform.",
        field="image.base",
    )


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one form of a document: keys in order, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _rfc3339(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > _LONGEST:
        raise bad_manifest("it is larger than 4 MiB")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad_manifest(f"it is no JSON ({error})") from None
    if not isinstance(document, dict):
        raise bad_manifest("it is no JSON object")
    return document


def _descriptor(entry: Mapping[str, Any]) -> Descriptor:
    digest, size = _digest(entry["digest"]), entry["size"]
    if not isinstance(size, int) or size < 0:
        raise ValueError(f"a size: {size!r:.80}")
    return Descriptor(str(entry["mediaType"]), digest, size)


def _digest(said: Any) -> str:
    """Return a digest, which becomes part of addresses and of files' names."""
    if isinstance(said, str) and _DIGEST.fullmatch(said):
        return said
    raise bad_manifest(f"{said!r:.80} is no digest of SHA-256")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _are_digests(value: Any) -> bool:
    return _are_texts(value) and all(_DIGEST.fullmatch(one) for one in value)


def _are_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _names_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values())


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


_CONFIG_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "architecture": _is_text,
    "os": _is_text,
    "config": _is_mapping,
    "rootfs": _is_mapping,
    "history": _are_mappings,
}
"""What is read of a configuration, and its form; null says nothing."""
_CONTAINER_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "Env": _are_texts,
    "Labels": _names_texts,
    "Entrypoint": _are_texts,
    "Cmd": _are_texts,
    "User": _is_text,
    "WorkingDir": _is_text,
}


def _check_forms(document: Mapping[str, Any], forms: Mapping[str, Callable[[Any], bool]]) -> None:
    for name, form in forms.items():
        value = document.get(name)
        if value is not None and not form(value):
            raise bad_manifest(f"its {name} has not the form that it has to have")


def bad_manifest(problem: str) -> ConfigError:
    """Return the error for what a registry holds in a manifest's or a configuration's place."""
    return ConfigError(
        "image.bad_manifest",
        f"What the registry holds is not a manifest or configuration that can be read: {problem}.",
        next_step="Look at it with `clary image show`, or push the image anew with Docker or skopeo.",
    )
