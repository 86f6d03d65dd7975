"""What people do to secrets, the same for every store: set, create, update, rename."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clary.errors import UsageError
from clary.secrets import store as stores
from clary.secrets.names import check_key, check_name

if TYPE_CHECKING:
    from clary.secrets.store import SecretStore, Values


def put(store: SecretStore, name: str, values: Mapping[str, str], *, private_to: str | None = None) -> bool:
    """Make a secret, or set some keys of one that is there; returns whether it is new."""
    _check(name, values)
    new = []

    def change(before: Values | None) -> Mapping[str, str]:
        new.append(before is None)
        return {**(before or {}), **values}

    store.edit(name, change, private_to=private_to)
    return new[-1]


def create(store: SecretStore, name: str, values: Mapping[str, str], *, private_to: str | None = None) -> None:
    """Make a secret; raises ConflictError (``secret.exists``)."""
    _check(name, values)

    def change(before: Values | None) -> Mapping[str, str]:
        if before is not None:
            raise stores.exists_already(name, store)
        return values

    store.edit(name, change, private_to=private_to)


def update(
    store: SecretStore,
    name: str,
    values: Mapping[str, str],
    remove: Sequence[str] = (),
    *,
    private_to: str | None = None,
) -> None:
    """Set and take away keys of a secret that is there.

    Raises NotFoundError (``secret.not_found``, ``secret.key_not_found``), UsageError (``secret.no_change``,
    ``secret.set_and_removed``).
    """
    check_name(name)
    if not values and not remove and private_to is None:
        raise UsageError(
            "secret.no_change",
            "Nothing says what to change.",
            next_step=f"Give keys to set (--KEY=@FILE) or to take away: clary secrets update {name} -r KEY.",
        )
    both = sorted(set(values) & set(remove))
    if both:
        raise UsageError(
            "secret.set_and_removed",
            f"The key {both[0]!r} is both set and taken away.",
            next_step="Name each key once.",
            field="remove",
        )
    for key in values:
        check_key(key)

    def change(before: Values | None) -> Mapping[str, str]:
        if before is None:
            raise stores.not_found(name, store, [entry.name for entry in store.entries()])
        for key in remove:
            if key not in before:
                raise stores.key_not_found(name, key, store, list(before))
        return {key: value for key, value in {**before, **values}.items() if key not in remove}

    store.edit(name, change, private_to=private_to)


def rename(store: SecretStore, name: str, new: str) -> float | None:
    """Give a secret another name: a copy is made, then the old one deleted.

    Cut off between the two, it is put right by doing it again. Returns until when the old one can be brought back.
    Raises NotFoundError (``secret.not_found``), ConflictError (``secret.exists``), UsageError (``secret.bad_name``,
    ``secret.same_name``).
    """
    check_name(new)
    if name == new:
        raise UsageError(
            "secret.same_name", f"The secret is called {name!r} already.", next_step="Give another name.", field="new"
        )
    values = store.read(name)
    owner = next((entry.private_to for entry in store.entries() if entry.name == name), None)

    def change(before: Values | None) -> Mapping[str, str]:
        if before is not None and before != values:
            raise stores.exists_already(new, store)
        return values

    store.edit(new, change, private_to=owner)
    return store.delete(name)


def _check(name: str, values: Mapping[str, str]) -> None:
    check_name(name)
    if not values:
        raise UsageError(
            "secret.no_values",
            f"The secret {name!r} would have no key.",
            next_step=f"Give at least one: clary secrets set {name} --KEY=@FILE.",
            field="values",
        )
    for key in values:
        check_key(key)
