"""Logins that ``docker login``, ``podman login`` and credential helpers keep.

Sources: Docker's "docker login" (config.json, credsStore, credHelpers), containers-auth.json(5), and the protocol of
docker-credential-helpers: the host goes to the standard input of ``docker-credential-NAME get``, JSON comes back.
"""

from __future__ import annotations

import binascii
import json
import os
import re
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clary.errors import ClaryError, ConfigError
from clary.images.reference import DOCKER_HUB
from clary.images.registry.auth import Login

_HUB_NAMES = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", DOCKER_HUB)
"""What the login for Docker Hub is kept under; helpers know the first."""
_IDENTITY = "<token>"
"""What a helper gives for the user where the secret is an identity token."""
_PATIENCE = 30
"""Seconds for a credential helper: it may ask a person."""
_HELPER = re.compile(r"[A-Za-z0-9._-]+")
_NONE_KEPT = "credentials not found"


class DockerLogins:
    """The login for one registry, from the files and helpers of this machine."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._asked = False
        self._login: Login | None = None

    def current(self) -> Login | None:
        """Return the login; None where none is kept. Raises ConfigError as ``find`` does."""
        if not self._asked:
            self._login = find(self._host)
            self._asked = True
        return self._login

    def renew(self) -> Login | None:
        """Look again: a helper may have a new token, a person may have signed in."""
        self._asked = False
        return self.current()


def find(host: str) -> Login | None:
    """Return the login that this machine keeps for a registry; None where there is none.

    ``REGISTRY_AUTH_FILE`` is looked in first, then ``config.json`` in ``DOCKER_CONFIG`` or ``~/.docker``, then
    podman's ``auth.json``. Within a file a helper of the host wins, then its entry in ``auths``, then ``credsStore``.

    Raises ConfigError ``registry.bad_docker_config``, ``registry.credential_helper``.
    """
    for path in _files():
        document = _read(path)
        if document is not None and (found := _in_file(path, document, host)) is not None:
            return found
    return None


def _files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    folder = os.environ.get("DOCKER_CONFIG")
    yield (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "containers" / "auth.json"


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise _bad_file(path, str(reason)) from None
    if not isinstance(document, dict):
        raise _bad_file(path, "it is no JSON object")
    return document


def _in_file(path: Path, document: Mapping[str, Any], host: str) -> Login | None:
    names = _HUB_NAMES if host == DOCKER_HUB else (host,)
    helpers, entries = document.get("credHelpers") or {}, document.get("auths") or {}
    if not isinstance(helpers, dict) or not isinstance(entries, dict):
        raise _bad_file(path, "credHelpers and auths are not objects")
    for name in names:
        if name in helpers:
            return _from_helper(path, str(helpers[name]), name)
    for key, entry in entries.items():
        if key in names or _host_of(key) in names:
            found = _from_entry(path, key, entry)
            if found is not None:
                return found
    store = document.get("credsStore")
    return _from_helper(path, str(store), names[0]) if store else None


def _host_of(key: str) -> str:
    """Return the host that a key of ``auths`` means: ``https://host/v1/`` is an old form of ``host``."""
    return key.removeprefix("https://").removeprefix("http://").split("/", 1)[0]


def _from_entry(path: Path, key: str, entry: Any) -> Login | None:
    """Return the login of an entry; None for the empty ones that say that a helper has it."""
    if not isinstance(entry, dict):
        raise _bad_file(path, f"auths.{key} is no object")
    user, secret = entry.get("username") or "", entry.get("password") or ""
    if kept := entry.get("auth"):
        try:
            user, _, secret = b64decode(str(kept), validate=True).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise _bad_file(path, f"auths.{key}.auth is not user:password in base64") from None
    if token := entry.get("identitytoken"):
        return Login(str(user), str(token), identity=True)
    return Login(str(user), str(secret)) if user and secret else None


def _from_helper(path: Path, helper: str, host: str) -> Login | None:
    if not _HELPER.fullmatch(helper):
        raise _bad_file(path, f"{helper!r} is not the name of a credential helper")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=host, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except FileNotFoundError:
        raise _helper_failed(path, program, host, "it is not installed, or not on the PATH") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _helper_failed(path, program, host, type(error).__name__) from None
    if done.returncode != 0:
        if _NONE_KEPT in f"{done.stdout}{done.stderr}".lower():
            return None
        raise _helper_failed(path, program, host, f"it ended with {done.returncode}")
    try:
        kept = json.loads(done.stdout)
        user, secret = str(kept["Username"]), str(kept["Secret"])
    except (ValueError, KeyError, TypeError):
        raise _helper_failed(path, program, host, "its answer cannot be read") from None
    return Login(user, secret, identity=user == _IDENTITY)


def _bad_file(path: Path, problem: str) -> ClaryError:
    return ConfigError(
        "registry.bad_docker_config",
        f"The file of registry logins {path} cannot be used: {problem}.",
        next_step="Mend it, or move it away and sign in again with `docker login`.",
        field=str(path),
    )


def _helper_failed(path: Path, program: str, host: str, problem: str) -> ClaryError:
    return ConfigError(
        "registry.credential_helper",
        f"The credential helper {program} gave no login for {host}: {problem}.",
        next_step=f"Try `echo {host} | {program} get`; {path} names this helper.",
        field=str(path),
    )
