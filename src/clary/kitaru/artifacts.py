"""``kitaru.artifacts``: keeping values by name."""

from __future__ import annotations

from clary.kitaru.context import load, save

__all__ = ["load", "save"]
