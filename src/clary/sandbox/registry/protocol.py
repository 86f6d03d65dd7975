"""The OCI distribution protocol: who asks, for what, and which part answers.

Sources: the OCI distribution specification 1.1; ECR user guide, "Private registry authentication".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sandbox.http import drop_connection
from clary.sandbox.registry import repositories
from clary.sandbox.registry.answers import Refusal, answer, unknown_repository
from clary.sandbox.registry.names import REPOSITORY, Place
from clary.sandbox.registry.tokens import LAYERS, Grant, password_of

if TYPE_CHECKING:
    from clary.sandbox.registry.registry import Registry
    from clary.sandbox.wire import Environ, Response

_log = logging.getLogger(__name__)
PREFIX = "/v2/"
_ROUTE = re.compile(
    rf"/v2/(?P<name>{REPOSITORY})/(?P<kind>manifests|blobs/uploads|blobs|tags|referrers)/(?P<what>[^/]*)/?"
)
_EXPIRED = "Your authorization token has expired. Reauthenticate and try again."
"""ECR's words; it answers 403 and no challenge (flipt-io/flipt#3043)."""
_PATIENCE = ("Retry-After", "1")


@dataclass(frozen=True)
class Asked:
    """One request of the protocol."""

    environ: Environ
    method: str
    place: Place
    what: str
    """The tag or digest, or the id of an upload."""
    grant: Grant
    query: Mapping[str, str]

    def header(self, name: str) -> str:
        """Return a header's value; empty for none."""
        return str(self.environ.get(f"HTTP_{name}", self.environ.get(name, "")))

    @property
    def is_head(self) -> bool:
        """Whether only headers are wanted."""
        return self.method == "HEAD"


Handler = Callable[["Registry", Asked], "Response"]


def concerns(environ: Environ) -> bool:
    """Tell whether a request is of this protocol, not one that an SDK has signed for another service."""
    path = environ["PATH_INFO"]
    ours = path == PREFIX[:-1] or path.startswith((PREFIX, LAYERS))
    return ours and not environ.get("HTTP_AUTHORIZATION", "").startswith("AWS")


def serve(registry: Registry, environ: Environ) -> Response:
    """Answer one request."""
    empty = environ["REQUEST_METHOD"] == "HEAD"
    try:
        return _serve(registry, environ)
    except Refusal as refusal:
        return refusal.response(empty=empty)
    except Exception:  # noqa: BLE001 - one request must not take the server down
        _log.exception("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
        return Refusal(500, "UNKNOWN", "The sandbox failed; see its log.").response(empty=empty)


def _serve(registry: Registry, environ: Environ) -> Response:
    from clary.sandbox.registry import pulls

    path = environ["PATH_INFO"]
    if path.startswith(LAYERS):
        return pulls.layer(registry, environ)
    grant = _sign_in(registry, environ)
    if path in (PREFIX, PREFIX[:-1]):
        _refuse_planned(registry, "GetAuthorizationToken", "")
        return answer(200, [("Content-Type", "application/json")], b"{}")
    if path == "/v2/_catalog":
        return pulls.catalogue(registry, environ, grant)
    route = _ROUTE.fullmatch(path)
    if route is None:
        raise Refusal(404, "NAME_INVALID", f"{path} is no address of the registry.")
    place = Place.read(route["name"], grant.account, grant.region)
    method = environ["REQUEST_METHOD"]
    handler, operation = _handler(route["kind"], method)
    asked = Asked(environ, method, place, route["what"], grant, _query(environ))
    _refuse_planned(registry, operation, place.repository)
    lack = registry.rights.refuses(grant.access_key, operation, place)
    if lack is not None:
        raise Refusal(403, "DENIED", lack)
    if repositories.repository(place) is None:
        raise unknown_repository(place)
    response = handler(registry, asked)
    if response.status < 400 and registry.takes("lost_reply", operation, place.repository):
        drop_connection(environ)
    return response


def _handler(kind: str, method: str) -> tuple[Handler, str]:
    """Return what answers and the operation of ECR that the request amounts to."""
    from clary.sandbox.registry import pulls, uploads

    table: Mapping[tuple[str, str], tuple[Handler, str]] = {
        ("manifests", "GET"): (pulls.manifest, "BatchGetImage"),
        ("manifests", "HEAD"): (pulls.manifest, "BatchGetImage"),
        ("manifests", "PUT"): (uploads.put_manifest, "PutImage"),
        ("tags", "GET"): (pulls.tags, "ListImages"),
        ("blobs", "HEAD"): (pulls.blob, "BatchCheckLayerAvailability"),
        ("blobs", "GET"): (pulls.blob, "GetDownloadUrlForLayer"),
        ("blobs/uploads", "POST"): (uploads.begin, "InitiateLayerUpload"),
        ("blobs/uploads", "PATCH"): (uploads.go_on, "UploadLayerPart"),
        ("blobs/uploads", "PUT"): (uploads.finish, "CompleteLayerUpload"),
        ("blobs/uploads", "GET"): (uploads.progress, "UploadLayerPart"),
        ("blobs/uploads", "DELETE"): (uploads.give_up, "UploadLayerPart"),
    }
    found = table.get((kind, method))
    if found is None:
        raise Refusal(405, "UNSUPPORTED", "The operation is unsupported.")
    return found


def _query(environ: Environ) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def _sign_in(registry: Registry, environ: Environ) -> Grant:
    password = password_of(environ.get("HTTP_AUTHORIZATION", ""))
    grant = None if password is None else registry.seals.grant(password)
    if grant is None:
        raise _challenge(registry)
    if grant.has_expired:
        raise Refusal(403, "DENIED", _EXPIRED)
    return grant


def _challenge(registry: Registry) -> Refusal:
    realm = f'Basic realm="{registry.endpoint}/",service="ecr.amazonaws.com"'
    return Refusal(401, "UNAUTHORIZED", "Not Authorized", [("WWW-Authenticate", realm)])


def _refuse_planned(registry: Registry, operation: str, name: str) -> None:
    def taken(kind: str) -> Mapping[str, Any] | None:
        return registry.faults.take(kind, operation=operation, name=name)

    if (fault := taken("expire_credentials")) is not None:
        raise _challenge(registry) if fault.get("status") == 401 else Refusal(403, "DENIED", _EXPIRED)
    if taken("throttle") is not None:
        raise Refusal(429, "TOOMANYREQUESTS", "Rate exceeded", [_PATIENCE])
    if (fault := taken("server_error")) is not None:
        raise Refusal(int(fault.get("status", 500)), "UNKNOWN", "Planned by a fault of the sandbox.", [_PATIENCE])
