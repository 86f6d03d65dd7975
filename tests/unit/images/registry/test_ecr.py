"""Amazon ECR: the names of its registries, its tokens and its repositories."""

from __future__ import annotations

import base64
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import AwsError, ConfigError, PermissionDeniedError
from clary.images.reference import Reference
from clary.images.registry import ecr
from clary.images.registry.registries import Registries
from clary.sagemaker.session import Aws
from registry_images import QUICK
from scripted_aws import ScriptedAws, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
PLACE = ecr.Place(HOST, "123456789012", "us-east-1")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (HOST, "us-east-1"),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        ("123456789012.dkr-ecr-fips.us-east-2.on.aws", "us-east-2"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1"),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
    ],
)
def test_private_registries_are_known_by_their_names(host: str, region: str) -> None:
    assert ecr.Place.of(host) == ecr.Place(host, "123456789012", region)


@pytest.mark.parametrize(
    "host",
    [
        "public.ecr.aws",
        f"{HOST}.evil.example",
        f"{HOST}:443",
        "12345.dkr.ecr.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.evil.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil",
        "registry-1.docker.io",
    ],
)
def test_no_other_host_is_given_a_token(host: str) -> None:
    assert ecr.Place.of(host) is None


@pytest.fixture(scope="module")
def service() -> Iterator[ScriptedAws]:
    with ScriptedAws().serving() as served:
        yield served


@pytest.fixture
def aws(service: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    service.forget()
    found = Aws("us-east-1", endpoint_url=service.url)
    yield found
    found.close()


def answer(text: str, *, seconds: float = 43_200, endpoint: str = f"https://{HOST}") -> tuple[int, dict[str, Any]]:
    token = base64.b64encode(text.encode()).decode()
    data = {"authorizationToken": token, "expiresAt": time.time() + seconds, "proxyEndpoint": endpoint}
    return 200, {"authorizationData": [data]}


def test_the_prefix_is_taken_off_once(aws: Aws, service: ScriptedAws) -> None:
    service.answers("GetAuthorizationToken", answer("AWS:AWS:SWAN:x"))
    login = ecr.Token(aws, PLACE).current()
    assert (login.user, login.secret, login.identity) == ("AWS", "AWS:SWAN:x", False)


@pytest.mark.parametrize("text", ["user:pw", "", "AWS"])
def test_a_token_of_another_form_is_refused(aws: Aws, service: ScriptedAws, text: str) -> None:
    service.answers("GetAuthorizationToken", answer(text))
    with pytest.raises(AwsError) as caught:
        ecr.Token(aws, PLACE).current()
    assert caught.value.code == "registry.bad_token"


def test_a_token_is_asked_for_once_and_again_near_its_end(
    aws: Aws, service: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers("GetAuthorizationToken", answer("AWS:1", seconds=3600), answer("AWS:2"))
    token = ecr.Token(aws, PLACE)
    assert [token.current().secret for _ in range(2)] == ["1", "1"]
    monkeypatch.setattr(ecr, "_MARGIN", timedelta(hours=2))  # the first is nearer to its end than that, the second not
    assert [token.current().secret for _ in range(2)] == ["2", "2"]
    assert len(service.requests("GetAuthorizationToken")) == 2


def test_a_token_that_ended_in_2015_is_used_until_it_is_refused(aws: Aws, service: ScriptedAws) -> None:
    service.answers("GetAuthorizationToken", answer("AWS:1", seconds=-360_000_000), answer("AWS:2", seconds=-1))
    token = ecr.Token(aws, PLACE)
    assert [token.current().secret for _ in range(5)] == ["1"] * 5
    assert token.renew().secret == "2"
    assert [token.current().secret for _ in range(5)] == ["2"] * 5
    assert len(service.requests("GetAuthorizationToken")) == 2


@pytest.mark.parametrize(
    ("host", "endpoint", "called"),
    [
        (HOST, f"https://{HOST}", f"https://{HOST}"),
        (HOST, "http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        (HOST, "https://registry.inside.example:8443/", "https://registry.inside.example:8443"),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", f"https://{HOST}", None),
        ("123456789012.dkr-ecr.us-east-1.on.aws", f"https://{HOST}", None),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com", f"https://{HOST}", None),
        (HOST, "", None),
    ],
)
def test_the_answer_says_whom_to_call(
    aws: Aws, service: ScriptedAws, host: str, endpoint: str, called: str | None
) -> None:
    service.answers("GetAuthorizationToken", answer("AWS:x", endpoint=endpoint))
    place = ecr.Place.of(host)
    assert place is not None
    assert ecr.Token(aws, place).origin() == (called or f"https://{host}")


def test_plain_http_to_another_machine_is_refused(aws: Aws, service: ScriptedAws) -> None:
    service.answers("GetAuthorizationToken", answer("AWS:x", endpoint="http://10.0.0.7:5000"))
    with Registries(aws) as registries, pytest.raises(ConfigError) as caught:
        registries.open(Reference.parse(f"{HOST}/app:1"))
    assert caught.value.code == "registry.insecure"


def test_a_registry_of_another_region_needs_credentials_there(aws: Aws, service: ScriptedAws) -> None:
    service.answers("GetAuthorizationToken", answer("AWS:x"))
    image = Reference.parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1")
    with Registries(aws) as registries, pytest.raises(ConfigError) as caught:
        registries.open(image)
    assert caught.value.code == "registry.other_region"
    assert "us-east-1" in caught.value.next_step
    asked: list[str] = []

    def elsewhere(region: str) -> Aws:
        asked.append(region)
        return aws

    with Registries(aws, elsewhere=elsewhere) as registries:
        assert registries.open(image) is registries.open(image)
    assert asked == ["eu-west-1"]


def test_the_right_to_a_token_may_be_missing(aws: Aws, service: ScriptedAws) -> None:
    service.answers("GetAuthorizationToken", refusal("AccessDeniedException", "not authorized"))
    with Registries(aws) as registries, pytest.raises(PermissionDeniedError) as caught:
        registries.open(Reference.parse(f"{HOST}/app:1"))
    assert caught.value.code == "aws.access_denied"
    assert "ecr:GetAuthorizationToken" in caught.value.summary


def test_a_repository_is_made_or_is_there(aws: Aws, service: ScriptedAws) -> None:
    service.answers("CreateRepository", (200, {"repository": {}}), refusal("RepositoryAlreadyExistsException"))
    assert ecr.create_repository(aws, PLACE, "team/app")
    assert not ecr.create_repository(aws, PLACE, "team/app")
    asked = service.requests("CreateRepository")[0]
    assert asked == {"registryId": "123456789012", "repositoryName": "team/app"}


def test_without_the_right_to_make_one_the_command_is_named(aws: Aws, service: ScriptedAws) -> None:
    service.answers("CreateRepository", refusal("AccessDeniedException", "User: x is not authorized to perform: y"))
    with pytest.raises(PermissionDeniedError) as caught:
        ecr.create_repository(aws, PLACE, "team/app")
    assert "aws ecr create-repository --repository-name team/app --region us-east-1" in caught.value.next_step
    assert "ecr:CreateRepository" in caught.value.next_step


def test_motos_control_plane_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    aws = Aws("us-east-1", endpoint_url=f"http://{host}:{port}")
    try:
        token = ecr.Token(aws, PLACE)
        assert token.current().secret == "123456789012-auth-token"
        assert token.current() is token.current()  # its end lies in 2015, and it is not asked for again
        assert token.origin() == f"https://{HOST}"
        assert ecr.create_repository(aws, PLACE, "team/app")
        assert not ecr.create_repository(aws, PLACE, "team/app")
    finally:
        aws.close()
        moto.stop()


def test_without_credentials_of_aws_dockers_logins_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    with Registries(patience=QUICK) as registries:
        assert registries.open(Reference.parse(f"{HOST}/app:1")).host == HOST
        assert registries.open(Reference.parse("python:3.12")).host == "registry-1.docker.io"
        local = registries.open(Reference.parse("localhost:5000/app"))
        assert local.http.origin == "http://localhost:5000"
        assert registries.open(Reference.parse("r.example:5000/app")).http.origin == "https://r.example:5000"
