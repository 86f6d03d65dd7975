"""What is wrong with a request, one finding at a time, in words for a person and in the service's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN = 80
"""Characters of a value that a finding shows; the rest is cut."""
HIDDEN = "(not shown)"

_SECRET_NAME = re.compile(
    r"secret|passw(or)?d|token(?!i[sz])|credential|api_?-?key|private_?-?key|access_?-?key|signature", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"""(secret|passw(or)?d|token(?!i[sz])|credential|api_?-?key|access_?-?key|signature)[\w-]*["']?\s*[=:\s]\s*\S
      | -----BEGIN | \b(AKIA|ASIA)[A-Z0-9]{12,} | \bgh[pousr]_\w{16,} | ://[^/\s:@]+:[^/\s@]+@""",
    re.IGNORECASE | re.VERBOSE,
)


class Severity(StrEnum):
    """Whether a finding stops the request."""

    ERROR = "error"
    WARNING = "warning"


class Kind(StrEnum):
    """Which sort of limit a finding is about."""

    REQUIRED = "required"
    TYPE = "type"
    UNKNOWN_MEMBER = "unknown_member"
    LENGTH = "length"
    RANGE = "range"
    PATTERN = "pattern"
    ENUM = "enum"
    RULE = "rule"
    """Required in practice, or about several members at once: not in the service model."""


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a request."""

    path: str
    """Where, e.g. ``InputDataConfig[0].ChannelName``."""
    value: str
    """The value as it may be shown: cut, and never a secret."""
    limit: str
    """The published limit it breaks."""
    message: str
    """What is wrong, in one sentence."""
    next_step: str
    severity: Severity = Severity.ERROR
    kind: Kind = Kind.RULE
    service_text: str = ""
    """How the service would say it; empty for what it does not check in this form."""

    def to_dict(self) -> dict[str, str]:
        """Return what a person or a program is shown of the finding."""
        return {
            "path": self.path,
            "value": self.value,
            "limit": self.limit,
            "message": self.message,
            "next_step": self.next_step,
            "severity": str(self.severity),
        }


def shown(value: Any, *, name: str = "", hidden: bool = False) -> str:
    """Return a value as a finding may show it: on one line, cut at ``SHOWN`` characters, secrets left out.

    ``name`` is the name of the member or key that holds the value; ``hidden`` leaves the value out in any case.
    """
    if hidden or _SECRET_NAME.search(name):
        return HIDDEN
    text = "null" if value is None else value if isinstance(value, str) else repr(value)
    if _SECRET_TEXT.search(text):
        return HIDDEN
    cut = text[:SHOWN].encode("unicode_escape").decode() if not text[:SHOWN].isprintable() else text[:SHOWN]
    return cut if len(text) <= SHOWN else f"{cut}… ({len(text)} characters)"


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop a request."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]


def service_message(findings: Iterable[Finding]) -> str:
    """Return the findings as the text of a ValidationException, or an empty text when the service would not object.

    The service reports every constraint of its model at once, as ``N validation error(s) detected: …``, and only a
    request that meets them all reaches its other rules, of which it reports the first. Members that it does not know
    it ignores.
    """
    objections = [finding for finding in errors_of(findings) if finding.service_text]
    constraints = [finding.service_text for finding in objections if finding.kind is not Kind.RULE]
    if constraints:
        noun = "error" if len(constraints) == 1 else "errors"
        return f"{len(constraints)} validation {noun} detected: {'; '.join(constraints)}"
    return objections[0].service_text if objections else ""
