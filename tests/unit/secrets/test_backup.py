"""A backup is read with its passphrase only, whatever is in the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clary.errors import ClaryError, ConflictError
from clary.secrets import backup
from clary.secrets.local import LocalSecrets

SECRETS = {"db": {"PASSWORD": "a value nobody may see", "EMPTY": ""}, "other": {"K": "ü"}}
PASSPHRASE = "correct horse"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the key as quickly as may be; that the true cost is taken from the file is part of the form."""
    monkeypatch.setattr(backup, "_COST", {"n": 2, "r": 1, "p": 1})


def code_of(text: str, passphrase: str = PASSPHRASE) -> str:
    with pytest.raises(ClaryError) as caught:
        backup.opened(text, passphrase)
    return caught.value.code


def test_what_was_sealed_is_opened() -> None:
    text = backup.sealed(SECRETS, PASSPHRASE)
    assert backup.opened(text, PASSPHRASE) == SECRETS
    assert not [word for word in ("PASSWORD", "nobody", PASSPHRASE) if word in text]
    assert backup.sealed(SECRETS, PASSPHRASE) != text
    assert code_of(text, "wrong horse") == "secret.wrong_passphrase"


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(ClaryError, match=r"secret\.weak_passphrase"):
        backup.sealed(SECRETS, "seven77")


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": None},
        {"kdf": None},
        {"kdf": {"name": "scrypt", "salt": "", "n": 1 << 40, "r": 8, "p": 1}},
        {"kdf": {"name": "scrypt", "salt": "", "n": 3, "r": 1, "p": 1}},
        {"kdf": {"name": "md5", "salt": "", "n": 2, "r": 1, "p": 1}},
        {"kdf": {"name": "scrypt", "salt": "!", "n": 2, "r": 1, "p": 1}},
        {"data": 3},
    ],
)
def test_a_file_of_another_form_is_refused(changes: dict[str, object]) -> None:
    assert code_of(json.dumps({**json.loads(backup.sealed(SECRETS, PASSPHRASE)), **changes})) in (
        "secret.backup_unreadable",
        "secret.wrong_passphrase",
    )
    assert code_of("") == "secret.backup_unreadable"


def test_restoring_replaces_nothing_unless_told(secrets_home: Path) -> None:
    store = LocalSecrets()
    assert backup.restore(store, SECRETS) == {"db": "created", "other": "created"}
    assert backup.restore(store, SECRETS) == {"db": "unchanged", "other": "unchanged"}
    store.edit("db", lambda _: {"PASSWORD": "another"})
    store.delete("other")
    with pytest.raises(ConflictError, match="db"):
        backup.restore(store, SECRETS)
    assert not store.exists("other")
    assert backup.restore(store, SECRETS, overwrite=True) == {"db": "replaced", "other": "created"}
    assert {name: store.read(name) for name in SECRETS} == SECRETS
