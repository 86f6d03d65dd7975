"""Signing in: Basic, and the token that a registry's own token service gives (Bearer).

Sources: the Distribution project's "Token Authentication Specification" and "OAuth2 Token Authentication".
"""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

from clary.images.registry import refusals
from clary.images.registry.asking import Request
from clary.images.registry.wire import Wire, check_secure

if TYPE_CHECKING:
    from clary.images.registry.challenge import Challenge

_CLIENT = "clary"
_LIFETIME = 60.0
"""Seconds that a token lives whose service does not tell. Source: the specification."""
_MARGIN = 5.0
"""Seconds before its end from which a token is not used any more."""


@dataclass(frozen=True)
class Login:
    """Who signs in."""

    user: str
    secret: str = field(repr=False)
    identity: bool = False
    """Whether the secret is an identity token, which only a token service takes."""


class Logins(Protocol):
    """Where the login for one registry comes from."""

    def current(self) -> Login | None:
        """Return the login; None signs in as nobody."""

    def renew(self) -> Login | None:
        """Return the login, looked for anew because the registry does not take the last one."""


class Nobody:
    """No login: what everybody may read."""

    def current(self) -> Login | None:
        """Return None."""
        return None

    def renew(self) -> Login | None:
        """Return None."""
        return None


class _Token(NamedTuple):
    header: str
    until: float
    """On this process's clock."""


class _Realm(NamedTuple):
    url: str
    service: str


class SignIn:
    """The header Authorization for one registry, by whichever way it asks for. Safe from any thread."""

    def __init__(self, host: str, wire: Wire, logins: Logins, *, basic: bool = False) -> None:
        """``basic`` sends the login with the first request, where the registry is known to take it so."""
        self._host = host
        self._wire = wire
        self._logins = logins
        self._basic = basic
        self._realm: _Realm | None = None
        self._tokens: dict[frozenset[str], _Token] = {}
        self._lock = threading.RLock()

    @property
    def expires(self) -> bool:
        """Whether the login itself is a token for a time, as that of Amazon ECR is."""
        return self._basic and self._realm is None

    def login(self) -> Login | None:
        """Return who signs in now."""
        with self._lock:
            return self._logins.current()

    def header(self, scopes: Sequence[str]) -> str | None:
        """Return what to send with a request that needs ``scopes``; None before the registry has asked."""
        with self._lock:
            if self._realm is not None:
                kept = self._tokens.get(frozenset(scopes))
                if kept is None or kept.until < time.monotonic():
                    kept = self._token(self._realm, scopes, self._logins.current())
                return kept.header
            return _basic(self._logins.current()) if self._basic else None

    def renewed(self, challenges: Sequence[Challenge], scopes: Sequence[str], refused: str | None) -> str | None:
        """Return what to send once more, after an answer 401 to ``refused``; None where there is nothing to try."""
        with self._lock:
            known = self._kept(scopes)
            if known is not None and known != refused:
                return known  # another thread was quicker
            login = self._logins.current() if refused is None else self._logins.renew()
            offered = {challenge.scheme: challenge for challenge in reversed(challenges)}
            if bearer := offered.get("bearer"):
                return self._by_token(bearer, scopes, login)
            if "basic" not in offered:
                return None
            self._realm, self._basic = None, True
            return _basic(login)  # also the same once more: registries refuse a good one now and then

    def _kept(self, scopes: Sequence[str]) -> str | None:
        if self._realm is not None:
            kept = self._tokens.get(frozenset(scopes))
            return kept.header if kept else None
        return _basic(self._logins.current()) if self._basic else None

    def _by_token(self, bearer: Challenge, scopes: Sequence[str], login: Login | None) -> str | None:
        realm = bearer.parameters.get("realm", "")
        if not urlsplit(realm).netloc:
            return None
        check_secure(realm)
        self._realm = _Realm(realm, bearer.parameters.get("service", ""))
        wanted = scopes or bearer.parameters.get("scope", "").split()
        token = self._token(self._realm, wanted, login)
        self._tokens[frozenset(scopes)] = token
        return token.header

    def _token(self, realm: _Realm, scopes: Sequence[str], login: Login | None) -> _Token:
        """Ask the token service. Raises PermissionDeniedError ``registry.unauthorized`` and what the way there does."""
        request = _by_identity(realm, scopes, login) if login and login.identity else _by_query(realm, scopes, login)
        header = None if login is None or login.identity else _basic(login)
        document = self._asked(request, header)
        text = document.get("token") or document.get("access_token")
        if not isinstance(text, str) or not text:
            raise refusals.bad_reply(refusals.host_of(realm.url), "its token service gives no token")
        token = _Token(f"Bearer {text}", time.monotonic() + _lifetime(document.get("expires_in")))
        self._tokens[frozenset(scopes)] = token
        return token

    def _asked(self, request: Request, header: str | None) -> dict[str, Any]:
        with self._wire.send(request, header) as reply:
            answer = reply.read()
        if answer.status != 200:
            refusal = refusals.Refusal.of(request, answer)
            raise refusals.told(refusal if answer.status in refusals.TRANSIENT else replace(refusal, host=self._host))
        try:
            document = json.loads(answer.data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise refusals.bad_reply(refusals.host_of(request.url), "its token service does not answer in JSON")
        return document


def _by_query(realm: _Realm, scopes: Sequence[str], login: Login | None) -> Request:
    asked = [("service", realm.service)] if realm.service else []
    asked += [("scope", scope) for scope in scopes]
    asked += [("account", login.user)] if login else []
    joint = "&" if urlsplit(realm.url).query else "?"
    return Request("GET", f"{realm.url}{joint}{urlencode(asked)}", "a token")


def _by_identity(realm: _Realm, scopes: Sequence[str], login: Login) -> Request:
    form = {
        "grant_type": "refresh_token",
        "service": realm.service,
        "client_id": _CLIENT,
        "scope": " ".join(scopes),
        "refresh_token": login.secret,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Request("POST", realm.url, "a token", headers=headers, body=urlencode(form).encode())


def _lifetime(said: Any) -> float:
    """Return the seconds for which a token is used. One that says it is over was given now: a 401 will tell."""
    seconds = float(said) if isinstance(said, int | float) and not isinstance(said, bool) else _LIFETIME
    return max(seconds - _MARGIN, seconds / 2) if seconds > 0 else _LIFETIME


def _basic(login: Login | None) -> str | None:
    if login is None or login.identity:
        return None
    return "Basic " + b64encode(f"{login.user}:{login.secret}".encode()).decode()
