"""AWS Signature Version 4 for requests of JSON. The container may hold no SDK, and a secret is one small request.

Source: "Create a signed AWS API request" in the IAM user guide; a property test holds it against botocore's signer.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Credentials:
    """What a request is signed with."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def signed_headers(
    url: str,
    headers: dict[str, str],
    body: bytes,
    credentials: Credentials,
    *,
    region: str,
    service: str,
    method: str = "POST",
    now: datetime | None = None,
) -> dict[str, str]:
    """Return the headers of a request to ``url`` with those that sign it."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    whole = {**headers, "X-Amz-Date": moment}
    if credentials.token:
        whole["X-Amz-Security-Token"] = credentials.token
    canonical = {name.lower(): " ".join(value.split()) for name, value in whole.items()} | {"host": _host(url)}
    names = ";".join(sorted(canonical))
    request = "\n".join(
        [
            method,
            quote(urlsplit(url).path or "/", safe="/~"),
            _query(url),
            *(f"{name}:{canonical[name]}" for name in sorted(canonical)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    signature = _hmac(key, text).hex()
    whole["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return whole


def _query(url: str) -> str:
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs))


def _host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:  # an IPv6 address
        host = f"[{host}]"
    return host if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
