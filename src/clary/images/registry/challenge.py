"""What a registry asks for when it answers 401: the header WWW-Authenticate. Pure. Source: RFC 9110, section 11."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*(?P<scheme>{_WORD})(?=[\s,]|$)")
_PARAMETER = re.compile(rf'[\s,]*(?P<name>{_WORD})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_WORD}))')
_LONE = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")


@dataclass(frozen=True)
class Challenge:
    """One way to sign in that the registry offers."""

    scheme: str
    """In small letters: ``basic``, ``bearer``."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Names in small letters."""


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges in the values of WWW-Authenticate, in order; what cannot be read is passed over."""
    return [challenge for header in headers for challenge in _of(header)]


def _of(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while scheme := _SCHEME.match(header, position):
        position = scheme.end()
        lone = _LONE.match(header, position)
        if lone and not _PARAMETER.match(header, position):
            position = lone.end()
        parameters: dict[str, str] = {}
        while one := _PARAMETER.match(header, position):
            quoted = one["quoted"]
            value = one["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(one["name"].lower(), value)
            position = one.end()
        found.append(Challenge(scheme["scheme"].lower(), parameters))
    return found
