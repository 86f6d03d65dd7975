"""The forms of a stack's credentials: what each means, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from clary.errors import ClaryError, ConfigError, NotFoundError, PermissionDeniedError
from clary.sagemaker import credentials
from clary.sagemaker.credentials import Keys, Kind, Source, advice, keep, parse, read_keys, secret_name
from clary.secrets.local import LocalSecrets

SECRET = "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY"  # pragma: allowlist secret


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalSecrets:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLARY_SECRETS_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    (tmp_path / "home").mkdir()
    return LocalSecrets()


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (None, Kind.DEFAULT, ""),
        ("aws-profile:team", Kind.PROFILE, "team"),
        ("aws-profile:team:with:colons and spaces", Kind.PROFILE, "team:with:colons and spaces"),
        ("aws-credentials-file:/a/b:c", Kind.FILE, "/a/b:c"),
        ("aws-secret:mine", Kind.SECRET, "mine"),
    ],
)
def test_references(text: str | None, kind: Kind, name: str) -> None:
    source = parse(text)
    assert (source.kind, source.name, source.inline, advice(source)) == (kind, name, False, None)
    assert source.profile == (name if kind is Kind.PROFILE else None)
    assert str(source) == (text or "default chain")


@pytest.mark.parametrize(
    ("text", "keys", "kind"),
    [
        (f"aws-access-keys:AKIA1:{SECRET}", Keys("AKIA1", SECRET), Kind.ACCESS_KEYS),
        (f"aws-session-token:ASIA1:{SECRET}:t+/=", Keys("ASIA1", SECRET, "t+/="), Kind.SESSION_TOKEN),
    ],
)
def test_keys_that_are_written_out_are_marked_warned_about_and_hidden(text: str, keys: Keys, kind: Kind) -> None:
    source = parse(text)
    assert (source.kind, source.inline, source.keys) == (kind, True, keys)
    assert read_keys(source) == keys
    assert "shell's history" in (advice(source) or "")
    for shown in (str(source), repr(source), repr(keys), f"{source}", advice(source)):
        assert SECRET not in str(shown)
        assert "IA1" not in str(shown)
    assert pickle.loads(pickle.dumps(source)) == source


@pytest.mark.parametrize(
    ("text", "code", "step"),
    [
        ("aws-profil:x", "aws.unknown_credentials", "aws-profile:NAME"),
        ("aws_profile:x", "aws.unknown_credentials", "aws-profile:NAME"),
        (f"access-keys:AKIA1:{SECRET}", "aws.unknown_credentials", "aws-access-keys:ID:SECRET"),
        ("gcp-service-account:/f", "aws.unknown_credentials", "AWS only"),
        (SECRET, "aws.unknown_credentials", "aws-profile:NAME"),
        (f"AKIAIOSFODNN7EXAMPLE:{SECRET}", "aws.unknown_credentials", "aws-profile:NAME"),
        ("", "aws.unknown_credentials", "aws-profile:NAME"),
        ("aws-profile", "aws.malformed_credentials", "aws-profile:NAME"),
        ("aws-profile:", "aws.malformed_credentials", "aws-profile:NAME"),
        ("aws-profile: ", "aws.malformed_credentials", "aws-profile:NAME"),
        ("aws-profile: x", "aws.malformed_credentials", "aws-profile:NAME"),
        ("aws-environment:ID", "aws.malformed_credentials", "aws-environment:ID_VARIABLE"),
        ("aws-environment:ID::T", "aws.malformed_credentials", "aws-environment:ID_VARIABLE"),
        ("aws-environment:A:B:C:D", "aws.malformed_credentials", "aws-environment:ID_VARIABLE"),
        (f"aws-environment:AKIA1:{SECRET}/+", "aws.malformed_credentials", "aws-environment:ID_VARIABLE"),
        ("aws-access-keys:AKIA1", "aws.malformed_credentials", "aws-access-keys:ID:SECRET"),
        (f"aws-access-keys:AKIA1:{SECRET}:t", "aws.malformed_credentials", "aws-access-keys:ID:SECRET"),
        (f"aws-access-keys:ASIA1:{SECRET}", "aws.malformed_credentials", "aws-session-token:ID:SECRET:TOKEN"),
        (f"aws-session-token:ASIA1:{SECRET}", "aws.malformed_credentials", "aws-session-token:ID:SECRET:TOKEN"),
        (f"aws-session-token:ASIA1:{SECRET}:", "aws.malformed_credentials", "aws-session-token:ID:SECRET:TOKEN"),
    ],
)
def test_what_is_no_form_is_refused_without_a_secret(text: str, code: str, step: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.field) == (code, "credentials")
    assert step in caught.value.next_step
    for planted in (SECRET, "AKIA1", "ASIA1", "AKIAIOSFODNN7EXAMPLE"):
        assert planted not in str(caught.value.to_dict())


def test_variables_are_read_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    source = parse("aws-environment:THEIR_ID:THEIR_SECRET:THEIR_TOKEN")
    monkeypatch.setenv("THEIR_ID", "one")
    monkeypatch.setenv("THEIR_SECRET", SECRET)
    with pytest.raises(PermissionDeniedError, match="THEIR_TOKEN") as caught:
        read_keys(source)
    assert caught.value.code == "aws.variable_not_set"
    monkeypatch.setenv("THEIR_TOKEN", "t")
    assert read_keys(source) == Keys("one", SECRET, "t")
    assert read_keys(parse("aws-environment:THEIR_ID:THEIR_SECRET")) == Keys("one", SECRET)


def test_keys_in_the_place_of_variables_are_not_repeated() -> None:
    with pytest.raises(ClaryError) as caught:
        read_keys(parse(f"aws-environment:PATH:{SECRET}"))
    assert caught.value.code == "aws.variable_not_set"
    assert SECRET not in str(caught.value.to_dict())
    assert SECRET not in repr(parse(f"aws-environment:PATH:{SECRET}"))


def test_written_out_keys_become_a_secret_that_a_stack_can_refer_to(secrets: LocalSecrets) -> None:
    kept = keep(parse(f"aws-session-token:ASIA1:{SECRET}:t"), "prod")
    assert kept == "aws-secret:stack-prod"
    assert secrets.read("stack-prod") == {
        "aws_access_key_id": "ASIA1",
        "aws_secret_access_key": SECRET,
        "aws_session_token": "t",
    }
    assert read_keys(parse(kept)) == Keys("ASIA1", SECRET, "t")
    assert SECRET.encode() not in secrets.path.read_bytes()

    keep(parse(f"aws-access-keys:AKIA2:{SECRET}"), "prod")  # no token of the old keys is left
    assert read_keys(parse(kept)) == Keys("AKIA2", SECRET)
    with pytest.raises(ValueError, match="no keys"):
        keep(Source(), "prod")


def test_secrets_that_hold_no_credentials(secrets: LocalSecrets) -> None:
    with pytest.raises(NotFoundError):
        read_keys(parse("aws-secret:none"))
    secrets.edit("half", lambda _: {"aws_access_key_id": "AKIA", "aws_session_token": ""})
    with pytest.raises(PermissionDeniedError, match="no aws_secret_access_key") as caught:
        read_keys(parse("aws-secret:half"))
    assert caught.value.code == "aws.incomplete_credentials"


def test_names_of_secrets() -> None:
    assert secret_name("prod_1-a") == "stack-prod_1-a"
    assert len({secret_name("a.b"), secret_name("a-b"), secret_name("a.b.")}) == 3
    assert "." not in secret_name("a.b")


def test_every_form_is_described() -> None:
    assert set(credentials.FORMS) == set(Kind) - {Kind.DEFAULT}
