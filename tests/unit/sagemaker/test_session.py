"""Aws: clients made once, endpoints and partitions as botocore resolves them, credentials from where they belong."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from clary._version import __version__
from clary.errors import AwsError, ClaryError, ConfigError, PermissionDeniedError
from clary.sagemaker import chain, session
from clary.sagemaker.credentials import Source
from clary.sagemaker.session import Aws
from scripted_aws import ScriptedAws


@pytest.mark.parametrize(
    ("region", "sagemaker", "s3"),
    [
        ("eu-west-1", "https://api.sagemaker.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"),
        (
            "cn-north-1",
            "https://api.sagemaker.cn-north-1.amazonaws.com.cn",
            "https://s3.cn-north-1.amazonaws.com.cn",
        ),
        (
            "us-gov-west-1",
            "https://api.sagemaker.us-gov-west-1.amazonaws.com",
            "https://s3.us-gov-west-1.amazonaws.com",
        ),
    ],
)
def test_endpoints_of_partitions(opened: list[Aws], region: str, sagemaker: str, s3: str) -> None:
    place = Aws(region)
    opened.append(place)
    assert place.resolved_endpoint("sagemaker") == sagemaker
    assert place.resolved_endpoint("s3") == s3


def test_fips_endpoints(opened: list[Aws], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    place = Aws("us-east-1")
    opened.append(place)
    assert place.resolved_endpoint("sagemaker") == "https://api-fips.sagemaker.us-east-1.amazonaws.com"


def test_the_region_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert Aws().region == "eu-north-1"
    assert Aws("eu-west-1").region == "eu-west-1"


def test_without_a_region_there_is_a_next_step() -> None:
    with pytest.raises(ConfigError) as caught:
        Aws().client("sagemaker")
    assert (caught.value.code, caught.value.field) == ("aws.no_region", "region")


def test_a_region_that_is_none() -> None:
    with pytest.raises(ConfigError) as caught:
        Aws("west of here").client("sagemaker")
    assert caught.value.code == "aws.unknown_region"


def test_clients_are_made_once_for_all_threads(opened: list[Aws]) -> None:
    place = Aws("eu-west-1")
    opened.append(place)
    start = threading.Barrier(8)
    made: list[object] = []

    def make() -> None:
        start.wait()
        made.append(place.client("sts"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(map(id, made))) == 1


def test_a_client_is_made_anew_after_closing(opened: list[Aws]) -> None:
    place = Aws("eu-west-1")
    opened.append(place)
    before = place.client("sts")
    place.close()
    assert place.client("sts") is not before


def test_requests_say_who_sent_them(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("ListTags", (200, {"Tags": []}))
    with aws.call("ListTags") as client:
        client.list_tags(ResourceArn="arn:aws:sagemaker:eu-west-1:123456789012:training-job/a")
    assert scripted.agents[0].endswith(f"clary/{__version__}")


def test_settings_of_the_clients(opened: list[Aws]) -> None:
    place = Aws("eu-west-1")
    opened.append(place)
    config = place.client("sagemaker").meta.config
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == session.ATTEMPTS > 1
    assert (config.connect_timeout, config.read_timeout) == (session.CONNECT_TIMEOUT, session.READ_TIMEOUT)


def test_a_profile_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[team]\naws_access_key_id = fromprofile\naws_secret_access_key = x\n")
    (tmp_path / "config").write_text("[profile team]\nregion = eu-south-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    place = Aws(credentials="aws-profile:team")
    assert place.credentials().access_key == "fromprofile"
    assert place.region == "eu-south-1"
    assert Aws("eu-west-1").credentials().access_key == "AKIAIOSFODNN7EXAMPLE"


def test_a_profile_that_does_not_exist() -> None:
    with pytest.raises(ConfigError) as caught:
        Aws("eu-west-1", credentials="aws-profile:nobody").client("sagemaker")
    assert caught.value.code == "aws.profile_not_found"
    assert "nobody" in caught.value.summary


def test_a_credentials_file_of_its_own_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "config"
    mine.write_text("[default]\nrole_arn = arn:aws:iam::123456789012:role/other\nsource_profile = default\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(mine))
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = fromfile\naws_secret_access_key = x\n")
    assert Aws("eu-west-1", credentials=f"aws-credentials-file:{file}").credentials().access_key == "fromfile"


def test_a_credentials_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Aws("eu-west-1", credentials=f"aws-credentials-file:{tmp_path}/none").credentials()
    assert (caught.value.code, caught.value.field) == ("aws.no_credentials_file", "credentials")


def test_a_source_of_credentials_that_is_none_shows_no_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        Aws("eu-west-1", credentials="key:hunter2")
    assert caught.value.code == "aws.unknown_credentials"
    assert "hunter2" not in str(caught.value.to_dict())


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch, scripted: ScriptedAws) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    place = Aws("eu-west-1", endpoint_url=scripted.url)
    for use in (place.credentials, place.caller_account):
        with pytest.raises(PermissionDeniedError) as caught:
            use()
        assert caught.value.code == "aws.no_credentials"
    assert scripted.calls == []
    place.close()


def test_half_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ClaryError) as caught:
        Aws("eu-west-1").credentials()
    assert caught.value.code == "aws.incomplete_credentials"


def test_where_nothing_listens(opened: list[Aws]) -> None:
    with ScriptedAws().serving() as gone:
        url = gone.url
    place = Aws("eu-west-1", endpoint_url=url)
    opened.append(place)
    with pytest.raises(AwsError) as caught:
        place.caller_account()
    assert caught.value.code == "aws.unreachable"
    assert url in caught.value.summary
    assert caught.value.next_step == f"Start what should listen at {url}, or correct the endpoint of the stack."


@pytest.mark.parametrize(
    ("vendor", "override", "may_be"),
    [
        ("Amazon EC2\n", None, True),
        ("QEMU\n", None, False),
        (None, None, True),
        ("QEMU\n", "http://[fd00:ec2::254]", True),
    ],
)
def test_the_metadata_service_is_asked_only_where_it_may_be(
    tmp_path: Path, vendor: str | None, override: str | None, may_be: bool
) -> None:
    file = tmp_path / "sys_vendor"
    if vendor is not None:
        file.write_text(vendor)
    variables = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": override} if override else {}
    assert chain.may_be_ec2(variables.get, file) is may_be


def test_the_metadata_service_is_no_link_of_the_chain_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "may_be_ec2", lambda *_: False)
    resolver = chain.open_source(Source(), "eu-west-1").get_component("credential_provider")
    names = [provider.METHOD for provider in resolver.providers]
    assert "iam-role" not in names
    assert "container-role" in names
