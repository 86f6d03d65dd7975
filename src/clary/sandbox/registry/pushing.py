"""Taking an image in: the same checks for a manifest that comes by the protocol and one that comes by PutImage."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sandbox.registry import repositories
from clary.sandbox.registry.blobs import digest_of
from clary.sandbox.registry.names import (
    DIGEST,
    LARGEST_MANIFEST,
    LISTS,
    MANIFESTS,
    MOST_TAGS,
    OCI_INDEX,
    OCI_MANIFEST,
    Place,
)
from clary.sandbox.registry.store import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clary.sandbox.registry.store import Store


@dataclass
class Unfit(Exception):  # noqa: N818 - an answer, not a mistake of the program
    """A manifest that is not taken: the code of the protocol and its status, the error of the API, the text."""

    status: int
    code: str
    error: str
    message: str


def take(store: Store, place: Place, body: bytes, media_type: str | None, tag: str | None, *, oci: bool) -> Manifest:
    """Keep a manifest under a tag, or under its digest alone; returns what is kept. Raises Unfit.

    Args:
        store: where images are kept.
        place: the repository.
        body: the bytes, which are the image's identity.
        media_type: as the client named it; None: as the manifest itself does.
        tag: the tag that moves to it.
        oci: whether OCI's types are taken.
    """
    document = _parsed(body)
    kind = media_type or str(document.get("mediaType") or _guessed(document))
    if kind not in (*MANIFESTS, *LISTS) or document.get("mediaType", kind) != kind:
        raise _invalid(f"The manifest is of the type {kind!r}, which is not taken.")
    if not oci and kind in (OCI_MANIFEST, OCI_INDEX):
        raise _invalid(f"unsupported manifest media type {kind}")
    manifest = Manifest(place, digest_of(body), kind, body, time.time())
    members = list(_members(document, listed=kind in LISTS))
    with store.held():  # nothing that it names may go between the look and the deed
        _check_members(store, manifest, members)
        if tag is not None:
            _check_tag(store, manifest, tag)
        store.put(manifest, members, tag)
    return manifest


def _parsed(body: bytes) -> Mapping[str, Any]:
    if len(body) > LARGEST_MANIFEST:
        raise _invalid("The manifest is larger than 4 MiB.")
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise _invalid("Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'")
    return document


def _guessed(document: Mapping[str, Any]) -> str:
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _members(document: Mapping[str, Any], *, listed: bool) -> Iterator[str]:
    """Yield the digests that must be in the repository; layers from elsewhere (with ``urls``) need not be."""
    named = document.get("manifests" if listed else "layers")
    if not isinstance(named, list):
        raise _invalid("The manifest lists nothing.")
    for one in named if listed else [document.get("config"), *named]:
        if not isinstance(one, dict) or not DIGEST.fullmatch(str(one.get("digest"))):
            raise _invalid("The manifest has a descriptor without a digest.")
        if not isinstance(one.get("size"), int) or not isinstance(one.get("platform", {}), dict):
            raise _invalid("The manifest has a descriptor without a size, or with an impossible platform.")
        if not one.get("urls"):
            yield str(one["digest"])


def _check_members(store: Store, manifest: Manifest, members: list[str]) -> None:
    place = manifest.place
    if manifest.is_list:
        missing = [one for one in members if store.find(place, one) is None]
        code, error, what = "MANIFEST_BLOB_UNKNOWN", "ReferencedImagesNotFoundException", "Images"
    else:
        missing = [one for one in members if store.size(place, one) is None]
        code, error, what = "BLOB_UPLOAD_UNKNOWN", "LayersNotFoundException", "Layers"
    if missing:
        # ECR's code and words for layers, as in oras-project/oras-py#54.
        text = (
            f"{what} with digests '[{', '.join(missing)}]' required for pushing image into repository with name"
            f" '{place.repository}' in the registry with id '{place.account}' do not exist"
        )
        raise Unfit(404, code, error, text)


def _check_tag(store: Store, manifest: Manifest, tag: str) -> None:
    place, before = manifest.place, store.tagged(manifest.place, tag)
    if before is not None and before != manifest.digest and repositories.keeps_tag(place, tag):
        # ECR's words, as in osscontainertools/kaniko#204.
        text = (
            f"The image tag '{tag}' already exists in the '{place.repository}' repository and cannot be overwritten"
            " because the tag is immutable."
        )
        raise Unfit(400, "TAG_INVALID", "ImageTagAlreadyExistsException", text)
    if before != manifest.digest and len(store.tags(place, manifest.digest)) >= MOST_TAGS:
        text = f"The image has {MOST_TAGS} tags, which is the most there can be."
        raise Unfit(403, "DENIED", "LimitExceededException", text)


def _invalid(message: str) -> Unfit:
    # ECR answers so, as in moby/buildkit#5747.
    return Unfit(405, "UNSUPPORTED", "InvalidParameterException", message)
