"""The registry of a running sandbox: its parts, put together."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clary.sandbox.registry import repositories
from clary.sandbox.registry.tokens import Seals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.sandbox.faults import Faults
    from clary.sandbox.registry.blobs import Upload
    from clary.sandbox.registry.names import Place
    from clary.sandbox.registry.own_image import OwnImage
    from clary.sandbox.registry.rights import Rights
    from clary.sandbox.registry.store import Store

FOLDER = "registry"
"""The registry's part of the data folder."""
SETTINGS = {
    "BLOB_MOUNTING": ("DISABLED", "ENABLED"),
    "BASIC_SCAN_TYPE_VERSION": ("AWS_NATIVE", "CLAIR"),
    "REGISTRY_POLICY_SCOPE": ("V2", "V1"),
}
"""The settings of a registry, each with its values; the first is that of a new registry. Source: ECR's API reference,
PutAccountSetting."""


class Registry:
    """What the protocol, the API and the executor of jobs work with. Safe from any thread."""

    def __init__(self, store: Store, *, endpoint: str, faults: Faults, rights: Rights, own: OwnImage) -> None:
        self.store = store
        self.seals = Seals(store.secret())
        self.endpoint = endpoint
        self.faults = faults
        self.rights = rights
        self.own = own

    def setting(self, account: str, region: str, name: str) -> str:
        """Return a setting of a registry."""
        return self.store.setting(account, region, name) or SETTINGS[name][0]

    def takes(self, kind: str, operation: str, name: str) -> bool:
        """Take a planned fault that has no options of its own; returns whether there was one."""
        return self.faults.take(kind, operation=operation, name=name) is not None

    def sync(self) -> None:
        """Forget what was in repositories that are gone, as a stack may have deleted them."""
        for place in self.store.places():
            if repositories.repository(place) is None:
                self.store.forget(place)

    def other_name(self, host: str) -> str:
        """Return this endpoint by another name than a client called it.

        ECR's redirects lead to another host, to which no client sends what it signs in with.
        """
        found = urlsplit(f"//{host}" if host else self.endpoint)
        name = "localhost" if found.hostname == "127.0.0.1" else "127.0.0.1"
        return f"http://{name}:{found.port or urlsplit(self.endpoint).port}"

    def begin_upload(self, place: Place) -> str:
        """Begin an upload and return its id."""
        return self.store.blobs.begin(place.key)

    @contextmanager
    def upload(self, place: Place, identity: str) -> Iterator[Upload | None]:
        """Hold an upload of a repository; None when there is none."""
        with self.store.blobs.upload(place.key, identity) as found:
            yield found

    def close(self) -> None:
        """Close the files."""
        self.store.close()
