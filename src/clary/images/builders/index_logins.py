"""The indexes that a build's secrets sign in to, told to the uv that installs packages in the build.

It reads no settings there, so it would not know which index ``UV_INDEX_TEAM_PASSWORD`` is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from clary.images.packages import indexes, sources

if TYPE_CHECKING:
    from clary.images.building import Order

_LIST = "UV_INDEX"


def with_indexes(order: Order, environment: Mapping[str, str]) -> Order:
    """Return the order with the addresses of the indexes that its secrets name, and with the users that sign in.

    They are handed to the build as its secrets are: an address may be nobody else's business.

    Args:
        order: what is built.
        environment: this machine's, which may name indexes too.

    Raises ConfigError ``image.bad_toml``.
    """
    if not order.lock or not any(name.startswith(f"{_LIST}_") for name in order.secrets):
        return order
    known = indexes.named(sources.of_image(order.image, order.project), {**environment, **order.secrets})
    listed = order.secrets.get(_LIST, "").split()
    told = {one.partition("=")[0] for one in listed}
    users: dict[str, str] = {}
    for index in known:
        if index.name is None or index.name in told:
            continue
        user, password = indexes.login_variables(index.name)
        if user not in order.secrets and password not in order.secrets:
            continue
        told.add(index.name)
        listed.append(f"{index.name}={index.url}")
        if index.login and index.login[0]:
            users[user] = index.login[0]
    return replace(order, secrets={**users, **order.secrets, _LIST: " ".join(listed)}) if listed else order
