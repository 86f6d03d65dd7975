"""Secrets in one file that a passphrase opens: to keep, or to carry to another place.

The file is JSON: how the key is made from the passphrase (scrypt, RFC 7914, with its parameters and salt), and one
Fernet token around names, keys and values. Its parameters are bounded when it is read, for a file comes from outside.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError, ConflictError, NotFoundError, UsageError
from clary.secrets.names import check_key, check_name

if TYPE_CHECKING:
    from clary.secrets.store import SecretStore, Values

VERSION = 1
SHORTEST_PASSPHRASE = 8
_COST = {"n": 1 << 17, "r": 8, "p": 1}
"""128 MiB and some tenths of a second a guess: the first choice of OWASP's password storage cheat sheet."""
_MOST = {"n": 1 << 20, "r": 16, "p": 4}


def sealed(secrets: Mapping[str, Values], passphrase: str) -> str:
    """Return the text of a backup; raises UsageError (``secret.weak_passphrase``)."""
    from cryptography.fernet import Fernet

    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise UsageError(
            "secret.weak_passphrase",
            f"The passphrase has fewer than {SHORTEST_PASSPHRASE} characters.",
            next_step="Use a longer one, such as five words; without it nobody can read the backup.",
        )
    salt = os.urandom(16)
    token = Fernet(_key(passphrase, salt, _COST)).encrypt(json.dumps({"secrets": secrets}).encode())
    document = {"v": VERSION, "kdf": {"name": "scrypt", "salt": b64encode(salt).decode(), **_COST}}
    return json.dumps({**document, "data": token.decode()}) + "\n"


def opened(text: str, passphrase: str) -> dict[str, Values]:
    """Return the secrets of a backup.

    Raises ConfigError (``secret.backup_unreadable``, ``secret.wrong_passphrase``).
    """
    from cryptography.fernet import Fernet, InvalidToken

    try:
        document = json.loads(text)
        if document["v"] != VERSION:
            raise _unreadable("it was made by another version of Clary")
        cost, salt, token = _cost(document["kdf"]), b64decode(document["kdf"]["salt"], validate=True), document["data"]
        key = _key(passphrase, salt, cost)
        content = Fernet(key).decrypt(token)
    except InvalidToken:
        raise ConfigError(
            "secret.wrong_passphrase",
            "The passphrase does not open the backup, or the backup is damaged.",
            next_step="Give the passphrase that it was made with.",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise _unreadable("it is no backup of `clary secrets backup`") from None
    secrets: dict[str, Values] = json.loads(content)["secrets"]
    for name, values in secrets.items():
        check_name(name)
        for one in values:
            check_key(one)
    return secrets


def restore(store: SecretStore, secrets: Mapping[str, Values], *, overwrite: bool = False) -> dict[str, str]:
    """Put secrets into a store; returns for each what was done: ``created``, ``replaced`` or ``unchanged``.

    Raises ConflictError (``secret.exists``), with nothing written, for one that is there with other values, unless
    ``overwrite``.
    """
    done = {name: _difference(store, name, values) for name, values in sorted(secrets.items())}
    others = [name for name, what in done.items() if what == "replaced"]
    if others and not overwrite:
        raise ConflictError(
            "secret.exists",
            f"{store.place} has secrets of these names with other values: {', '.join(others[:10])}.",
            next_step="Look at them with `clary secrets show`; --overwrite replaces them.",
            details={"names": others},
        )
    for name, what in done.items():
        if what != "unchanged":
            values = secrets[name]
            store.edit(name, lambda _, values=values: values)  # type: ignore[misc]  # a default that binds the loop's
    return done


def _difference(store: SecretStore, name: str, values: Values) -> str:
    try:
        return "unchanged" if store.read(name) == values else "replaced"
    except NotFoundError:
        return "created"


def _key(passphrase: str, salt: bytes, cost: Mapping[str, int]) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    derived = Scrypt(salt=salt, length=32, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase.encode())
    return urlsafe_b64encode(derived)


def _cost(kdf: Mapping[str, Any]) -> dict[str, int]:
    cost = {name: int(kdf[name]) for name in _MOST}
    if kdf["name"] != "scrypt" or any(not 1 <= cost[name] <= most for name, most in _MOST.items()):
        raise _unreadable("its key cannot be made here")
    return cost


def _unreadable(why: str) -> ConfigError:
    return ConfigError(
        "secret.backup_unreadable",
        f"The backup cannot be read: {why}.",
        next_step="Name a file that `clary secrets backup` has written.",
        field="file",
    )
