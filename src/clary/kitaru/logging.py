"""``kitaru.logging``: noting facts."""

from __future__ import annotations

from clary.kitaru.context import log

__all__ = ["log"]
