"""What every store can do, the same for each: the local one, Secrets Manager and SSM (moto, by the API only)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import ClaryError, ConfigError, NotFoundError
from clary.sagemaker.session import Aws
from clary.secrets import changes
from clary.secrets.aws import AwsSecrets
from clary.secrets.local import LocalSecrets
from clary.secrets.ssm import SsmSecrets

if TYPE_CHECKING:
    from clary.secrets.store import SecretStore


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    way = Aws("eu-west-1", endpoint_url=moto_url)
    yield way
    way.close()


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex[:8]}/"


@pytest.fixture(params=["local", "aws", "ssm"])
def store(request: pytest.FixtureRequest, aws: Aws, prefix: str, secrets_home: Path) -> SecretStore:
    made: dict[str, Callable[[], SecretStore]] = {
        "local": LocalSecrets,
        "aws": lambda: AwsSecrets(aws, prefix=prefix),
        "ssm": lambda: SsmSecrets(aws, prefix=prefix),
    }
    return made[request.param]()


def code_of(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClaryError) as caught:
        call()
    assert "value" not in caught.value.summary.replace("The value of", "")
    return caught.value.code, caught.value.next_step


def test_the_life_of_a_secret(store: SecretStore) -> None:
    assert store.entries() == []
    assert changes.put(store, "database", {"PASSWORD": "value 1", "USER": "value 2"}) is True
    assert changes.put(store, "database", {"PASSWORD": "value 3"}) is False
    assert store.read("database") == {"PASSWORD": "value 3", "USER": "value 2"}
    assert code_of(lambda: changes.create(store, "database", {"A": "value"}))[0] == "secret.exists"
    changes.create(store, "another", {"A.b-c_1": "{}[]\"'\\ ü\n"})
    assert [entry.name for entry in store.entries()] == ["another", "database"]
    assert store.read("another") == {"A.b-c_1": "{}[]\"'\\ ü\n"}

    changes.update(store, "database", {"NEW": "value 4"}, ["USER"])
    assert store.read("database") == {"PASSWORD": "value 3", "NEW": "value 4"}
    assert code_of(lambda: changes.update(store, "database", {}, ["NOW"])) == (
        "secret.key_not_found",
        "Did you mean 'NEW'?",
    )
    changes.rename(store, "database", "renamed")
    assert store.read("renamed") == {"PASSWORD": "value 3", "NEW": "value 4"}
    assert (store.exists("database"), store.exists("renamed")) == (False, True)
    store.delete("another", force=True)
    assert [entry.name for entry in store.entries()] == ["renamed"]
    assert all(entry.changed for entry in store.entries())


def test_what_is_not_there_is_told_with_the_nearest_name(store: SecretStore) -> None:
    changes.put(store, "database", {"PASSWORD": "value"})
    for call in (
        lambda: store.read("databse"),
        lambda: store.delete("databse"),
        lambda: store.delete("databse", force=True),
        lambda: changes.update(store, "databse", {"A": "value"}),
        lambda: changes.rename(store, "databse", "x"),
    ):
        assert code_of(call) == ("secret.not_found", "Did you mean 'database'?")


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda store: changes.put(store, "x", {}), "secret.no_values"),
        (lambda store: changes.put(store, "x.y", {"A": "1"}), "secret.bad_name"),
        (lambda store: changes.put(store, "x", {"a b": "1"}), "secret.bad_key"),
        (lambda store: changes.update(store, "x", {}), "secret.no_change"),
        (lambda store: changes.update(store, "x", {"A": "1"}, ["A"]), "secret.set_and_removed"),
        (lambda store: changes.rename(store, "x", "x"), "secret.same_name"),
        (lambda store: changes.rename(store, "x", "x y"), "secret.bad_name"),
    ],
)
def test_a_bad_change_is_refused(store: SecretStore, call: Callable[[SecretStore], Any], code: str) -> None:
    assert code_of(lambda: call(store))[0] == code


def test_a_rename_that_was_cut_off_is_finished_by_another(store: SecretStore) -> None:
    changes.put(store, "old", {"A": "value"})
    changes.put(store, "new", {"A": "value"})  # the copy was made, the old one not yet deleted
    changes.rename(store, "old", "new")
    assert [entry.name for entry in store.entries()] == ["new"]
    changes.put(store, "other", {"A": "another value"})
    assert code_of(lambda: changes.rename(store, "other", "new"))[0] == "secret.exists"
    assert store.exists("other")


def test_aws_keeps_a_deleted_secret_for_a_while(aws: Aws, prefix: str) -> None:
    store = AwsSecrets(aws, prefix=prefix)
    changes.put(store, "db", {"A": "value"})
    until = store.delete("db")
    assert until is not None
    assert (store.exists("db"), store.entries()) == (False, [])
    code, step = code_of(lambda: changes.put(store, "db", {"A": "value"}))
    assert code == "secret.being_deleted"
    assert f"restore-secret --secret-id {prefix}db" in step
    aws.client("secretsmanager").restore_secret(SecretId=f"{prefix}db")
    assert store.read("db") == {"A": "value"}


def test_aws_marks_encrypts_and_limits(aws: Aws, prefix: str) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    store = AwsSecrets(aws, prefix=prefix, kms_key=key)
    store.edit("db", lambda _: {"A": "value"}, private_to="AIDAEXAMPLE")
    assert aws.client("secretsmanager").describe_secret(SecretId=f"{prefix}db")["KmsKeyId"] == key
    assert [entry.private_to for entry in store.entries()] == ["AIDAEXAMPLE"]
    changes.put(store, "db", {"B": "value"})
    assert [entry.private_to for entry in store.entries()] == ["AIDAEXAMPLE"]
    assert code_of(lambda: changes.put(store, "db", {"A": "x" * 65_536}))[0] == "secret.too_large"
    aws.client("secretsmanager").create_secret(Name=f"{prefix}plain", SecretString="value")
    with pytest.raises(ConfigError, match=r"secret\.not_keys"):
        store.read("plain")
    aws.client("secretsmanager").create_secret(Name=f"{prefix}rds", SecretString=json.dumps({"port": 5432}))
    assert store.read("rds") == {"port": "5432"}


def test_ssm_encrypts_and_limits(aws: Aws, prefix: str) -> None:
    store = SsmSecrets(aws, prefix=prefix)
    changes.put(store, "db", {f"K{number}": str(number) for number in range(23)})
    assert len(store.read("db")) == 23
    parameter = aws.client("ssm").get_parameter(Name=f"/{prefix}db/K1")["Parameter"]
    assert (parameter["Type"], parameter["Value"] != "1") == ("SecureString", True)
    assert code_of(lambda: changes.put(store, "x", {"A": "x" * 4097})) == (
        "secret.too_large",
        "Keep it in Secrets Manager, which takes 64 KiB: --backend aws.",
    )
    assert code_of(lambda: changes.put(store, "x", {"A": ""}))[0] == "secret.empty_value"
    assert code_of(lambda: changes.update(store, "db", {}, [f"K{n}" for n in range(23)]))[0] == "secret.no_values"
    assert code_of(lambda: changes.put(store, "x", {"A": "1"}, private_to="me"))[0] == "secret.not_private"
    store.delete("db")
    with pytest.raises(NotFoundError):
        store.read("db")
    for bad in ("", "/", "a+b/", "aws/x", "ü"):
        assert code_of(lambda bad=bad: SsmSecrets(aws, prefix=bad))[0] == "secret.bad_prefix"  # type: ignore[misc]
