"""``Client().secrets``: the secrets that a stack's runs may refer to as ``{{secrets.NAME.KEY}}``."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING

from clary.agent import service

if TYPE_CHECKING:
    from clary.secrets.store import Entry, SecretStore


class Secrets:
    """The secrets of a stack. Only ``get`` reads values."""

    def __init__(self, stack: str | None) -> None:
        self._stack = stack

    def list(self) -> builtins.list[Entry]:
        """Return every secret, by name in order, without its values."""
        return self._store().entries()

    def get(self, name: str) -> dict[str, str]:
        """Return what a secret holds, text by key; raises NotFoundError ``secret.not_found``."""
        return dict(self._store().read(name))

    def set(self, name: str, values: Mapping[str, str]) -> None:
        """Make a secret, or set some of its keys."""
        from clary.secrets import changes

        changes.put(self._store(), name, dict(values))

    def delete(self, name: str, *, force: bool = False) -> None:
        """Delete a secret; ``force`` at once, where the place would keep it for a while."""
        self._store().delete(name, force=force)

    def _store(self) -> SecretStore:
        from clary.agent.secrets import open_secrets

        return open_secrets(service.choose_stack(self._stack))
