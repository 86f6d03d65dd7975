"""The writing half of the protocol: blobs in one piece, in parts or mounted, and manifests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clary.sandbox.registry import pushing, repositories
from clary.sandbox.registry.answers import Refusal, answer, unknown_upload
from clary.sandbox.registry.arrivals import body_of
from clary.sandbox.registry.blobs import digest_of
from clary.sandbox.registry.names import DIGEST, LARGEST_LAYER, TAG
from clary.sandbox.wire import read_body

if TYPE_CHECKING:
    from clary.sandbox.registry.blobs import Upload
    from clary.sandbox.registry.names import Place
    from clary.sandbox.registry.protocol import Asked
    from clary.sandbox.registry.registry import Registry
    from clary.sandbox.wire import Response

_SPAN = re.compile(r"(?:bytes[= ])?(\d+)-(\d+)(?:/.*)?")
_MOUNT_REFUSALS = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN"}


def begin(registry: Registry, asked: Asked) -> Response:
    """POST: mount a blob, take one in a single request, or begin an upload."""
    registry.store.sweep()
    digest, source = asked.query.get("mount", ""), asked.query.get("from", "")
    if digest and _mounted(registry, asked, digest, source):
        return _created(asked, digest)
    identity = registry.begin_upload(asked.place)
    if "digest" in asked.query:
        return _finish(registry, asked, identity)
    with registry.upload(asked.place, identity) as upload:
        return _state(registry, 202, asked, identity, upload)


def _mounted(registry: Registry, asked: Asked, digest: str, source: str) -> bool:
    """Mount a blob as ECR does, where a setting allows it and somebody may; otherwise it has to be uploaded.

    Sources: ECR user guide, "Blob mounting"; aws/containers-roadmap#2860 for blobs that no manifest names.
    """
    place = asked.place
    fault = registry.faults.take("mount", operation="InitiateLayerUpload", name=place.repository)
    status = int(fault.get("status", 202)) if fault is not None else None
    if status in _MOUNT_REFUSALS:
        raise Refusal(status, _MOUNT_REFUSALS[status], "Planned by a fault of the sandbox.")
    if status == 202 or not source or DIGEST.fullmatch(digest) is None:
        return False
    other = place.beside(source)
    allowed = status == 201 or registry.setting(place.account, place.region, "BLOB_MOUNTING") == "ENABLED"
    same = (other.account, other.region) == (place.account, place.region)
    if not (allowed and same and repositories.repository(other) is not None):
        return False
    if repositories.encryption(place) != repositories.encryption(other):
        return False
    if registry.rights.refuses(asked.grant.access_key, "GetDownloadUrlForLayer", other) is not None:
        return False
    registry.own.ensure(other)
    return registry.store.mount(place, other, digest, unreferenced=status == 201)


def progress(registry: Registry, asked: Asked) -> Response:
    """GET: how much has arrived."""
    with registry.upload(asked.place, asked.what) as upload:
        return _state(registry, 204, asked, asked.what, upload)


def give_up(registry: Registry, asked: Asked) -> Response:
    """DELETE: forget an upload."""
    with registry.upload(asked.place, asked.what) as upload:
        _found(upload, asked).drop()
    return answer(204)


def go_on(registry: Registry, asked: Asked) -> Response:
    """PATCH: add a part at the end."""
    with registry.upload(asked.place, asked.what) as upload:
        _append(_found(upload, asked), asked)
        return _state(registry, 202, asked, asked.what, upload)


def finish(registry: Registry, asked: Asked) -> Response:
    """PUT: add the last part, if there is one, and keep the blob if its digest is as was said."""
    return _finish(registry, asked, asked.what)


def _finish(registry: Registry, asked: Asked, identity: str) -> Response:
    digest = asked.query.get("digest", "")
    if DIGEST.fullmatch(digest) is None:
        raise Refusal(400, "DIGEST_INVALID", f"{digest!r} is no digest of sha256.")
    with registry.upload(asked.place, identity) as upload:
        whole = _found(upload, asked)
        _append(whole, asked)
        keep(registry, asked.place, whole, digest)
    return _created(asked, digest)


def keep(registry: Registry, place: Place, upload: Upload, digest: str) -> None:
    """Keep an upload as a blob; raises Refusal, and gives the upload up, when it is not what was said."""
    if upload.size > LARGEST_LAYER:
        upload.drop()
        raise Refusal(413, "SIZE_INVALID", "A layer has 52,000 MiB at most.")
    found = upload.digest()
    if found != digest:
        upload.drop()
        raise Refusal(400, "DIGEST_INVALID", f"The digest of what was uploaded is {found}, not {digest}.")
    registry.store.add_blob(place, digest, upload.path)


def put_manifest(registry: Registry, asked: Asked) -> Response:
    """PUT of a manifest under a tag or its digest."""
    tag = asked.what if DIGEST.fullmatch(asked.what) is None else None
    if tag is not None and TAG.fullmatch(tag) is None:
        raise Refusal(400, "TAG_INVALID", f"{tag!r} is no tag.")
    body = read_body(asked.environ)
    kind = asked.header("CONTENT_TYPE").partition(";")[0].strip()
    oci = not registry.takes("refuse_oci", "PutImage", asked.place.repository)
    if tag is None and digest_of(body) != asked.what:
        raise Refusal(400, "DIGEST_INVALID", f"The digest of the manifest is {digest_of(body)}.")
    try:
        kept = pushing.take(registry.store, asked.place, body, kind or None, tag, oci=oci)
    except pushing.Unfit as unfit:
        raise Refusal(unfit.status, unfit.code, unfit.message) from None
    where = f"{_address(asked)}/manifests/{kept.digest}"
    return answer(201, [("Location", where), ("Docker-Content-Digest", kept.digest)])


def _found(upload: Upload | None, asked: Asked) -> Upload:
    if upload is None:
        raise unknown_upload(asked.what)
    return upload


def _append(upload: Upload, asked: Asked) -> None:
    body = body_of(asked.environ)
    said = _SPAN.fullmatch(asked.header("CONTENT_RANGE").strip())
    size = upload.size
    length = body.stat().st_size if isinstance(body, Path) else len(body)
    if said is not None and (int(said[1]) != size or int(said[2]) != size + length - 1):
        raise Refusal(
            416,
            "BLOB_UPLOAD_INVALID",
            f"The next byte is {size}.",
            [("Location", f"{_address(asked)}/blobs/uploads/{asked.what}"), ("Range", f"0-{max(0, size - 1)}")],
        )
    upload.append(body)


def _address(asked: Asked) -> str:
    """Return the repository's address as the client called it; ECR answers with whole addresses."""
    path = re.split(r"/(?:blobs|manifests)/", asked.environ["PATH_INFO"])[0]
    return f"http://{asked.header('HOST')}{path}"


def _state(registry: Registry, status: int, asked: Asked, identity: str, upload: Upload | None) -> Response:
    upload = _found(upload, asked)
    where = f"{_address(asked)}/blobs/uploads/{identity}"
    if registry.takes("relative_location", "InitiateLayerUpload", asked.place.repository):
        where = urlsplit(where).path
    headers = [
        ("Location", where),
        ("Docker-Upload-UUID", identity),
        ("Range", f"0-{max(0, upload.size - 1)}"),
    ]
    return answer(status, headers)


def _created(asked: Asked, digest: str) -> Response:
    where = f"{_address(asked)}/blobs/{digest}"
    return answer(201, [("Location", where), ("Docker-Content-Digest", digest)])
