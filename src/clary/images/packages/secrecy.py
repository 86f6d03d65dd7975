"""Texts for people without the names and passwords that stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from clary.secrets.redaction import hidden, mask

_SECRET_NAMES = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET", re.IGNORECASE)
_LOGIN = re.compile(r"://[^/\s\"'`]*@")
_SLASHED_LOGIN = re.compile(r"://[^/:@\s\"'`]+:(?P<password>[^\s\"'`]*)@")
"""One whose password holds a slash that should have been escaped."""
_PORT = re.compile(r"\d*(?:/.*)?")


def scrubbed(text: str) -> str:
    """Return a text without the names and passwords that stand in its URLs, escaped as they should be or not."""
    return _SLASHED_LOGIN.sub(_without_login, _LOGIN.sub("://", text))


def masked(text: str, environment: Mapping[str, str]) -> str:
    """Return a text scrubbed, and without the secrets that an environment holds."""
    with hidden(_secrets(environment)):
        return scrubbed(mask(text))


def _without_login(found: re.Match[str]) -> str:
    """Leave ``host:8080/tool.git@v1``, which is a place with a port, as it is."""
    return found[0] if _PORT.fullmatch(found["password"]) else "://"


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield what is secret by its variable's name, and the passwords of URLs, as they are and unescaped."""
    for name, value in environment.items():
        if _SECRET_NAMES.search(name):
            yield value
        for one in re.split(r"[\s,]", value) if "://" in value else ():
            login, mark, _ = one.partition("://")[2].rpartition("@")
            user, _, password = login.partition(":")
            if mark:
                yield from (password or user, unquote(password or user))
