"""The encrypted store of this machine: what it keeps, who can read it, and what a crash or a stranger may do to it."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from clary.errors import ClaryError, ConfigError, NotFoundError, UsageError
from clary.secrets import keys
from clary.secrets.local import LocalSecrets

VALUE = "a value nobody may see"
_real_keyring = keys._keyring


@pytest.fixture
def store(secrets_home: Path) -> LocalSecrets:
    return LocalSecrets()


def put(store: LocalSecrets, name: str, **values: str) -> None:
    store.edit(name, lambda before: {**(before or {}), **values})


def code_of(store: LocalSecrets) -> str:
    with pytest.raises(ClaryError) as caught:
        store.read("db")
    assert VALUE not in repr(caught.value) + str(caught.value.to_dict())
    return caught.value.code


def test_what_was_put_is_read_back(store: LocalSecrets) -> None:
    assert store.entries() == []
    put(store, "db", PASSWORD=VALUE, EMPTY="", MANY="two\nlines ü")
    put(store, "db", USER="me")

    again = LocalSecrets()
    assert again.read("db") == {"PASSWORD": VALUE, "EMPTY": "", "MANY": "two\nlines ü", "USER": "me"}
    assert [entry.name for entry in again.entries()] == ["db"]
    assert (again.exists("db"), again.exists("other")) == (True, False)
    assert again.delete("db") is None
    assert again.entries() == []


def test_nothing_lies_in_clear_and_nobody_else_may_read_it(store: LocalSecrets, secrets_home: Path) -> None:
    put(store, "database", PASSWORD=VALUE)  # words too long to be met by chance
    text = store.path.read_text()
    assert not [word for word in ("database", "PASSWORD", VALUE) if word in json.loads(text)["data"]]
    assert VALUE not in text
    key = keys.key_file()
    assert not key.is_relative_to(secrets_home)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (store.path, key)] == [0o600, 0o600]
    assert key.read_text().strip() not in text
    assert key.read_text().strip() not in repr(keys.find())


def test_a_missing_secret_gets_the_nearest_name(store: LocalSecrets) -> None:
    put(store, "database", PASSWORD=VALUE)
    with pytest.raises(NotFoundError) as caught:
        store.read("databse")
    assert (caught.value.code, caught.value.next_step) == ("secret.not_found", "Did you mean 'database'?")
    with pytest.raises(NotFoundError, match=r"clary secrets set other"):
        store.delete("other")


@pytest.mark.parametrize("name", ["", "a.b", "a b", "-a", "ü", "a/b", "x" * 128])
def test_a_bad_name_is_refused(store: LocalSecrets, name: str) -> None:
    with pytest.raises(UsageError, match=r"secret\.bad_name"):
        put(store, name, A="1")


def test_another_key_is_told_from_damage(store: LocalSecrets, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "db", PASSWORD=VALUE)
    document = json.loads(store.path.read_text())

    monkeypatch.setenv(keys.VARIABLE, Fernet.generate_key().decode())
    assert code_of(store) == "secret.wrong_key"
    monkeypatch.delenv(keys.VARIABLE)
    store.path.write_text(json.dumps({**document, "data": document["data"][:-8] + "AAAAAAA="}))
    assert code_of(store) == "secret.store_damaged"
    for text in ("", "no JSON", "[]", '{"v": 1}', '{"v": "x"}', '{"v": 1, "key": 3, "data": "x"}'):
        store.path.write_text(text)
        assert code_of(store) == "secret.store_damaged"
    store.path.write_text(json.dumps({**document, "v": 2}))
    assert code_of(store) == "secret.newer_store"
    store.path.unlink()
    store.path.mkdir()
    assert code_of(store) == "secret.store_unreadable"


def test_a_lost_key_is_named_and_never_made_anew_over_a_store(store: LocalSecrets) -> None:
    put(store, "db", PASSWORD=VALUE)
    keys.key_file().unlink()
    with pytest.raises(ConfigError) as caught:
        put(store, "db", OTHER="1")
    assert caught.value.code == "secret.no_key"
    assert str(keys.key_file()) in caught.value.summary
    assert not keys.key_file().exists()


def test_the_variable_wins_and_no_file_is_made(store: LocalSecrets, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Fernet.generate_key().decode()
    monkeypatch.setenv(keys.VARIABLE, f" {key}\n")
    put(store, "db", PASSWORD=VALUE)
    assert store.read("db") == {"PASSWORD": VALUE}
    assert not keys.key_file().parent.exists()
    assert keys.find() == keys.Key(key, "the variable CLARY_SECRETS_KEY")


@pytest.mark.parametrize("text", ["secret", "ü" * 44, "A" * 43 + "=AAAA"])
def test_a_malformed_key_is_refused_and_not_shown(
    store: LocalSecrets, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(keys.VARIABLE, text)
    with pytest.raises(ConfigError) as caught:
        put(store, "db", PASSWORD=VALUE)
    assert caught.value.code == "secret.bad_key_source"
    assert text not in caught.value.summary


def test_a_key_that_others_can_read_is_refused(store: LocalSecrets) -> None:
    put(store, "db", PASSWORD=VALUE)
    keys.key_file().chmod(0o640)
    assert code_of(store) == "secret.bad_key_source"


def test_the_key_is_not_made_beside_the_store(
    store: LocalSecrets, secrets_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(secrets_home / "config"))
    with pytest.raises(ConfigError, match="beside what it opens"):
        put(store, "db", PASSWORD=VALUE)


def test_a_usable_keyring_keeps_the_key(
    store: LocalSecrets, monkeypatch: pytest.MonkeyPatch, fake_keyring: dict[tuple[str, str], str]
) -> None:
    put(store, "db", PASSWORD=VALUE)
    assert store.read("db") == {"PASSWORD": VALUE}
    assert list(fake_keyring) == [("clary", "secrets")]
    assert not keys.key_file().exists()
    fake_keyring.clear()
    with pytest.raises(ConfigError, match="the system's keyring"):
        store.read("db")


def test_a_locked_keyring_is_told(
    store: LocalSecrets, fake_keyring: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: str) -> str:
        raise RuntimeError("it is locked")

    monkeypatch.setattr(sys.modules["keyring"], "get_password", locked)
    with pytest.raises(ConfigError, match="keyring does not answer: RuntimeError"):
        put(store, "db", PASSWORD=VALUE)


def test_a_keyring_without_a_place_is_passed_over(
    store: LocalSecrets, fake_keyring: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = sys.modules["keyring"]
    monkeypatch.setattr(ring, "get_keyring", sys.modules["keyring.backends.fail"].Keyring)
    put(store, "db", PASSWORD=VALUE)
    assert (fake_keyring, keys.key_file().exists()) == ({}, True)


@pytest.fixture
def fake_keyring(store: LocalSecrets, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """A package ``keyring`` with the part of its interface that is used, and what it holds."""
    held: dict[tuple[str, str], str] = {}
    names = ("keyring", "keyring.backends", "keyring.backends.fail", "keyring.backends.null")
    made: dict[str, Any] = {name: types.ModuleType(name) for name in names}
    for name in names[2:]:
        made[name].Keyring = type("Keyring", (), {"priority": 0})
    made["keyring.backends"].fail, made["keyring.backends"].null = made[names[2]], made[names[3]]
    made["keyring"].backends = made["keyring.backends"]
    made["keyring"].get_keyring = type("SecretService", (), {"priority": 5})
    made["keyring"].get_password = lambda service, user: held.get((service, user))
    made["keyring"].set_password = lambda service, user, text: held.update({(service, user): text})
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("clary.secrets.keys._keyring", _real_keyring)
    return held


def _put_many(first: int, count: int) -> None:
    for number in range(first, first + count):
        put(LocalSecrets(), "shared", **{f"K{number}": str(number)})


def test_processes_that_write_at_once_undo_nothing_of_each_other(store: LocalSecrets) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_put_many, args=(start, 10)) for start in range(0, 60, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert store.read("shared") == {f"K{number}": str(number) for number in range(60)}


def test_a_write_that_is_cut_off_leaves_the_old_state(store: LocalSecrets, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "db", PASSWORD=VALUE)
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os if step == "fsync" else Path, step, _full)
            with pytest.raises(OSError, match="disk"):
                put(store, "db", PASSWORD="new")
    assert store.read("db") == {"PASSWORD": VALUE}
    assert {path.name for path in store.path.parent.iterdir()} == {"secrets.enc", ".secrets.lock"}


def _full(*_: object) -> None:
    raise OSError(28, "disk full")
