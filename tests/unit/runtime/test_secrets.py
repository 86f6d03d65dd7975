"""Reading secrets in the job, from a service that does not always answer."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from clary.errors import AwsError, ClaryError, ConfigError, PermissionDeniedError
from clary.runtime import awsjson, secrets
from clary.runtime.signing import Credentials
from clary.secrets import redaction
from clary.secrets.redaction import MaskedStream
from clary.secrets.references import Reference
from scripted_aws import ScriptedAws, refusal

VALUE = "a value nobody may see"
HELD = (200, {"SecretString": json.dumps({"PASSWORD": VALUE, "USER": "me"})})
DB = Reference("db", "PASSWORD")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedAws]:
    monkeypatch.setattr(awsjson, "PAUSE", 0.0)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    with ScriptedAws().serving() as served:
        yield served


def where(aws: ScriptedAws, flavor: str = "aws") -> dict[str, str]:
    prefix = "clary/" if flavor == "aws" else "/clary"
    return {"flavor": flavor, "endpoint": aws.url, "region": "eu-west-1", "prefix": prefix}


def refused(aws: ScriptedAws, *wanted: Reference, flavor: str = "aws") -> ClaryError:
    with pytest.raises(ClaryError) as caught:
        secrets.read(where(aws, flavor), wanted or [DB])
    assert VALUE not in str(caught.value.to_dict())
    return caught.value


def test_one_request_a_secret(aws: ScriptedAws) -> None:
    aws.answers("GetSecretValue", HELD)
    wanted = [DB, Reference("db", "USER"), Reference("other", "USER")]
    assert secrets.read(where(aws), wanted) == dict(zip(wanted, [VALUE, "me", "me"], strict=True))
    assert sorted(one["SecretId"] for one in aws.requests("GetSecretValue")) == ["clary/db", "clary/other"]


def test_parameters_are_asked_for_ten_at_a_time(aws: ScriptedAws) -> None:
    def give(request: dict[str, Any]) -> Any:
        return 200, {"Parameters": [{"Name": name, "Value": name[-2:]} for name in request["Names"]]}

    aws.answers("GetParameters", give)
    wanted = [Reference("many", f"K{number:02}") for number in range(23)]
    assert secrets.read(where(aws, "ssm"), wanted) == {one: one.key[-2:] for one in wanted}
    assert [len(one["Names"]) for one in aws.requests("GetParameters")] == [10, 10, 3]
    assert aws.requests("GetParameters")[0]["Names"][0] == "/clary/many/K00"


@pytest.mark.parametrize("trouble", [refusal("ThrottlingException"), (500, {}), None], ids=["throttled", "500", "cut"])
def test_a_passing_trouble_gets_one_more_try(aws: ScriptedAws, trouble: Any) -> None:
    aws.answers("GetSecretValue", trouble, HELD)
    assert secrets.read(where(aws), [DB]) == {DB: VALUE}
    aws.answers("GetSecretValue", trouble, trouble, HELD)
    assert refused(aws).code in ("secret.throttled", "secret.unreachable")


def test_what_is_forbidden_names_action_and_resource(aws: ScriptedAws) -> None:
    aws.answers("GetSecretValue", refusal("AccessDeniedException", "User: arn:x is not authorized to perform: it"))
    error = refused(aws)
    assert isinstance(error, PermissionDeniedError)
    assert error.code == "secret.forbidden"
    assert (error.details["action"], error.details["resource"]) == ("secretsmanager:GetSecretValue", "clary/db")
    assert "secretsmanager:GetSecretValue on clary/db" in error.summary
    assert len(aws.calls) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusal("ResourceNotFoundException"), "secret.not_found"),
        (refusal("com.amazonaws.secretsmanager#ResourceNotFoundException"), "secret.not_found"),
        (refusal("InvalidRequestException", "it was marked for deletion."), "secret.being_deleted"),
        (refusal("DecryptionFailure", "no"), "secret.refused"),
        ((200, {"SecretString": '{"PASSWORT": "x"}'}), "secret.key_not_found"),
        ((200, {"SecretString": VALUE}), "secret.not_keys"),
        ((200, {"SecretBinary": "AAAA"}), "secret.not_keys"),
    ],
)
def test_every_refusal_has_its_code(aws: ScriptedAws, answer: Any, code: str) -> None:
    aws.answers("GetSecretValue", answer)
    assert refused(aws).code == code


def test_a_parameter_that_is_missing_is_named(aws: ScriptedAws) -> None:
    aws.answers("GetParameters", (200, {"Parameters": [], "InvalidParameters": ["/clary/db/PASSWORD"]}))
    error = refused(aws, flavor="ssm")
    assert (error.code, "/clary/db/PASSWORD" in error.summary) == ("secret.key_not_found", True)


def test_nothing_answers(aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {**where(aws), "endpoint": "http://127.0.0.1:1"}
    with pytest.raises(AwsError, match="interface endpoint"):
        secrets.read(nowhere, [DB])


def test_the_environment_is_set_and_output_masked(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.answers("GetSecretValue", HELD)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setenv("URL", "")
    environment = {"URL": "db://{{secrets.db.USER}}:{{ secrets.db.PASSWORD }}@h", "PLAIN": "x"}
    spec = {"environment": environment, "secrets": where(aws)}
    with redaction.hidden([]), monkeypatch.context() as patch:
        patch.setattr(redaction, "hide", lambda values: kept.extend(values))
        kept: list[str] = []
        secrets.set_environment(spec)
    assert os.environ["URL"] == f"db://me:{VALUE}@h"
    assert sorted(kept) == [VALUE, "me"]
    assert "PLAIN" not in os.environ
    assert isinstance(sys.stdout, MaskedStream)
    secrets.set_environment({"environment": {"PLAIN": "x"}})  # a spec without references has no place of secrets
    assert len(aws.calls) == 1


def test_a_value_that_no_variable_can_hold_is_refused(aws: ScriptedAws) -> None:
    with pytest.raises(ConfigError, match=r"secret\.bad_value"):
        secrets.check_variable("X", f"{VALUE}\0")


class _Role(BaseHTTPRequestHandler):
    """The container credentials endpoint."""

    def do_GET(self) -> None:
        given = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t"}
        right = self.headers.get("Authorization") == "the token"
        self.send_response(200 if right else 401)
        self.end_headers()
        self.wfile.write(json.dumps(given).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_the_containers_role_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Role)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_address[1]}/role")
        with pytest.raises(AwsError, match=r"secret\.unreachable"):
            awsjson.find_credentials()
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the token")
        assert awsjson.find_credentials() == Credentials("ASIA", "s", "t")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        (tmp_path / "token").write_text("the token\n")
        assert awsjson.find_credentials().token == "t"
        assert "'s'" not in repr(awsjson.find_credentials())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("url", [None, "http://example.com/role", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_without_a_role_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    if url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    with pytest.raises(PermissionDeniedError, match=r"secret\.no_credentials"):
        awsjson.find_credentials()
