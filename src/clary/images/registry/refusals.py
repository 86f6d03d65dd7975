"""What registries, and the way to them, say no with, as the errors that Clary shows.

The codes are those of the OCI distribution specification 1.1, ``errors[].code``, and of Amazon ECR.
"""

from __future__ import annotations

import json
import re
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clary.errors import (
    AwsError,
    ClaryError,
    ConfigError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    Retry,
    ThrottledError,
)
from clary.images.registry.retrying import RETRY_AFTER

if TYPE_CHECKING:
    from urllib3.exceptions import HTTPError

    from clary.images.registry.asking import Answer, Request

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
_BEGIN_ANEW = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID"})
_LONGEST_TEXT = 300


@dataclass(frozen=True)
class Refusal:
    """An answer that says no."""

    status: int
    host: str
    method: str
    subject: str
    """The repository, perhaps with what in it."""
    code: str
    """The registry's own; empty where it gave none."""
    text: str
    """The registry's own words, or empty."""
    retry_after: float

    upload: bool

    @classmethod
    def of(cls, request: Request, answer: Answer) -> Refusal:
        """Read an answer."""
        code, text = _words(answer.data)
        return cls(
            answer.status,
            host_of(answer.url),
            request.method,
            request.subject,
            code,
            text,
            retry_after(answer.headers.get("Retry-After")),
            request.upload,
        )

    @property
    def repository(self) -> str:
        """The repository alone."""
        return re.split("[:@]", self.subject)[0]

    @property
    def said(self) -> str:
        """The registry's words, for the end of a sentence."""
        words = ": ".join(word for word in (self.code, self.text) if word)
        return f" ({self.status}: {words})" if words else f" ({self.status})"

    @property
    def details(self) -> dict[str, Any]:
        """What programs may want to know."""
        found = {"host": self.host, "subject": self.subject, "status": self.status, "registry_code": self.code}
        return {**found, RETRY_AFTER: self.retry_after} if self.retry_after else found


def told(refusal: Refusal) -> ClaryError:
    """Return the error to show for a refusal."""
    for tell in (_momentary, _tag, _access, _missing, _type, _quota, _upload):
        error = tell(refusal)
        if error is not None:
            return error
    return AwsError(
        "registry.refused",
        f"{refusal.host} refused {refusal.method} on {refusal.subject}{refusal.said}.",
        next_step="Read the registry's own words; its documentation tells what it takes.",
        details=refusal.details,
    )


def broken(error: HTTPError, url: str) -> ClaryError:
    """Return the error to show when no whole answer came from ``url``."""
    from urllib3 import exceptions

    host = host_of(url)
    details = {"host": host, "reason": type(error).__name__}
    if isinstance(error, exceptions.LocationValueError):
        return bad_reply(host, "it points to an address that is none")
    if isinstance(error, exceptions.NameResolutionError):
        return AwsError(
            "registry.unknown_host",
            f"The name of the registry {host} cannot be resolved.",
            next_step="Check the spelling of the image's name, and that this machine's DNS works.",
            retry=Retry.LATER,
            details=details,
        )
    if isinstance(error, exceptions.SSLError) and _for_good(error):
        return AwsError(
            "registry.tls_failed",
            f"No secure connection to the registry {host}: {str(error)[:_LONGEST_TEXT]}",
            next_step="Check the host's name and this machine's clock. If the registry or a proxy has a certificate of "
            "its own, name it in SSL_CERT_FILE. Plain http is for registries on this machine alone.",
            details=details,
        )
    if isinstance(error, exceptions.NewConnectionError | exceptions.ConnectTimeoutError | exceptions.ProxyError):
        return AwsError(
            "registry.unreachable",
            f"Nothing answers at the registry {host}.",
            next_step="Check the network, HTTPS_PROXY and NO_PROXY; a registry on this machine must be started first.",
            retry=Retry.LATER,
            details=details,
        )
    return AwsError(
        "registry.no_reply",
        f"The connection to the registry {host} broke before it had answered.",
        next_step="Try again; what is there already is not sent twice.",
        retry=Retry.LATER,
        details=details,
    )


def bad_reply(host: str, problem: str) -> ClaryError:
    """Return the error for an answer that the protocol does not know."""
    return AwsError(
        "registry.bad_reply",
        f"What answers at {host} does not speak the registry protocol: {problem}.",
        next_step="Check the host and port in the image's name; a proxy or a sign-in page may stand before it.",
        details={"host": host},
    )


def wrong_digest(host: str, subject: str, problem: str) -> ClaryError:
    """Return the error for bytes that are not those that were asked for."""
    return AwsError(
        "registry.wrong_digest",
        f"What {host} gave for {subject} is not what its digest says: {problem}.",
        next_step="Try again. If it stays, the registry or a proxy before it holds damaged data: push the image anew.",
        retry=Retry.LATER,
        details={"host": host, "subject": subject},
    )


def insecure(url: str) -> ClaryError:
    """Return the error for an address that would be called without encryption."""
    return ConfigError(
        "registry.insecure",
        f"{host_of(url)} would be called by plain http, which is for this machine alone.",
        next_step="Put TLS before the registry, or reach it through a tunnel on 127.0.0.1.",
        field="image",
    )


def retry_after(value: str | None) -> float:
    """Return the seconds that the header Retry-After asks for; 0 where it asks for none."""
    if not value:
        return 0.0
    if value.strip().isdigit():
        return float(value)
    try:
        from datetime import UTC, datetime

        moment = parsedate_to_datetime(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except ValueError:
        return 0.0


def host_of(url: str) -> str:
    """Return host and port of a URL: its query may be as good as a password."""
    return urlsplit(url).netloc.rpartition("@")[2] or url


def _momentary(refusal: Refusal) -> ClaryError | None:
    if refusal.status == 429 or refusal.code == "TOOMANYREQUESTS":
        return ThrottledError(
            "registry.throttled",
            f"{refusal.host} asks for fewer requests{refusal.said}.",
            next_step="Try again later. Docker Hub gives more to those who are signed in: `docker login`.",
            details=refusal.details,
        )
    if refusal.status in TRANSIENT:
        return AwsError(
            "registry.unavailable",
            f"{refusal.host} cannot serve {refusal.subject} now{refusal.said}.",
            next_step="Try again shortly; what is there already is not sent twice.",
            retry=Retry.LATER,
            details=refusal.details,
        )
    return None


def _access(refusal: Refusal) -> ClaryError | None:
    expired = "token has expired" in refusal.said  # which Amazon ECR says with 403, DENIED
    if refusal.status == 401 or refusal.code == "UNAUTHORIZED" or expired:
        return PermissionDeniedError(
            "registry.unauthorized",
            f"{refusal.host} does not take the sign-in for {refusal.subject}{refusal.said}.",
            next_step=f"Sign in with `docker login {refusal.host}`; for Amazon ECR check the AWS credentials. A name "
            "that does not exist is often answered so, too.",
            details=refusal.details,
        )
    if refusal.status == 403 or refusal.code == "DENIED":
        doing = "read" if refusal.method in ("GET", "HEAD") else "write"
        return PermissionDeniedError(
            "registry.forbidden",
            f"These credentials may not {doing} {refusal.subject} at {refusal.host}{refusal.said}.",
            next_step="Ask for that right. In Amazon ECR the caller's policy and the repository's policy grant it; "
            "`clary iam policy builder` prints what a push needs. Without it, packages can travel beside the code: "
            'builder="none".',
            details=refusal.details,
        )
    return None


def _missing(refusal: Refusal) -> ClaryError | None:
    if refusal.code == "NAME_UNKNOWN":
        return NotFoundError(
            "registry.unknown_repository",
            f"{refusal.host} has no repository for {refusal.subject}{refusal.said}.",
            next_step=f"Create it; in Amazon ECR: `aws ecr create-repository --repository-name {refusal.repository}`.",
            field="image",
            details=refusal.details,
        )
    if refusal.code in ("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN") and refusal.method == "PUT" and not refusal.upload:
        return AwsError(
            "registry.blob_missing",
            f"{refusal.host} does not take the image: it lacks a part of {refusal.subject}{refusal.said}.",
            next_step="Push again: the part was taken away meanwhile, or is not to be seen yet.",
            retry=Retry.LATER,
            details=refusal.details,
        )
    if refusal.status == 404 and not _begins_anew(refusal):
        return NotFoundError(
            "registry.not_found",
            f"{refusal.host} does not have {refusal.subject}{refusal.said}.",
            next_step="Check host, repository and tag, e.g. with `skopeo list-tags docker://HOST/REPOSITORY`.",
            field="image",
            details=refusal.details,
        )
    return None


def _tag(refusal: Refusal) -> ClaryError | None:
    words = f"{refusal.code} {refusal.text}".lower()
    if refusal.code in ("TAG_INVALID", "ImageTagAlreadyExistsException") or "immutable" in words:
        return ConflictError(
            "registry.tag_immutable",
            f"At {refusal.host} the tag {refusal.subject} is another image's, and may not be moved{refusal.said}.",
            next_step="Choose another tag, or let the repository's tags be moved "
            "(`aws ecr put-image-tag-mutability --image-tag-mutability MUTABLE`).",
            field="image.tag",
            details=refusal.details,
        )
    return None


def _type(refusal: Refusal) -> ClaryError | None:
    words = f"{refusal.code} {refusal.text}".lower()
    if refusal.status == 415 or refusal.code == "UNSUPPORTED" or "media type" in words or "mediatype" in words:
        return ConfigError(
            "registry.type_refused",
            f"{refusal.host} does not take an image of this type{refusal.said}.",
            next_step="Copy it with `skopeo copy --format v2s2`, which makes Docker's types of it.",
            field="image",
            details=refusal.details,
        )
    return None


def _quota(refusal: Refusal) -> ClaryError | None:
    words = f"{refusal.code} {refusal.text}".lower()
    if refusal.status in (402, 413, 507) or "quota" in words or "limitexceeded" in words or "limit exceeded" in words:
        return QuotaError(
            "registry.quota",
            f"{refusal.host} has no room for {refusal.subject}{refusal.said}.",
            next_step="Remove old images, or ask for a higher limit; in Amazon ECR a lifecycle policy does the first. "
            "Where a single layer is too large, split what it holds.",
            retry=Retry.NO,
            details=refusal.details,
        )
    return None


def _upload(refusal: Refusal) -> ClaryError | None:
    if not _begins_anew(refusal):
        return None
    return AwsError(
        "registry.upload_broken",
        f"{refusal.host} has lost hold of an upload to {refusal.subject}{refusal.said}.",
        next_step="Push again; what is there already is not sent twice.",
        retry=Retry.LATER,
        details=refusal.details,
    )


def _begins_anew(refusal: Refusal) -> bool:
    return refusal.upload and (refusal.code in _BEGIN_ANEW or refusal.status in (404, 416))


def _words(data: bytes) -> tuple[str, str]:
    """Return code and message of an answer's body; what is not the protocol's own form is not shown."""
    try:
        first = json.loads(data)["errors"][0]
        return str(first.get("code") or ""), " ".join(str(first.get("message") or "").split())[:_LONGEST_TEXT]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "", ""


def _for_good(error: HTTPError) -> bool:
    """Tell whether the handshake cannot succeed, rather than that the connection broke."""
    cause = error.args[0] if error.args else error
    return isinstance(cause, ssl.SSLCertVerificationError) or "WRONG_VERSION_NUMBER" in str(error)
