"""Secrets from the command line to the job that uses them, through the API of the sandbox only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sqlite3
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import planted
from clary.agent import service
from clary.errors import ConfigError, NotFoundError, ValidationError
from e2e.conftest import LAB, Lab
from planted import CANARY

if TYPE_CHECKING:
    from command_line import CommandLine

SECRETIVE = LAB / "secretive.py"


def run(lab: Lab, flow: str, **inputs: Any) -> Any:
    started = service.start(service.load_target(f"{SECRETIVE}:{flow}"), inputs, lab.stack)
    return service.wait(lab.stack, started.id, 60)


def log_records(lab: Lab, run: str) -> str:
    """Return every entry of a run's log."""
    s3, bucket = lab.sandbox.client("s3"), lab.sandbox.bucket
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=f"lab/runs/{run}/log/")["Contents"]]
    return "\n".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys)


def test_the_job_has_the_secret_before_the_module_is_loaded(lab: Lab) -> None:
    ended = run(lab, "careful", length=len(CANARY))

    assert ended.status == "completed", lab.logs(ended.id)
    url = f"https://user:{CANARY}@host/"
    shown = [hashlib.sha256(text.encode()).hexdigest() for text in (CANARY, CANARY, CANARY, url)]
    assert service.result(lab.stack, ended.id) == shown
    environment = lab.job(ended)["Environment"]
    assert set(environment) == {"CLARY_RUN", "CLARY_ATTEMPT", "PLAIN"}
    assert environment["PLAIN"] == "as it is"


def test_what_a_careless_flow_shows_is_masked(lab: Lab) -> None:
    ended = run(lab, "careless")

    assert ended.status == "failed"
    assert ended.failure is not None
    assert "it did not work with" in ended.failure.summary
    output, kept = "\n".join(lab.logs(ended.id)), log_records(lab, ended.id)
    assert CANARY not in output + kept + json.dumps(ended.to_dict()) + json.dumps(lab.job(ended), default=str)
    assert "it is ***" in output
    assert output.count("***") >= 5
    assert '"token":"***"' in kept.replace(": ", ":")


def test_ssm_serves_jobs_too(lab: Lab) -> None:
    lab.sandbox.client("ssm").put_parameter(Name="/clary/canary/token", Value=CANARY, Type="SecureString")
    ssm = Lab(lab.sandbox, replace(lab.stack, secrets={"flavor": "ssm"}))
    ended = run(ssm, "careful", length=len(CANARY))
    assert ended.status == "completed", ssm.logs(ended.id)


def test_a_secret_that_is_gone_when_the_job_starts_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clary.agent.secrets.check", lambda *_: [])
    ended = Lab.run(lab.with_settings(environment={"X": "{{secrets.gone.KEY}}"}), "steps")

    assert ended.status == "failed"
    reason = lab.job(ended)["FailureReason"]
    assert "There is no secret 'gone' in us-east-1 (clary/gone)" in reason
    assert "[secret.not_found]" in reason


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("{{secrets.canry.token}}", "secret.not_found", "Did you mean 'canary'?"),
        ("{{secrets.canary.tokn}}", "secret.key_not_found", "Did you mean 'token'?"),
    ],
)
def test_what_is_missing_is_said_at_submit(lab: Lab, text: str, code: str, said: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        lab.with_settings(environment={"X": text}).start("steps")
    assert (caught.value.code, caught.value.next_step) == (code, said)


def test_a_malformed_or_misplaced_reference_is_refused_at_submit(lab: Lab) -> None:
    with pytest.raises(ValidationError, match=r"secret\.bad_reference"):
        lab.with_settings(environment={"X": "{{secrets.canary}}"}).start("steps")
    with pytest.raises(ValidationError, match=r"secret\.misplaced"):
        lab.with_settings(request={"HyperParameters": {"token": "{{secrets.canary.token}}"}}).start("steps")


def test_a_secret_of_this_machine_is_refused_for_a_job(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clary.secrets.local import LocalSecrets

    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    LocalSecrets().edit("mine", lambda _: {"KEY": "value of mine"})
    wanted = lab.with_settings(environment={"X": "{{secrets.mine.KEY}}"})

    with pytest.raises(ConfigError, match=r"secret\.not_in_job") as caught:
        wanted.start("steps")
    assert "clary secrets set mine --KEY=@FILE --backend aws --stack lab" in caught.value.next_step
    here = Lab(lab.sandbox, replace(wanted.stack, secrets={"flavor": "local"}))
    with pytest.raises(ConfigError, match=r"secret\.not_in_job"):
        here.start("steps")


def test_a_resumed_run_reads_the_secret_as_it_is_now(lab: Lab) -> None:
    client = lab.sandbox.client("secretsmanager")
    client.create_secret(Name="clary/turning", SecretString=json.dumps({"KEY": "first value"}))
    started = lab.with_settings(environment={"LAB_CANARY": "{{secrets.turning.KEY}}"})
    first = run(started, "careful", length=len("second value!"))
    assert first.status == "failed"

    client.put_secret_value(SecretId="clary/turning", SecretString=json.dumps({"KEY": "second value!"}))
    again = service.resume(started.stack, first.id)
    ended = service.wait(started.stack, again.id, 60)
    assert ended.status == "completed", lab.logs(ended.id)


@pytest.mark.parametrize("backend", ["aws", "ssm"])
def test_the_command_line_keeps_secrets_in_the_account(
    terminal: CommandLine, lab: Lab, tmp_path: Path, backend: str
) -> None:
    where = ("--stack", "lab", "--backend", backend)
    (tmp_path / "password").write_text("from a file\n")
    made = terminal("secrets", "set", "service", f"--PASSWORD=@{tmp_path / 'password'}", *where, "-o", "json")
    assert (made.code, made.json["item"]["backend"], made.json["item"]["created"]) == (0, backend, True)
    names = [one["name"] for one in terminal("secrets", "list", *where, "-o", "json").json["items"]]
    assert "service" in names
    shown = terminal("secrets", "show", "service", "--show-values", *where, "-o", "json").json["item"]
    assert shown["values"] == {"PASSWORD": "from a file"}
    if backend == "aws":
        marked = terminal("secrets", "update", "service", "--private", *where, "-o", "json").json["item"]
        assert marked["private_to"]
        assert "IAM decides" in marked["warnings"][0]
    assert terminal("secrets", "delete", "service", "-y", "--force", *where).code == 0
    gone = terminal("secrets", "show", "service", *where, "-o", "json").error
    assert gone["code"] == "secret.not_found"


def test_the_search_finds_what_was_kept(tmp_path: Path, lab: Lab) -> None:
    """The fixture that looks for the planted secret after all runs would see it, packed or in a database."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "clean.log").write_text("canary-" + "0" * 32)
    (folder / "plain.log").write_text(f"x {CANARY} y")
    for before in range(3):
        (folder / f"base{before}").write_bytes(base64.b64encode(b"x" * before + CANARY.encode() + b"tail"))
    with tarfile.open(folder / "code.tar.gz", "w:gz") as archive:
        archive.add(folder / "plain.log", "inner.txt")
    with sqlite3.connect(folder / "some.db") as database:
        database.execute("CREATE TABLE records (service TEXT, body BLOB)")
        database.execute("INSERT INTO records VALUES ('secretsmanager', ?)", [CANARY])
        database.execute("INSERT INTO records VALUES ('sagemaker', ?)", [CANARY.encode()])
    database.close()
    found = {Path(re.split(r"[ :]", trace)[0]).name for trace in planted.traces(folder, CANARY)}
    assert found == {"plain.log", "base0", "base1", "base2", "code.tar.gz", "some.db"}
