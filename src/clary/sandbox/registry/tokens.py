"""Tokens of the registry and addresses of layers: what they allow is written in them, and signed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_SECONDS = 12 * 3600
"""How long a token of GetAuthorizationToken is good. Source: ECR user guide, "Private registry authentication"."""
ADDRESS_SECONDS = 3600
"""How long the address of a layer is good."""
USER = "AWS"
"""The user name of every token."""
LAYERS = "/_layers/"
"""Paths of layers, which stand for those of object storage, begin so."""


@dataclass(frozen=True)
class Grant:
    """Who signs in, and to which registry; ``expires`` in epoch seconds, real time, since clients live in it."""

    access_key: str
    account: str
    region: str
    expires: float

    @property
    def has_expired(self) -> bool:
        """Whether it is over."""
        return time.time() >= self.expires


class Seals:
    """Signs tokens and addresses, and knows them again, also after a restart."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _signature(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def token(self, grant: Grant) -> str:
        """Return the password of a grant."""
        payload = base64.urlsafe_b64encode(json.dumps(asdict(grant)).encode()).decode()
        return f"{payload}.{self._signature(payload)}"

    def grant(self, password: str) -> Grant | None:
        """Return the grant of a password, or None for one that was not made here."""
        payload, _, signature = password.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(payload).encode()):
            return None
        return Grant(**json.loads(base64.urlsafe_b64decode(payload)))

    def address(self, digest: str) -> str:
        """Return path and query of a blob's bytes."""
        expires = str(int(time.time()) + ADDRESS_SECONDS)
        signature = self._signature(f"{digest}\n{expires}")
        return f"{LAYERS}{digest}?{urlencode({'Expires': expires, 'Signature': signature})}"

    def allows(self, digest: str, query: str) -> bool:
        """Tell whether a query is that of the blob's address, and still good."""
        given: Mapping[str, list[str]] = parse_qs(query)
        expires, signature = (given.get(name, [""])[0] for name in ("Expires", "Signature"))
        genuine = hmac.compare_digest(signature.encode(), self._signature(f"{digest}\n{expires}").encode())
        return genuine and int(expires) > time.time()


def password_of(authorization: str) -> str | None:
    """Return the password of basic authentication as the user AWS, or None."""
    kind, _, text = authorization.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if user == USER else None
