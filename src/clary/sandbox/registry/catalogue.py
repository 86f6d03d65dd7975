"""What ECR's API tells of the images of a repository, and how it takes and removes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clary.sandbox.registry import pushing
from clary.sandbox.registry.blobs import digest_of
from clary.sandbox.registry.names import DIGEST
from clary.sandbox.registry.store import Manifest, sizes
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from clary.sandbox.registry.names import Place
    from clary.sandbox.registry.registry import Registry

_PAGE = 100
Params = Mapping[str, Any]


def put_image(registry: Registry, place: Place, params: Params) -> dict[str, Any]:
    """PutImage."""
    body, tag = str(params.get("imageManifest", "")).encode(), params.get("imageTag")
    digest = digest_of(body)
    if params.get("imageDigest") not in (None, digest):
        raise ApiError("ImageDigestDoesNotMatchException", f"The digest of the manifest is {digest}")
    known = registry.store.find(place, digest)
    if known is not None and (tag is None or registry.store.tagged(place, tag) == digest):
        raise ApiError(
            "ImageAlreadyExistsException",
            f"Image with digest '{digest}' and tag '{tag}' already exists in the repository with name"
            f" '{place.repository}' in registry with id '{place.account}'",
        )
    oci = not registry.takes("refuse_oci", "PutImage", place.repository)
    try:
        kept = pushing.take(registry.store, place, body, params.get("imageManifestMediaType"), tag, oci=oci)
    except pushing.Unfit as unfit:
        raise ApiError(unfit.error, unfit.message) from None
    return {"image": _image(kept, tag)}


def _image(manifest: Manifest, tag: str | None) -> dict[str, Any]:
    return {
        **_of(manifest.place),
        "imageId": {"imageDigest": manifest.digest, **({} if tag is None else {"imageTag": tag})},
        "imageManifest": manifest.body.decode(),
        "imageManifestMediaType": manifest.media_type,
    }


def _of(place: Place) -> dict[str, str]:
    return {"registryId": place.account, "repositoryName": place.repository}


def list_images(registry: Registry, place: Place, params: Params) -> dict[str, Any]:
    """ListImages: an entry for each tag, and for each image without one."""
    found: list[dict[str, str]] = []
    for manifest, tags in _chosen(registry, place, params):
        found += [{"imageDigest": manifest.digest, "imageTag": tag} for tag in tags]
        found += [] if tags else [{"imageDigest": manifest.digest}]
    return _paged("imageIds", found, params)


def describe_images(registry: Registry, place: Place, params: Params) -> dict[str, Any]:
    """DescribeImages: all, or those that are named."""
    if params.get("imageIds"):
        named = {found.digest: found for found in (_named(registry, place, one) for one in params["imageIds"])}
        details = [_detail(registry, one, registry.store.tags(place, one.digest)) for one in named.values()]
        return {"imageDetails": details}
    return _paged("imageDetails", [_detail(registry, *one) for one in _chosen(registry, place, params)], params)


def _detail(registry: Registry, manifest: Manifest, tags: Sequence[str]) -> dict[str, Any]:
    config = (manifest.document.get("config") or {}).get("mediaType")
    return {
        **_of(manifest.place),
        "imageDigest": manifest.digest,
        **({"imageTags": list(tags)} if tags else {}),
        "imageSizeInBytes": sizes(registry.store, manifest),
        "imagePushedAt": manifest.pushed,
        "imageManifestMediaType": manifest.media_type,
        **({"artifactMediaType": config} if config else {}),
        **({"lastRecordedPullTime": manifest.pulled} if manifest.pulled else {}),
        "imageStatus": "ACTIVE",
    }


def _chosen(registry: Registry, place: Place, params: Params) -> Iterator[tuple[Manifest, list[str]]]:
    """Yield the images that a filter lets through, each with its tags."""
    status = (params.get("filter") or {}).get("tagStatus", "ANY")
    for manifest in registry.store.manifests(place):
        tags = registry.store.tags(place, manifest.digest)
        if status == "ANY" or (status == "TAGGED") == bool(tags):
            yield manifest, tags


def _paged(member: str, found: Sequence[Any], params: Params) -> dict[str, Any]:
    token = str(params.get("nextToken") or "0")
    if not token.isdigit():
        raise ApiError("InvalidParameterException", "Invalid parameter at 'nextToken'")
    start = int(token)
    end = start + int(params.get("maxResults") or _PAGE)
    return {member: found[start:end], **({"nextToken": str(end)} if end < len(found) else {})}


def _named(registry: Registry, place: Place, one: Params) -> Manifest:
    found = _find(registry, place, one)
    if found is None:
        digest, tag = one.get("imageDigest", "null"), one.get("imageTag", "null")
        raise ApiError(
            "ImageNotFoundException",
            f"The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the repository"
            f" with name '{place.repository}' in the registry with id '{place.account}'",
        )
    return found


def _find(registry: Registry, place: Place, one: Params) -> Manifest | None:
    """Return the image that digest, tag or both name."""
    digest, tag = one.get("imageDigest"), one.get("imageTag")
    found = registry.store.find(place, str(digest or tag))
    if found is not None and digest and tag and tag not in registry.store.tags(place, found.digest):
        return None
    return found


def batch_get_image(registry: Registry, place: Place, params: Params) -> dict[str, Any]:
    """BatchGetImage."""
    images, failures = [], []
    for one in params.get("imageIds") or []:
        found = _find(registry, place, one)
        if found is None:
            failures.append(_failure(one, "ImageNotFound", "Requested image not found"))
        else:
            registry.store.note_pull(found)
            images.append(_image(found, one.get("imageTag")))
    return {"images": images, "failures": failures}


def _failure(one: Params, code: str, reason: str) -> dict[str, Any]:
    return {"imageId": dict(one), "failureCode": code, "failureReason": reason}


def batch_delete_image(registry: Registry, place: Place, params: Params) -> dict[str, Any]:
    """BatchDeleteImage: a digest removes the image, a tag only itself unless it is the last."""
    removed: list[dict[str, str]] = []
    failures = []
    for one in params.get("imageIds") or []:
        try:
            removed += _delete(registry, place, one)
        except _NotDeletedError as error:
            failures.append(_failure(one, *error.args))
    return {"imageIds": removed, "failures": failures}


class _NotDeletedError(Exception):
    """Code and reason."""


def _delete(registry: Registry, place: Place, one: Params) -> list[dict[str, str]]:
    store, digest, tag = registry.store, one.get("imageDigest"), one.get("imageTag")
    if not digest and not tag:
        text = "Invalid request parameters: both tag and digest cannot be null"
        raise _NotDeletedError("MissingDigestAndTag", text)
    if digest and DIGEST.fullmatch(digest) is None:
        text = "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
        raise _NotDeletedError("InvalidImageDigest", text)
    found = _find(registry, place, one)
    if found is None:
        raise _NotDeletedError("ImageNotFound", "Requested image not found")
    tags = store.tags(place, found.digest)
    if tag and tags != [tag]:
        store.untag(place, tag)
        return [{"imageDigest": found.digest, "imageTag": tag}]
    lists = store.lists_with(place, found.digest)
    if lists:
        text = f"Requested image referenced by manifest list: [{', '.join(lists)}]"
        raise _NotDeletedError("ImageReferencedByManifestList", text)
    store.remove(place, found.digest)
    return [{"imageDigest": found.digest, "imageTag": one_tag} for one_tag in tags] or [{"imageDigest": found.digest}]
