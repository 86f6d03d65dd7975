"""What every place that keeps secrets can do, and the words they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from clary.errors import ConflictError, NotFoundError, nearest

Values = dict[str, str]
Change = Callable[[Values | None], Mapping[str, str]]
"""Given what a secret holds (None: there is none), returns all that it is to hold."""


@dataclass(frozen=True)
class Entry:
    """One secret, without what it holds."""

    name: str
    changed: float | None = None
    """Epoch seconds of its last change, where the place knows it."""
    private_to: str | None = None
    """Who marked it as private."""


class SecretStore(Protocol):
    """A place that keeps secrets, each a set of keys with texts."""

    flavor: str
    """``aws``, ``ssm`` or ``local``."""

    @property
    def place(self) -> str:
        """Where it is, in words for people."""
        ...

    def entries(self) -> list[Entry]:
        """Return every secret, by name in order. Reads no value."""
        ...

    def exists(self, name: str) -> bool:
        """Tell whether there is a secret of that name. Reads no value."""
        ...

    def read(self, name: str) -> Values:
        """Return what a secret holds; raises NotFoundError (``secret.not_found``)."""
        ...

    def edit(self, name: str, change: Change, *, private_to: str | None = None) -> None:
        """Make or change a secret; all of it is replaced by what ``change`` returns. ``private_to`` marks it."""
        ...

    def delete(self, name: str, *, force: bool = False) -> float | None:
        """Delete a secret; ``force`` at once, where the place would keep it for a while.

        Returns until when (epoch seconds) it can be brought back, None if it is gone. Raises NotFoundError
        (``secret.not_found``).
        """
        ...


class Caller(Protocol):
    """The way to AWS (``clary.sagemaker.session.Aws``): gives the client for an action and translates its errors."""

    def call(self, action: str, *, resource: str | None = None) -> AbstractContextManager[Any]:
        """Give the boto3 client for ``action``, such as ``secretsmanager:GetSecretValue``."""
        ...


def not_found(name: str, store: SecretStore, known: Sequence[str] = ()) -> NotFoundError:
    """Return the error for a secret that is not there; ``known`` are the names that are."""
    meant = nearest(name, known)
    return NotFoundError(
        "secret.not_found",
        f"There is no secret {name!r} in {store.place}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"Make it: clary secrets set {name} --KEY=@FILE.",
        field="name",
        details={"name": name, "backend": store.flavor},
    )


def key_not_found(name: str, key: str, store: SecretStore, known: Sequence[str]) -> NotFoundError:
    """Return the error for a key that a secret does not have."""
    meant = nearest(key, known)
    listed = ", ".join(sorted(known)[:20]) or "none at all"
    return NotFoundError(
        "secret.key_not_found",
        f"The secret {name!r} in {store.place} has no key {key!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"Its keys are: {listed}.",
        field="key",
        details={"name": name, "key": key, "backend": store.flavor},
    )


def exists_already(name: str, store: SecretStore) -> ConflictError:
    """Return the error for a secret that is to be made and is there."""
    return ConflictError(
        "secret.exists",
        f"There is a secret {name!r} in {store.place} already.",
        next_step=f"Change it with `clary secrets update {name} …`, or choose another name.",
        field="name",
    )
