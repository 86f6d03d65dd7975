"""The store of a fresh machine."""

from __future__ import annotations

from secrets_home import secrets_home

__all__ = ["secrets_home"]
