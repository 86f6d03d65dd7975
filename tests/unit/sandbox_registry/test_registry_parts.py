"""The registry's store, its tokens and the names it reads."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from clary.sandbox.registry import blobs, tokens
from clary.sandbox.registry.blobs import digest_of
from clary.sandbox.registry.names import DOCKER_MANIFEST, Named, Place
from clary.sandbox.registry.store import Manifest, Store
from clary.sandbox.registry.tokens import Grant, Seals, password_of

HERE, THERE = Place("123456789012", "us-east-1", "team/app"), Place("123456789012", "us-east-1", "team/other")
_DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "registry")


def add(store: Store, data: bytes, place: Place = HERE) -> str:
    path = store.blobs.arriving()
    path.write_bytes(data)
    store.add_blob(place, digest_of(data), path)
    return digest_of(data)


def manifest(body: bytes = b"{}", place: Place = HERE) -> Manifest:
    return Manifest(place, digest_of(body), DOCKER_MANIFEST, body, time.time())


def aged(monkeypatch: pytest.MonkeyPatch, store: Store, seconds: float) -> None:
    """Let that much time have passed since what is there came."""
    now = time.time()
    for file in store.blobs._uploads.iterdir():
        os.utime(file, (now, now))
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def test_what_nobody_goes_on_with_is_removed_after_a_day(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = store.blobs.begin(HERE.key)
    loose, kept = add(store, b"loose"), add(store, b"kept")
    store.put(manifest(), [kept], "v1")
    for seconds, there in ((_DAY - 10, True), (_DAY + 10, False)):
        with monkeypatch.context() as patched:
            aged(patched, store, seconds)
            store._swept = 0.0
            store.sweep()
        with store.blobs.upload(HERE.key, upload) as found:
            assert (found is not None) is there
        assert (store.size(HERE, loose) is not None) is store.blobs.path(loose).exists() is there
    assert store.size(HERE, kept) == 4


def test_a_blob_of_two_repositories_stays_until_both_are_gone(store: Store) -> None:
    digest = add(store, b"shared")
    store.put(manifest(), [digest], "v1")
    assert store.mount(THERE, HERE, digest, unreferenced=False)
    store.forget(HERE)
    assert (store.size(HERE, digest), store.size(THERE, digest)) == (None, 6)
    assert store.blobs.path(digest).read_bytes() == b"shared"
    store.forget(THERE)
    assert not store.blobs.path(digest).exists()
    assert store.places() == []


def test_what_a_killed_process_left_is_swept_at_the_start(store: Store, tmp_path: Path) -> None:
    kept, lost = add(store, b"kept"), digest_of(b"moved, and killed before its row")
    store.blobs.path(lost).parent.mkdir(exist_ok=True)
    store.blobs.path(lost).write_bytes(b"moved, and killed before its row")
    (tmp_path / "registry/arriving/x").write_bytes(b"half")
    store.close()
    again = Store(tmp_path / "registry")
    again.sweep(files=True)
    assert (again.blobs.path(kept).exists(), again.blobs.path(lost).exists()) == (True, False)
    assert list((tmp_path / "registry/arriving").iterdir()) == []
    assert again.secret() == again.secret()


def test_the_first_part_of_an_upload_is_moved_and_the_next_is_added(store: Store) -> None:
    upload = store.blobs.begin(HERE.key)
    first, second = store.blobs.arriving(), store.blobs.arriving()
    first.write_bytes(b"one ")
    second.write_bytes(b"two ")
    number = first.stat().st_ino
    with store.blobs.upload(HERE.key, upload) as found:
        assert found is not None
        found.append(first)
        assert found.path.stat().st_ino == number
        found.append(second)
        found.append(b"three")
        assert found.digest() == digest_of(b"one two three")
    for other in (THERE.key, f"{HERE.key}/"):
        with store.blobs.upload(other, upload) as found:
            assert found is None
    assert list(store.blobs._arriving.iterdir()) == []
    assert list(blobs.chunks(store.blobs.path(add(store, b"0123456789")), 3, 4)) == [b"3456"]


def test_tokens_say_who_may_and_until_when() -> None:
    seals = Seals(b"secret")
    grant = Grant("AKIA", "123456789012", "us-east-1", time.time() + 10)
    token = seals.token(grant)
    assert seals.grant(token) == grant
    assert not grant.has_expired
    assert replace(grant, expires=time.time() - 1).has_expired
    for wrong in (token[:-1], token + "0", token.replace(".", ""), "", "a.b"):
        assert seals.grant(wrong) is None
    assert Seals(b"another").grant(token) is None


def test_addresses_are_of_one_blob_and_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    seals, digest = Seals(b"secret"), digest_of(b"x")
    path, _, query = seals.address(digest).partition("?")
    assert path == tokens.LAYERS + digest
    assert seals.allows(digest, query)
    for other, asked in ((digest_of(b"y"), query), (digest, ""), (digest, query.replace("Expires=", "Expires=9"))):
        assert not seals.allows(other, asked)
    later = time.time() + tokens.ADDRESS_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert not seals.allows(digest, query)


@pytest.mark.parametrize(
    ("header", "password"),
    [
        ("Basic QVdTOnNlY3JldA==", "secret"),
        ("basic QVdTOkFXUzpB", "AWS:A"),
        ("Basic bWU6c2VjcmV0", None),
        ("Basic !", None),
        ("Bearer QVdTOnNlY3JldA==", None),
        ("", None),
    ],
)
def test_the_password_of_the_user_aws(header: str, password: str | None) -> None:
    assert password_of(header) == password


def test_names_of_images() -> None:
    host, digest = "123456789012.dkr.ecr.us-east-1.amazonaws.com", f"sha256:{'0' * 64}"
    assert Named.read(f"{host}/team/app:v1@{digest}") == Named(HERE, "v1", digest)
    named = Named.read(f"{host}/team/app")
    assert named is not None
    assert named.pointer == "latest"
    china = Named.read("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a:1")
    assert china is not None
    assert china.place.region == "cn-north-1"
    for other in (
        "python:3.12",
        f"{host}/",
        f"{host}/Team:1",
        f"{host}/a@sha256:1",
        "1.dkr.ecr.us-east-1.amazonaws.com/a",
    ):
        assert Named.read(other) is None
    assert Place.read(f"{host}/team/app", "210987654321", "eu-west-1") == HERE
    assert Place.read("team/app", HERE.account, HERE.region) == HERE
    assert Place.of_key(HERE.key) == HERE
