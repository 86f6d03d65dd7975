"""Docker's program signed in for one build: the user's own configuration, and what Clary signs in with, kept apart.

``docker login`` is not used: where no sign-in is kept yet it writes into the desktop's own store of passwords.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ClaryError
from clary.images.reference import DOCKER_HUB, Reference

if TYPE_CHECKING:
    from clary.images.registry.auth import Login
    from clary.images.registry.registries import Registries

_HUB_KEY = "https://index.docker.io/v1/"
"""Under which Docker keeps the sign-in to Docker Hub. Source: docker/cli, ``registry.IndexServer``."""


@dataclass(frozen=True)
class Reached:
    """How an engine reaches the registries of a build."""

    addresses: Mapping[str, str]
    """By the host in images' names: host and port that are called."""
    logins: Mapping[str, Login]
    """By the host and port that are called: who signs in."""


def reach(registries: Registries, references: Iterable[Reference], others: Iterable[str] = ()) -> Reached:
    """Return how the registries of these images are reached; those of the hosts ``others`` only if they can be.

    Raises what ``Registries.open`` raises.
    """
    opened = {one.host: registries.open(one) for one in references}
    for host in others:
        with suppress(ClaryError):  # the engine may know better
            opened[host] = registries.open(Reference(host, "any"))
    logins = {registry.host: registry.http.login() for registry in opened.values()}
    given = {host: login for host, login in logins.items() if login is not None and not login.identity}
    return Reached({host: registry.host for host, registry in opened.items()}, given)


def configured(folder: Path, logins: Mapping[str, Login], environment: Mapping[str, str]) -> dict[str, str]:
    """Write a configuration into ``folder`` and return the variables that make Docker's program use it.

    Contexts, plugins, builders and the sign-ins to other registries stay the user's; nothing of the user's is changed.

    Args:
        folder: private to this user; whoever made it takes it away.
        logins: by the registry's host.
        environment: the user's, which may name another place for the configuration.
    """
    own = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
    given = {_key(host): {"auth": _encoded(login)} for host, login in logins.items()}
    handle = os.open(folder / "config.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(_merged(_read(own / "config.json"), given), file)
    for name in ("contexts", "cli-plugins"):
        if (own / name).is_dir():
            (folder / name).symlink_to((own / name).resolve())
    builders = environment.get("BUILDX_CONFIG") or str(own / "buildx")
    return {"DOCKER_CONFIG": str(folder), "BUILDX_CONFIG": builders}


def _key(host: str) -> str:
    return _HUB_KEY if host == DOCKER_HUB else host


def _encoded(login: Login) -> str:
    return base64.b64encode(f"{login.user}:{login.secret}".encode()).decode()


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _merged(own: dict[str, Any], given: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the user's settings with our sign-ins; the store of passwords is asked for other hosts alone."""
    store = own.get("credsStore")
    known = own.get("auths") or {}
    helpers = {**(dict.fromkeys(known, store) if store else {}), **(own.get("credHelpers") or {})}
    return {
        **{name: value for name, value in own.items() if name != "credsStore"},
        "auths": {**known, **given},
        "credHelpers": {host: helper for host, helper in helpers.items() if host not in given},
    }
