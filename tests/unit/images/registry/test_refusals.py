"""What registries say no with, told."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, ProtocolError, SSLError

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
from clary.images.registry import refusals
from clary.images.registry.asking import Answer, Request

URL = "https://r.example/v2/app/x/manifests/v1?secret=hidden"


def told(status: int, code: str, text: str = "words", *, method: str = "PUT", upload: bool = False) -> ClaryError:
    body = json.dumps({"errors": [{"code": code, "message": text}]}).encode() if code else b"<html>hidden</html>"
    request = Request(method, URL, "app/x:v1", upload=upload)
    return refusals.told(refusals.Refusal.of(request, Answer(status, URL, {}, body)))


@pytest.mark.parametrize(
    ("status", "code", "text", "kind", "meant"),
    [
        (401, "UNAUTHORIZED", "", PermissionDeniedError, "registry.unauthorized"),
        (403, "DENIED", "", PermissionDeniedError, "registry.forbidden"),
        (403, "DENIED", "Your authorization token has expired.", PermissionDeniedError, "registry.unauthorized"),
        (404, "NAME_UNKNOWN", "", NotFoundError, "registry.unknown_repository"),
        (404, "MANIFEST_UNKNOWN", "", NotFoundError, "registry.not_found"),
        (404, "", "", NotFoundError, "registry.not_found"),
        (400, "MANIFEST_BLOB_UNKNOWN", "", AwsError, "registry.blob_missing"),
        (
            400,
            "TAG_INVALID",
            "the repository is immutable",
            ConflictError,
            "registry.tag_immutable",
        ),
        (409, "ImageTagAlreadyExistsException", "", ConflictError, "registry.tag_immutable"),
        (403, "DENIED", "tag is immutable", ConflictError, "registry.tag_immutable"),
        (415, "", "", ConfigError, "registry.type_refused"),
        (400, "MANIFEST_INVALID", "unsupported manifest media type", ConfigError, "registry.type_refused"),
        (429, "TOOMANYREQUESTS", "", ThrottledError, "registry.throttled"),
        (413, "", "", QuotaError, "registry.quota"),
        (400, "LimitExceededException", "", QuotaError, "registry.quota"),
        (400, "UNKNOWN", "The storage quota is used up", QuotaError, "registry.quota"),
        (500, "", "", AwsError, "registry.unavailable"),
        (503, "UNAVAILABLE", "", AwsError, "registry.unavailable"),
        (400, "NAME_INVALID", "", AwsError, "registry.refused"),
    ],
)
def test_each_refusal_has_its_error(status: int, code: str, text: str, kind: type[ClaryError], meant: str) -> None:
    error = told(status, code, text)
    assert type(error) is kind
    assert error.code == meant
    assert error.next_step
    assert (error.retry is Retry.LATER) == (
        meant in ("registry.blob_missing", "registry.throttled", "registry.unavailable")
    )
    assert "hidden" not in str(error.to_dict())
    assert "r.example" in error.summary


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "BLOB_UPLOAD_UNKNOWN"), (404, ""), (416, ""), (400, "DIGEST_INVALID"), (400, "SIZE_INVALID")],
)
def test_a_lost_upload_can_begin_anew(status: int, code: str) -> None:
    error = told(status, code, upload=True)
    assert (error.code, error.retry) == ("registry.upload_broken", Retry.LATER)
    assert told(404, "NAME_UNKNOWN", upload=True).code == "registry.unknown_repository"


def _error(kind: type[HTTPError]) -> HTTPError:
    connection = HTTPSConnection("r.example")
    if kind is NameResolutionError:
        return NameResolutionError("r.example", connection, OSError("no such name"))  # type: ignore[arg-type]  # gaierror
    if kind is NewConnectionError:
        return NewConnectionError(connection, "refused")
    if kind is SSLError:
        return SSLError(ssl.SSLCertVerificationError("certificate verify failed"))
    return kind("Connection aborted.")


@pytest.mark.parametrize(
    ("kind", "code", "retry"),
    [
        (NameResolutionError, "registry.unknown_host", Retry.LATER),
        (NewConnectionError, "registry.unreachable", Retry.LATER),
        (SSLError, "registry.tls_failed", Retry.NO),
        (ProtocolError, "registry.no_reply", Retry.LATER),
    ],
)
def test_a_way_that_is_broken_has_its_error(kind: type[HTTPError], code: str, retry: Retry) -> None:
    error = refusals.broken(_error(kind), URL)
    assert (error.code, error.retry) == (code, retry)
    assert "r.example" in error.summary
    assert "hidden" not in str(error.to_dict())


def test_a_handshake_that_breaks_off_may_be_tried_again() -> None:
    assert refusals.broken(SSLError(ssl.SSLEOFError("EOF occurred")), URL).code == "registry.no_reply"


def test_retry_after_is_read_in_both_forms() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert refusals.retry_after("7") == 7
    assert 27 < refusals.retry_after(soon) <= 30
    assert refusals.retry_after(format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)) == 0
    for nothing in (None, "", "soon", "-3"):
        assert refusals.retry_after(nothing) == 0
