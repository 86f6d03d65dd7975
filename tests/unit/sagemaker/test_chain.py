"""From a source of credentials to keys: roles on top, renewal, sign-ins, second factors, and what people meet there."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clary.errors import AwsError, ClaryError, ConfigError, PermissionDeniedError
from clary.sagemaker import chain
from clary.sagemaker.session import Aws
from fake_sign_in import ME, TOKEN, SignIn
from patience import until
from scripted_aws import ScriptedAws, refusal

ROLE = "arn:aws:iam::123456789012:role/path/Runner"


@pytest.fixture
def sign_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[SignIn]:
    with SignIn().serving() as service:
        yield service


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The AWS config file, empty; and a home without a cache."""
    file = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    return file


def role_on(sign_in: SignIn, **options: Any) -> Aws:
    return Aws("eu-west-1", endpoint_urls={"sts": sign_in.url}, assume_role=ROLE, **options)


# -- a role on top


def test_a_role_is_assumed_with_its_external_id_and_a_name_that_tells_who(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "Jörg Müller/x")
    place = role_on(sign_in, external_id="from-us")
    assert place.keys().access_key == "ASIA1"
    assert (place.keys().token, place.credentials().account_id) == ("t1", "123456789012")
    (wish,) = sign_in.roles()
    assert wish["RoleArn"] == ROLE
    assert wish["ExternalId"] == "from-us"
    assert wish["RoleSessionName"] == "clary-J-rg-M-ller-x"
    assert "DurationSeconds" not in wish  # the role's own, an hour
    assert sign_in.signed_by == ["AKIAIOSFODNN7EXAMPLE"]


def test_the_roles_keys_sign_every_client(sign_in: SignIn) -> None:
    place = role_on(sign_in)
    assert place.client("sts")._request_signer._credentials is place.client("s3")._request_signer._credentials
    place.caller_account()
    assert sign_in.signed_by == ["AKIAIOSFODNN7EXAMPLE", "ASIA1"]
    place.close()


@pytest.mark.parametrize(("seconds", "assumed"), [(900.0, 1), (3600.0, 1), (6.0, 2)])
def test_a_role_is_assumed_again_before_its_keys_end_and_not_for_every_request(
    sign_in: SignIn, seconds: float, assumed: int
) -> None:
    sign_in.seconds = seconds
    place = role_on(sign_in)

    def assumed_so_often() -> bool:
        place.keys()
        return len(sign_in.roles()) >= assumed

    until(assumed_so_often, "the renewal of the keys")
    for _ in range(20):
        place.keys()
    assert len(sign_in.roles()) == assumed


def test_a_role_over_a_profile_that_assumes_one_itself(
    sign_in: SignIn, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sign_in.url)
    config.write_text(
        "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = x\n"
        "[profile team]\nrole_arn = arn:aws:iam::123456789012:role/Team\nsource_profile = base\nregion = eu-west-1\n"
    )
    place = Aws(credentials="aws-profile:team", assume_role=ROLE)
    assert place.keys().access_key == "ASIA2"
    assert [wish["RoleArn"].rpartition("/")[2] for wish in sign_in.roles()] == ["Team", "Runner"]
    assert sign_in.signed_by == ["AKIABASE", "ASIA1"]


def test_a_refused_role_names_role_caller_and_the_statement_that_is_missing(sign_in: SignIn) -> None:
    sign_in.refusal = ("AccessDenied", f"User: {ME} is not authorized to perform: sts:AssumeRole on resource: {ROLE}")
    place = role_on(sign_in, external_id="wrong")
    with pytest.raises(PermissionDeniedError) as caught:
        place.keys()
    error = caught.value
    assert error.code == "aws.assume_role_denied"
    assert error.summary == f"The role {ROLE} may not be assumed by {ME}, or there is no such role."
    assert error.details["trust_statement"] == {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/dev"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "wrong"}},
    }
    assert json.dumps(error.details["trust_statement"]) in error.next_step
    assert "external id" in error.next_step


def test_a_refused_role_shows_whatever_needed_the_keys(sign_in: SignIn) -> None:
    sign_in.refusal = ("AccessDenied", "no")
    place = role_on(sign_in)
    with pytest.raises(PermissionDeniedError) as caught, place.call("CreateTrainingJob") as client:
        client.list_training_jobs()
    assert caught.value.code == "aws.assume_role_denied"
    assert "give that one too" in caught.value.next_step  # an external id
    place.close()


def test_other_refusals_of_a_role_are_told_as_anywhere(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in.refusal = ("ValidationError", "1 validation error detected: Value 'x' at 'roleArn' failed")
    with pytest.raises(ClaryError) as caught:
        role_on(sign_in).keys()
    assert caught.value.code == "aws.invalid_request"
    assert "sts:AssumeRole" in caught.value.summary


def test_a_role_of_a_profile_that_is_refused(
    sign_in: SignIn, config: Path, monkeypatch: pytest.MonkeyPatch, scripted: ScriptedAws
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sign_in.url)
    me = "arn:aws:iam::123456789012:user/me"
    sign_in.refusal = ("AccessDenied", f"User: {me} is not authorized to perform: sts:AssumeRole on resource: {ROLE}")
    config.write_text(
        f"[profile team]\nrole_arn = {ROLE}\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = x\n"
    )
    place = Aws("eu-west-1", credentials="aws-profile:team", endpoint_url=scripted.url)
    with pytest.raises(PermissionDeniedError) as caught, place.call("ListTrainingJobs") as client:
        client.list_training_jobs()
    assert caught.value.code == "aws.assume_role_denied"
    assert ROLE in caught.value.summary
    assert caught.value.details["trust_statement"]["Principal"] == {"AWS": me}
    place.close()


# -- keys that nobody said would end


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("ExpiredTokenException", "aws.expired_credentials"),
        ("UnrecognizedClientException", "aws.invalid_credentials"),  # a key that was rotated
    ],
)
def test_an_answer_that_keys_are_stale_leads_to_one_new_look_and_one_more_try(
    scripted: ScriptedAws, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    monkeypatch.setattr(chain, "_SHARED", 0.0)
    place = Aws("eu-west-1", endpoint_url=scripted.url, credentials="aws-environment:MY_ID:MY_KEY")
    monkeypatch.setenv("MY_ID", "old")
    monkeypatch.setenv("MY_KEY", "x")
    place.keys()
    monkeypatch.setenv("MY_ID", "new")
    assert place.keys().access_key == "old"
    scripted.answers("ListTags", refusal(code), (200, {"Tags": []}))
    with place.call("ListTags") as client:
        client.list_tags(ResourceArn="arn:aws:sagemaker:eu-west-1:123456789012:training-job/a")
    assert place.keys().access_key == "new"
    assert len(scripted.calls) == 2

    scripted.answers("ListTags", refusal(code))
    with pytest.raises(PermissionDeniedError) as caught, place.call("ListTags") as client:
        client.list_tags(ResourceArn="arn:aws:sagemaker:eu-west-1:123456789012:training-job/a")
    assert caught.value.code == told
    assert len(scripted.calls) == 4
    place.close()


def test_many_threads_that_meet_an_expired_answer_look_once(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "_SHARED", 5.0)
    place = role_on(sign_in)
    place.keys()
    place.credentials()._found_at -= 10
    start = threading.Barrier(8)

    def renew() -> None:
        start.wait(10)
        place.renew()

    threads = [threading.Thread(target=renew) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sign_in.roles()) == 2


def test_a_program_that_gives_keys_past_their_end(config: Path, tmp_path: Path) -> None:
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    given = {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T", "Expiration": past}
    program = tmp_path / "given.py"
    program.write_text(f"print({json.dumps(given)!r})")
    config.write_text(f"[profile company]\ncredential_process = {sys.executable} {program}\n")
    with pytest.raises(AwsError) as caught:
        Aws("eu-west-1", credentials="aws-profile:company").keys()
    assert caught.value.code == "aws.credentials_failed"
    assert "still expired" in caught.value.summary


# -- IAM Identity Center


def sso_profile(config: Path, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, *, ends: timedelta, role: str) -> None:
    """Write a profile, and the token that ``aws sso login`` leaves in the home."""
    from botocore.credentials import SSOProvider

    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", sign_in.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO_OIDC", sign_in.url)
    url = "https://example.awsapps.com/start"
    config.write_text(
        f"[profile team]\nsso_start_url = {url}\nsso_region = eu-west-1\nsso_account_id = 123456789012\n"
        f"sso_role_name = {role}\nregion = eu-west-1\n"
    )
    cache = config.parent / "sso"
    cache.mkdir()
    monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))
    token = {"startUrl": url, "accessToken": TOKEN, "expiresAt": f"{datetime.now(UTC) + ends:%Y-%m-%dT%H:%M:%SZ}"}
    (cache / f"{hashlib.sha1(url.encode()).hexdigest()}.json").write_text(json.dumps(token))


def test_a_sign_in_gives_the_keys_of_its_role(config: Path, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    sso_profile(config, sign_in, monkeypatch, ends=timedelta(hours=1), role="Developer")
    for credentials, profile in (("aws-profile:team", None), (None, "team")):
        if profile:
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
            monkeypatch.setenv("AWS_PROFILE", profile)
        place = Aws(credentials=credentials)
        assert place.keys().access_key.startswith("ASIA")
        assert place.region == "eu-west-1"
    assert sign_in.wishes[0] == {
        "path": "/federation/credentials",
        "role_name": "Developer",
        "account_id": "123456789012",
    }


def test_a_sign_in_that_has_ended_says_how_to_sign_in(
    config: Path, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, scripted: ScriptedAws
) -> None:
    sso_profile(config, sign_in, monkeypatch, ends=-timedelta(hours=1), role="Developer")
    place = Aws(credentials="aws-profile:team", endpoint_url=scripted.url)
    with pytest.raises(PermissionDeniedError) as first:
        place.keys()
    with pytest.raises(PermissionDeniedError) as second, place.call("ListTrainingJobs") as client:
        client.list_training_jobs()
    for caught in (first, second):
        assert caught.value.code == "aws.sign_in_expired"
        assert "`aws sso login --profile team`" in caught.value.next_step
    assert scripted.calls == []
    place.close()


def test_a_sign_in_without_access_to_the_role(config: Path, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    sso_profile(config, sign_in, monkeypatch, ends=timedelta(hours=1), role="nobodys")
    with pytest.raises(PermissionDeniedError) as caught:
        Aws(credentials="aws-profile:team").keys()
    assert caught.value.code == "aws.sso_role_denied"
    assert "sso_role_name" in caught.value.next_step


def test_a_profile_that_is_not_complete(config: Path) -> None:
    config.write_text("[profile team]\nsso_account_id = 123456789012\nsso_role_name = Developer\n")
    with pytest.raises(ConfigError) as caught:
        Aws("eu-west-1", credentials="aws-profile:team").keys()
    assert caught.value.code == "aws.bad_profile"
    assert "sso_start_url" in caught.value.summary


# -- a second factor


@pytest.fixture
def with_code(config: Path, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """A profile whose role wants a code."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sign_in.url)
    config.write_text(
        f"[profile team]\nrole_arn = {ROLE}\nsource_profile = base\nregion = eu-west-1\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/me\n"
        "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = x\n"
    )
    return Aws(credentials="aws-profile:team")


def test_without_a_terminal_nobody_waits_for_a_code(with_code: Aws, sign_in: SignIn) -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        with_code.keys()
    assert caught.value.code == "aws.mfa_needed"
    assert "`aws sts get-caller-identity --profile team`" in caught.value.next_step
    assert sign_in.wishes == []


def test_one_code_serves_every_command_until_its_session_ends(
    with_code: Aws, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    with monkeypatch.context() as terminal:
        terminal.setattr(chain, "_has_terminal", lambda: True)
        terminal.setattr("getpass.getpass", lambda prompt: "123456" if "mfa/me" in prompt else "")
        assert with_code.keys().access_key == "ASIA1"
    assert sign_in.roles()[0]["TokenCode"] == "123456"
    assert Aws(credentials="aws-profile:team").keys().access_key == "ASIA1"
    (kept,) = (config.parent / ".aws" / "cli" / "cache").iterdir()
    assert kept.stat().st_mode & 0o077 == 0


# -- endpoints


def test_endpoints_of_single_services_win(opened: list[Aws]) -> None:
    place = Aws("eu-west-1", endpoint_url="http://127.0.0.1:1", endpoint_urls={"s3": "http://127.0.0.1:2"})
    opened.append(place)
    assert place.resolved_endpoint("s3") == place.named_endpoint("s3") == "http://127.0.0.1:2"
    assert place.resolved_endpoint("sagemaker") == "http://127.0.0.1:1"


def test_endpoints_of_botocores_own_settings_count_where_the_stack_names_none(
    opened: list[Aws], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:3")
    config.write_text(
        "[profile team]\nservices = here\n[services here]\nsagemaker =\n  endpoint_url = http://127.0.0.1:4\n"
    )
    place = Aws("eu-west-1", credentials="aws-profile:team")
    opened.append(place)
    assert place.resolved_endpoint("s3") == "http://127.0.0.1:3"
    assert place.resolved_endpoint("sagemaker") == "http://127.0.0.1:4"
    assert place.named_endpoint("s3") is None


def test_fips_where_no_endpoint_is_named(opened: list[Aws], scripted: ScriptedAws) -> None:
    place = Aws("us-east-1", use_fips_endpoint=True, endpoint_urls={"sagemaker": scripted.url})
    opened.append(place)
    assert place.resolved_endpoint("s3") == "https://s3-fips.us-east-1.amazonaws.com"
    scripted.answers("ListTrainingJobs", (200, {"TrainingJobSummaries": []}))
    with place.call("ListTrainingJobs") as client:
        client.list_training_jobs()
    gov = Aws("us-gov-west-1", use_fips_endpoint=True)
    opened.append(gov)
    assert gov.resolved_endpoint("s3") == "https://s3-fips.us-gov-west-1.amazonaws.com"


# -- secrets


def test_no_key_is_ever_logged(
    sign_in: SignIn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = "planted0secret0of0the0stack"
    caplog.set_level(logging.INFO)
    place = role_on(sign_in, credentials=f"aws-access-keys:AKIAPLANTED:{planted}")
    place.keys()
    sign_in.refusal = ("AccessDenied", "no")
    monkeypatch.setattr(chain, "_SHARED", 0.0)
    with pytest.raises(PermissionDeniedError) as caught:
        place.renew()
    assert sign_in.signed_by[0] == "AKIAPLANTED"
    assert planted not in caplog.text + str(caught.value.to_dict()) + repr(vars(place))
