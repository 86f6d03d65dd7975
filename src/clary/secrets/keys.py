"""The key of the local store. It is never kept beside what it opens.

Where it is looked for, in this order: the variable ``CLARY_SECRETS_KEY``; the system's keyring, if the package
``keyring`` is installed and has a usable one; the file ``clary/secrets.key`` in the person's folder of settings
(``XDG_CONFIG_HOME``, else ``~/.config``). A new key is made where the first of the latter two is usable.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from clary import config
from clary.errors import ConfigError
from clary.files import write_whole

T = TypeVar("T")
VARIABLE = "CLARY_SECRETS_KEY"
_FORM = re.compile(r"[A-Za-z0-9_-]{43}=")
"""32 bytes in URL-safe base 64: a key of Fernet."""
_SERVICE, _USER = "clary", "secrets"
_NEW_KEY = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"


@dataclass(frozen=True)
class Key:
    """A key and where it was found."""

    text: str = field(repr=False)
    origin: str
    """In words for people."""

    @property
    def id(self) -> str:
        """A name of the key that tells nothing of it; the store notes it, so that a wrong key is known as such."""
        return hashlib.sha256(b"clary secrets key id\0" + self.text.encode()).hexdigest()[:16]


def find() -> Key | None:
    """Return the key, or None when none was made yet. Raises ConfigError (``secret.bad_key_source``)."""
    if given := os.environ.get(VARIABLE):
        return _checked(given.strip(), f"the variable {VARIABLE}")
    ring = _keyring()
    if ring is not None and (kept := _asked(lambda: ring.get_password(_SERVICE, _USER))):
        return _checked(kept, "the system's keyring")
    return _from_file(key_file())


def find_or_make() -> Key:
    """Return the key; one is made if there is none. Raises ConfigError (``secret.bad_key_source``)."""
    found = find()
    if found is not None:
        return found
    with _making():
        return find() or _made()  # another process may have made it meanwhile


def _made() -> Key:
    from cryptography.fernet import Fernet

    text = Fernet.generate_key().decode()
    ring = _keyring()
    if ring is not None:
        _asked(lambda: ring.set_password(_SERVICE, _USER, text))
        return Key(text, "the system's keyring")
    file = key_file()
    _refuse_beside_the_store(file)
    write_whole(file, text + "\n", synced=True)
    return Key(text, str(file))


def _asked(question: Callable[[], T]) -> T:
    """Return what the keyring answers; it may be locked, or gone."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001 - whatever the keyrings of the systems raise
        raise _bad(
            f"The system's keyring does not answer: {type(error).__name__}.",
            f"Unlock it, or give the key in {VARIABLE}.",
        ) from None


def key_file() -> Path:
    """Return where the key's file is, or would be."""
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or ".")
    folder = settings if settings.is_absolute() else Path.home() / ".config"  # XDG ignores relative ones
    return folder / "clary" / "secrets.key"


def _from_file(file: Path) -> Key | None:
    try:
        with file.open(encoding="ascii") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if mode & 0o077:
                raise _bad(
                    f"The key's file {file} can be read by other users of this machine.",
                    f"Take the right away: chmod 600 {file}. If others may have read it, make the secrets anew.",
                )
            text = opened.read(1024).strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        summary = f"The key's file {file} cannot be read: {reason}."
        raise _bad(summary, f"Correct its rights, or set {VARIABLE}.") from None
    return _checked(text, str(file))


def _checked(text: str, origin: str) -> Key:
    if _FORM.fullmatch(text):
        return Key(text, origin)
    raise _bad(
        f"What {origin} holds is no key: 32 bytes in URL-safe base 64 are expected.",
        f"Put the right key there. A new one, for a new store, is made by: {_NEW_KEY}",
    )


def _keyring() -> Any:
    """Return the keyring module when it is installed and has a place to keep things, else None."""
    try:
        import keyring
        from keyring.backends import fail, null
    except ImportError:
        return None
    try:
        chosen = keyring.get_keyring()
        usable = not isinstance(chosen, (fail.Keyring, null.Keyring)) and chosen.priority > 0
    except Exception:  # noqa: BLE001 - whatever a keyring raises that cannot be used here
        return None
    return keyring if usable else None


def _refuse_beside_the_store(file: Path) -> None:
    home = config.home()
    if file.resolve().is_relative_to(home.resolve()):
        raise _bad(
            f"The key would lie in {file}, inside of CLARY_HOME, beside what it opens.",
            f"Set CLARY_HOME or XDG_CONFIG_HOME to another folder, or give a key in {VARIABLE}.",
        )


@contextmanager
def _making() -> Iterator[None]:
    """Let one process of this person at a time make the key."""
    folder = key_file().parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / ".secrets.key.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _bad(
            f"The folder {folder} for the key cannot be used: {error.strerror}.",
            f"Correct its rights, set XDG_CONFIG_HOME to another folder, or give a key in {VARIABLE}.",
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _bad(summary: str, next_step: str) -> ConfigError:
    return ConfigError("secret.bad_key_source", summary, next_step=next_step, field=VARIABLE)
