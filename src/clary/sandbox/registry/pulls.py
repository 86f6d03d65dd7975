"""The reading half of the protocol: manifests, tags, blobs, and the layers' second address."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from clary.sandbox.registry import repositories
from clary.sandbox.registry.answers import Refusal, answer
from clary.sandbox.registry.blobs import chunks
from clary.sandbox.registry.names import DIGEST, Place
from clary.sandbox.registry.tokens import LAYERS
from clary.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clary.sandbox.registry.protocol import Asked
    from clary.sandbox.registry.registry import Registry
    from clary.sandbox.registry.tokens import Grant
    from clary.sandbox.wire import Environ

_PAGE = 1000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def manifest(registry: Registry, asked: Asked) -> Response:
    """GET or HEAD of a manifest: exactly the bytes that were pushed."""
    registry.own.ensure(asked.place)
    found = registry.store.find(asked.place, asked.what)
    if found is None:
        raise Refusal(404, "MANIFEST_UNKNOWN", "Requested image not found")
    if not asked.is_head:
        registry.store.note_pull(found)
    headers = [("Content-Type", found.media_type), ("Docker-Content-Digest", found.digest)]
    return answer(200, headers, found.body, empty=asked.is_head)


def tags(registry: Registry, asked: Asked) -> Response:
    """The repository's tags, in pages."""
    if asked.what != "list":
        raise Refusal(404, "NAME_INVALID", "Tags are listed at tags/list.")
    registry.own.ensure(asked.place)
    known = registry.store.tags(asked.place)
    page, link = _page(known, asked.query, asked.environ["PATH_INFO"])
    name = asked.environ["PATH_INFO"].removeprefix("/v2/").removesuffix("/tags/list")
    return _json({"name": name, "tags": page}, link)


def catalogue(registry: Registry, environ: Environ, grant: Grant) -> Response:
    """The names of the registry's repositories, in pages."""
    from urllib.parse import parse_qsl

    lack = registry.rights.refuses(grant.access_key, "DescribeRepositories", Place(grant.account, grant.region, "*"))
    if lack is not None:
        raise Refusal(403, "DENIED", lack)
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    page, link = _page(repositories.names(grant.account, grant.region), query, environ["PATH_INFO"])
    return _json({"repositories": page}, link)


def _page(known: Sequence[str], query: Any, path: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the page that is asked for, and the header that names the next one."""
    wanted = query.get("n", "")
    size = min(int(wanted), _PAGE) if wanted.isdigit() else _PAGE
    last = query.get("last", "")
    left = [one for one in known if one > last]
    page = left[:size]
    more = bool(page) and len(left) > size
    return page, [("Link", f'<{path}?last={page[-1]}&n={size}>; rel="next"')] if more else []


def _json(document: Any, headers: Iterable[tuple[str, str]]) -> Response:
    return answer(200, [("Content-Type", "application/json"), *headers], json.dumps(document).encode())


def blob(registry: Registry, asked: Asked) -> Response:
    """HEAD of a blob, or where its bytes are: at a signed address, as ECR sends its clients to object storage."""
    if DIGEST.fullmatch(asked.what) is None:
        raise Refusal(400, "DIGEST_INVALID", f"{asked.what} is no digest.")
    size = registry.store.size(asked.place, asked.what)
    if size is None:
        raise Refusal(404, "BLOB_UNKNOWN", f"The blob {asked.what} is not in the repository.")
    named = [("Docker-Content-Digest", asked.what)]
    if asked.is_head:
        plain = [*named, ("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]
        return Response(200, [*plain, ("Docker-Distribution-Api-Version", "registry/2.0")], [b""])
    where = registry.other_name(asked.header("HOST")) + registry.seals.address(asked.what)
    return answer(307, [*named, ("Location", where)])


def layer(registry: Registry, environ: Environ) -> Response:
    """The bytes of a blob, or a range of them, at the signed address; the address is all that may say who asks."""
    digest = environ["PATH_INFO"].removeprefix(LAYERS)
    if environ.get("HTTP_AUTHORIZATION"):
        # The words are S3's, where such a request would end.
        text = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string"
        return _refusal(400, "InvalidArgument", f"{text} parameter or the Authorization header should be specified")
    if not registry.seals.allows(digest, environ.get("QUERY_STRING", "")):
        return _refusal(403, "AccessDenied", "Request has expired")
    path = registry.store.blobs.path(digest)
    try:
        size = path.stat().st_size
        file = path.open("rb")
    except FileNotFoundError:
        return _refusal(404, "NoSuchKey", "The specified key does not exist.")
    start, count = _span(environ.get("HTTP_RANGE", ""), size)
    if start >= size > 0:
        file.close()
        return _refusal(416, "InvalidRange", "The requested range is not satisfiable")
    headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), ("Content-Length", str(count))]
    partial = count != size
    if partial:
        headers.append(("Content-Range", f"bytes {start}-{start + count - 1}/{size}"))
    if environ["REQUEST_METHOD"] == "HEAD" or count == 0:
        file.close()
        return Response(200, headers, [b""])
    fault = registry.faults.take("broken_download", operation="GetDownloadUrlForLayer", name=digest)
    if fault is not None:
        file.close()
        return Response(206 if partial else 200, headers, chunks(path, start, int(fault.get("bytes", count // 2))))
    file.seek(start)
    return Response(206 if partial else 200, headers, environ["wsgi.file_wrapper"](file))


def _span(asked: str, size: int) -> tuple[int, int]:
    """Return the first byte and the number of bytes that a Range header asks for."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        count = min(int(found[2]), size)
        return size - count, count
    start = int(found[1])
    end = min(int(found[2]), size - 1) if found[2] else size - 1
    return start, max(0, end - start + 1)


def _refusal(status: int, code: str, message: str) -> Response:
    text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode()
    return Response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], [body])
