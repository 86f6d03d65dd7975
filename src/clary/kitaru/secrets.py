"""``kitaru.secrets``: secrets of the current stack."""

from __future__ import annotations

from clary.kitaru.stacks import Secret, SecretSummary, create_secret, delete_secret, get_secret, list_secrets

__all__ = ["Secret", "SecretSummary", "create_secret", "delete_secret", "get_secret", "list_secrets"]
