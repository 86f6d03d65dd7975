"""Secrets in one encrypted file under ``CLARY_HOME``; the key is elsewhere (``clary.secrets.keys``).

The file is JSON: its version, the id of its key, and one Fernet token (AES-128 in CBC mode with an HMAC over it) around
everything else, names included. It is replaced as a whole, under a lock, so that processes do not undo each other's
changes and a kill or a loss of power leaves the old state or the new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary import config
from clary.errors import ConfigError
from clary.files import write_whole
from clary.secrets import keys, store
from clary.secrets.names import check_name

if TYPE_CHECKING:
    from clary.secrets.store import Change, Entry, Values

VERSION = 1
_LARGEST = 64 << 20
"""Bytes of a file that is still read."""


class LocalSecrets:
    """The secrets of this machine's user."""

    flavor = "local"

    def __init__(self, folder: Path | None = None) -> None:
        """``folder`` holds the file; None: ``CLARY_HOME``."""
        self._folder = folder or config.home()
        self.path = self._folder / "secrets.enc"

    @property
    def place(self) -> str:
        """Where it is, in words for people."""
        return f"the local store {self.path}"

    def entries(self) -> list[Entry]:
        """Return every secret, by name in order."""
        return [
            store.Entry(name, changed=kept["changed"], private_to=kept.get("private_to"))
            for name, kept in sorted(self._load().items())
        ]

    def exists(self, name: str) -> bool:
        """Tell whether there is a secret of that name."""
        return name in self._load()

    def read(self, name: str) -> Values:
        """Return what a secret holds.

        Raises NotFoundError (``secret.not_found``), ConfigError (``secret.wrong_key``, ``secret.no_key``,
        ``secret.store_damaged``, ``secret.store_unreadable``, ``secret.bad_key_source``).
        """
        kept = self._load()
        if name not in kept:
            raise store.not_found(name, self, list(kept))
        return dict(kept[name]["values"])

    def edit(self, name: str, change: Change, *, private_to: str | None = None) -> None:
        """Make or change a secret under the store's lock; raises what ``read`` and ``change`` raise."""
        check_name(name)
        with self._locked():
            kept = self._load()
            before = kept.get(name)
            after = dict(change(dict(before["values"]) if before else None))
            owner = private_to or (before or {}).get("private_to")
            kept[name] = {"values": after, "changed": time.time(), **({"private_to": owner} if owner else {})}
            self._store(kept)

    def delete(self, name: str, *, force: bool = False) -> float | None:  # noqa: ARG002 - nothing is kept back here
        """Delete a secret at once."""
        with self._locked():
            kept = self._load()
            if name not in kept:
                raise store.not_found(name, self, list(kept))
            del kept[name]
            self._store(kept)
        return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._folder / ".secrets.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _load(self) -> dict[str, Any]:
        document = self._document()
        if document is None:
            return {}
        key = keys.find()
        if key is None:
            raise ConfigError(
                "secret.no_key",
                f"The key of {self.place} is not here; when it was last written, it was in {document.get('key_in')}.",
                next_step=f"Put the key back there, or give it in {keys.VARIABLE}. Without it nothing in the store can "
                "be read: move the file away and set the secrets anew, or restore a backup.",
            )
        if key.id != document["key"]:
            raise ConfigError(
                "secret.wrong_key",
                f"T{self.place[1:]} was written with another key than the one in {key.origin}; "
                f"that one was in {document.get('key_in')}.",
                next_step=f"Put the right key there, or give it in {keys.VARIABLE}.",
            )
        return self._opened(document["data"], key)

    def _document(self) -> dict[str, Any] | None:
        try:
            with self.path.open("rb") as file:
                raw = file.read(_LARGEST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(
                "secret.store_unreadable",
                f"T{self.place[1:]} cannot be read: {error.strerror}.",
                next_step=f"Correct the rights of {self.path}.",
            ) from None
        try:
            document = json.loads(raw)
            if document["v"] == VERSION and {type(document[name]) for name in ("key", "data")} == {str}:
                return dict(document)
            version = int(document["v"])
        except (ValueError, KeyError, TypeError):
            raise self._damaged() from None
        if version > VERSION:
            raise ConfigError(
                "secret.newer_store",
                f"T{self.place[1:]} was written by a newer Clary.",
                next_step="Update Clary, or set CLARY_HOME to another folder.",
            )
        raise self._damaged()

    def _opened(self, token: str, key: keys.Key) -> dict[str, Any]:
        from cryptography.fernet import Fernet, InvalidToken

        try:
            kept = json.loads(Fernet(key.text).decrypt(token))
        except (InvalidToken, ValueError):
            raise self._damaged() from None
        return dict(kept["secrets"])

    def _store(self, kept: dict[str, Any]) -> None:
        from cryptography.fernet import Fernet

        key = keys.find_or_make()
        token = Fernet(key.text).encrypt(json.dumps({"secrets": kept}).encode()).decode()
        document = {"v": VERSION, "key": key.id, "key_in": key.origin, "data": token}
        write_whole(self.path, json.dumps(document) + "\n", synced=True)

    def _damaged(self) -> ConfigError:
        return ConfigError(
            "secret.store_damaged",
            f"T{self.place[1:]} is damaged: it is not what was written.",
            next_step=f"Put back a copy of {self.path}, or move it away and set the secrets anew, or restore a backup.",
        )
