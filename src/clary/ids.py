"""Time-ordered identifiers (ULID) for runs. Runs inside the job: standard library only."""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26


def new_id(milliseconds: int | None = None) -> str:
    """Return a new ULID: 48 bits of time, 80 random bits, 26 characters of Crockford's base 32.

    ``milliseconds`` since 1970 stands in for the present, for tests.
    Source: the ULID specification (canonical string form).
    """
    now = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    number = (now << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5))


def is_id(text: str) -> bool:
    """Tell whether ``text`` has the form of an identifier made here."""
    return len(text) == LENGTH and text[0] <= "7" and all(letter in _ALPHABET for letter in text)
