"""Logins from Docker's and podman's files, and from credential helpers."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import ConfigError
from clary.images.reference import DOCKER_HUB
from clary.images.registry.auth import Login
from clary.images.registry.dockerconfig import DockerLogins, find

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path


def keep(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def config(home: Path, **document: Any) -> None:
    keep(home / ".docker" / "config.json", document)


def auth(text: str) -> dict[str, str]:
    return {"auth": b64encode(text.encode()).decode()}


def helper(home: Path, name: str, script: str) -> None:
    program = home / "bin" / f"docker-credential-{name}"
    keep(program, f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_files_there_is_no_login() -> None:
    assert find("r.example") is None


@pytest.mark.parametrize("key", ["r.example:5000", "https://r.example:5000", "http://r.example:5000/v1/"])
def test_an_entry_is_found_by_every_form_of_its_host(home: Path, key: str) -> None:
    config(home, auths={"other.example": auth("x:y"), key: auth("ada:pass:word")})
    assert find("r.example:5000") == Login("ada", "pass:word")
    assert find("r.example") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_hub_is_found_by_its_old_names(home: Path, key: str) -> None:
    config(home, auths={key: auth("ada:secret")})
    assert find(DOCKER_HUB) == Login("ada", "secret")


def test_user_and_password_may_stand_in_plain(home: Path) -> None:
    config(home, auths={"r.example": {"username": "ada", "password": "secret"}})
    assert find("r.example") == Login("ada", "secret")


def test_an_identity_token_is_known_for_one(home: Path) -> None:
    config(home, auths={"r.example": {**auth("ada:"), "identitytoken": "token"}})
    assert find("r.example") == Login("ada", "token", identity=True)


def test_an_empty_entry_leaves_it_to_the_store(home: Path) -> None:
    config(home, auths={"r.example": {}}, credsStore="desktop")
    helper(home, "desktop", """read host; echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"for $host\\"}" """)
    assert find("r.example") == Login("get", "for r.example")
    assert find(DOCKER_HUB) == Login("get", "for https://index.docker.io/v1/")


def test_a_helper_of_the_host_wins(home: Path) -> None:
    config(home, auths={"r.example": auth("a:b")}, credHelpers={"r.example": "ecr-login"}, credsStore="none")
    helper(home, "ecr-login", """cat > /dev/null; echo '{"Username": "<token>", "Secret": "identity"}'""")
    assert find("r.example") == Login("<token>", "identity", identity=True)


def test_a_helper_that_keeps_nothing_is_no_error(home: Path) -> None:
    config(home, credsStore="empty")
    helper(home, "empty", "echo 'credentials not found in native keychain'; exit 1")
    assert find("r.example") is None


@pytest.mark.parametrize(
    ("script", "said"), [("echo no; exit 3", "ended with 3"), ("echo no", "cannot be read"), (None, "not installed")]
)
def test_a_helper_that_fails_is_told_without_its_words(home: Path, script: str | None, said: str) -> None:
    config(home, credHelpers={"r.example": "mine"})
    if script is not None:
        helper(home, "mine", f"cat > /dev/null; echo a-secret >&2; {script}")
    with pytest.raises(ConfigError) as caught:
        find("r.example")
    assert caught.value.code == "registry.credential_helper"
    assert said in caught.value.summary
    assert "docker-credential-mine get" in caught.value.next_step
    assert "a-secret" not in str(caught.value.to_dict())


def test_a_helper_is_a_name_and_no_path(home: Path) -> None:
    config(home, credHelpers={"r.example": "../../bin/sh"})
    with pytest.raises(ConfigError) as caught:
        find("r.example")
    assert caught.value.code == "registry.bad_docker_config"


@pytest.mark.parametrize(
    "document",
    ["{", "[]", {"auths": [1]}, {"auths": {"r.example": "x"}}, {"auths": {"r.example": {"auth": "c2VjcmV0*"}}}],
)
def test_a_file_that_cannot_be_read_is_told(home: Path, document: Any) -> None:
    keep(home / ".docker" / "config.json", document)
    with pytest.raises(ConfigError) as caught:
        find("r.example")
    assert caught.value.code == "registry.bad_docker_config"
    assert caught.value.field == str(home / ".docker" / "config.json")
    assert "c2VjcmV0" not in str(caught.value.to_dict())


def test_the_files_have_an_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(home / ".config" / "containers" / "auth.json", {"auths": {"r.example": auth("podman:x")}})
    assert find("r.example") == Login("podman", "x")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    keep(home / "run" / "containers" / "auth.json", {"auths": {"r.example": auth("running:x")}})
    assert find("r.example") == Login("running", "x")
    config(home, auths={"r.example": auth("docker:x")})
    assert find("r.example") == Login("docker", "x")
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "elsewhere"))
    assert find("r.example") == Login("running", "x")
    keep(home / "elsewhere" / "config.json", {"auths": {"r.example": auth("named:x")}})
    assert find("r.example") == Login("named", "x")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))
    keep(home / "auth.json", {"auths": {"other.example": auth("first:x")}})
    assert find("other.example") == Login("first", "x")
    assert find("r.example") == Login("named", "x")


def test_a_login_is_looked_for_once_and_anew_when_it_is_refused(home: Path) -> None:
    config(home, auths={"r.example": auth("a:1")})
    logins = DockerLogins("r.example")
    assert logins.current() == Login("a", "1")
    config(home, auths={"r.example": auth("a:2")})
    assert logins.current() == Login("a", "1")
    assert logins.renew() == Login("a", "2")
    assert logins.current() == Login("a", "2")


def test_a_login_shows_no_secret() -> None:
    assert "hidden" not in repr(Login("ada", "hidden"))
