"""Manifests and tags: read as they are, byte for byte, and put so."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from clary.errors import ConflictError
from clary.images.oci import LISTS, MANIFESTS, Manifest, choose, digest_of, is_list, read_manifest
from clary.images.registry import refusals
from clary.images.registry.asking import Request
from clary.images.registry.blobs import scope
from clary.images.registry.retrying import Tries
from clary.images.registry.wire import located

if TYPE_CHECKING:
    from clary.images.platforms import Platform
    from clary.images.registry.http import Http

_ACCEPT = ", ".join((*MANIFESTS, *LISTS))
_PAGE = 1000
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
"""Source: RFC 8288, as the distribution specification uses it for tags."""


class Found(NamedTuple):
    """A manifest that a registry has."""

    data: bytes
    """Exactly as it is kept: the bytes of the digest."""
    manifest: Manifest


def find(http: Http, repository: str, pointer: str, platform: Platform) -> Found | None:
    """Return the manifest that a tag or digest names; of a list, the one for ``platform``. None: there is none.

    Raises ConfigError ``image.no_such_platform``, ``image.bad_manifest``; AwsError ``registry.wrong_digest``.
    """
    data = _get(http, repository, pointer)
    if data is not None and is_list(data):
        data = _get(http, repository, choose(data, platform))
    return None if data is None else Found(data, read_manifest(data))


def digest(http: Http, repository: str, pointer: str) -> str | None:
    """Return the digest that a tag has now, of a list where it names one; None where there is none."""
    answer = http.ask(_request(http, "HEAD", repository, pointer), 200, 404)
    if answer.status == 404:
        return None
    said = answer.headers.get("Docker-Content-Digest")
    if said:
        return said
    data = _get(http, repository, pointer)  # the header is optional
    return None if data is None else digest_of(data)


def put(http: Http, repository: str, pointer: str, data: bytes, media_type: str) -> str:
    """Store a manifest under a tag or its digest, as these very bytes, and return its digest.

    Raises ConflictError ``registry.tag_immutable`` where the tag has another image and may not be moved.
    """
    digested = digest_of(data)
    request = Request(
        "PUT",
        http.url(f"{repository}/manifests/{pointer}"),
        _named(repository, pointer),
        (scope(repository, "pull", "push"),),
        {"Content-Type": media_type},
        body=data,
    )
    try:
        answer = http.ask(request, 201)
    except ConflictError:
        if digest(http, repository, pointer) == digested:
            return digested  # the tag has this image already, perhaps by a try whose answer was lost
        raise
    said = answer.headers.get("Docker-Content-Digest")
    if said and said != digested:
        raise refusals.wrong_digest(http.host, _named(repository, pointer), f"it stored {said}, not {digested}")
    return digested


def tags(http: Http, repository: str) -> list[str]:
    """Return the repository's tags, as the registry orders them; none where there is no repository."""
    url: str | None = http.url(f"{repository}/tags/list?n={_PAGE}")
    found: list[str] = []
    while url:
        answer = http.ask(Request("GET", url, repository, (scope(repository, "pull"),)), 200, 404)
        if answer.status == 404:
            break
        try:
            found += [str(tag) for tag in json.loads(answer.data).get("tags") or ()]
        except (ValueError, AttributeError, TypeError):
            raise refusals.bad_reply(http.host, "its list of tags cannot be read") from None
        following = _NEXT.search(answer.headers.get("Link", ""))
        url = located(answer.url, following[1]) if following else None
    return found


def _get(http: Http, repository: str, pointer: str) -> bytes | None:
    tries = Tries(http.patience)
    while True:
        answer = http.ask(_request(http, "GET", repository, pointer), 200, 404, tries=tries)
        if answer.status == 404:
            return None
        meant = pointer if pointer.startswith("sha256:") else answer.headers.get("Docker-Content-Digest")
        came = digest_of(answer.data)
        if meant in (None, came) or not str(meant).startswith("sha256:"):
            return answer.data
        tries.met(refusals.wrong_digest(http.host, _named(repository, pointer), f"{came} came"))


def _request(http: Http, method: str, repository: str, pointer: str) -> Request:
    url = http.url(f"{repository}/manifests/{pointer}")
    return Request(method, url, _named(repository, pointer), (scope(repository, "pull"),), {"Accept": _ACCEPT})


def _named(repository: str, pointer: str) -> str:
    return f"{repository}{'@' if ':' in pointer else ':'}{pointer}"
