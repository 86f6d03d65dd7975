"""What a secret and its keys may be called. Standard library only: the job reads references by the same rules."""

from __future__ import annotations

import re

from clary.errors import UsageError

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,126}"
"""No dots, so that a reference has one reading; every store takes these."""
KEY = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}"
DEFAULT_PREFIX = "clary/"
"""What the names of Clary's secrets begin with in AWS."""

_NAME = re.compile(NAME)
_KEY = re.compile(KEY)


def check_name(name: str) -> None:
    """Refuse what cannot name a secret: UsageError ``secret.bad_name``."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "secret.bad_name",
            f"{name[:80]!r} cannot be the name of a secret.",
            next_step="Use 1 to 127 letters, digits, '_' and '-', beginning with a letter or a digit.",
            field="name",
        )


def check_key(key: str) -> None:
    """Refuse what cannot be a key of a secret: UsageError ``secret.bad_key``."""
    if not _KEY.fullmatch(key):
        raise UsageError(
            "secret.bad_key",
            f"{key[:80]!r} cannot be a key of a secret.",
            next_step="Use 1 to 127 letters, digits, '_', '-' and '.', beginning with a letter, a digit or '_'.",
            field="key",
        )
