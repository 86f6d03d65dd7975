"""How long an instance takes to pull an image: an estimate, said to be one."""

from __future__ import annotations

from clary.files import size_text

_BYTES_PER_SECOND = 60_000_000
"""Of compressed layers. Source: Deep Learning Containers of 15-20 GB take 4-6 minutes (AWS on SOCI, June 2026)."""
_OVERHEAD = 2.0
"""Seconds."""


def pull_seconds(size: int) -> float | None:
    """Return about how long a pull of ``size`` bytes takes, in seconds; None for an unknown size."""
    return round(_OVERHEAD + size / _BYTES_PER_SECOND, 1) if size else None


def pull_text(size: int) -> str:
    """Return size and estimate as people read them."""
    return f"{size_text(size)}, pulled in about {pull_seconds(size) or 0:.0f} s"
