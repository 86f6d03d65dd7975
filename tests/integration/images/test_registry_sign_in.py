"""Signing in to real registries: by password, by token, and when neither is taken any more."""

from __future__ import annotations

import json
import threading
import uuid
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from clary.errors import ClaryError, PermissionDeniedError
from clary.images.reference import Reference
from clary.images.registry.auth import Login
from clary.images.registry.client import Registry
from clary.images.registry.http import Http
from clary.images.registry.push import push_image
from clary.images.registry.registries import Registries
from clary.images.registry.uploads import Outcome
from clary.sagemaker.session import Aws
from registry_images import QUICK, Given, check_image, registry_at, small_image
from registry_proxy import once, proxy_before
from registry_server import PASSWORD, USER, Server, TokenService, needs_registry, with_passwords, with_tokens
from scripted_aws import ScriptedAws

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_registry
ADA = Login(USER, PASSWORD)
EVE = Login("eve", "guess")
IMAGE = small_image()
BLOB = IMAGE.blobs[0]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with with_passwords(tmp_path_factory.mktemp("passwords")) as server:
        yield server


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, TokenService]]:
    with with_tokens(tmp_path_factory.mktemp("tokens")) as found:
        yield found


@pytest.fixture
def token_server(tokens: tuple[Server, TokenService]) -> Server:
    return tokens[0]


@pytest.fixture
def service(tokens: tuple[Server, TokenService]) -> TokenService:
    url = tokens[1].url
    tokens[1].__init__()  # type: ignore[misc]  # as it was in the beginning
    tokens[1].url = url
    return tokens[1]


def new() -> str:
    return f"app/{uuid.uuid4().hex}"


def client(origin: str, given: Given | None, *, basic: bool = False) -> Registry:
    return Registry(Http(origin, given, patience=QUICK, basic=basic))


def push_and_check(registry: Registry) -> None:
    repository = new()
    push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
    check_image(registry, repository, IMAGE, "v1")
    registry.close()


@pytest.mark.parametrize("basic", [False, True])
def test_a_password_is_sent_when_it_is_asked_for(locked: Server, basic: bool) -> None:
    with proxy_before(locked.host) as proxy:
        push_and_check(registry_at(proxy.origin, ADA, basic=basic))
        unsigned = [seen for seen in proxy.manners.seen if "authorization" not in seen.headers]
        assert len(unsigned) == (0 if basic else 1)


@pytest.mark.parametrize("given", [Given(EVE), Given(None), Given(Login("x", "token", identity=True))])
def test_a_wrong_password_is_told(locked: Server, given: Given) -> None:
    registry = client(locked.origin, given)
    with pytest.raises(PermissionDeniedError) as caught:
        registry.manifest("app", "v1")
    assert caught.value.code == "registry.unauthorized"
    assert f"docker login {locked.host}" in caught.value.next_step
    assert "guess" not in str(caught.value.to_dict())
    registry.close()


def test_a_password_that_is_over_is_renewed_once(locked: Server) -> None:
    given = Given(EVE, ADA)
    push_and_check(client(locked.origin, given, basic=True))
    assert given.renewed == 1
    hopeless = Given(EVE, Login("eve", "again"), ADA)
    registry = client(locked.origin, hopeless, basic=True)
    with pytest.raises(PermissionDeniedError):
        registry.manifest("app", "v1")
    assert hopeless.renewed == 1  # one request, one renewal
    registry.close()


def test_many_threads_renew_once(locked: Server) -> None:
    given = Given(EVE, ADA)
    registry = client(locked.origin, given, basic=True)
    start = threading.Barrier(8)

    def ask(_number: int) -> object:
        start.wait(30)
        return registry.manifest("app", "v1")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [None] * 8
    assert given.renewed == 1
    registry.close()


@pytest.mark.parametrize("step", ["head manifest", "head blob", "begin", "put", "put manifest"])
def test_a_401_out_of_the_blue_is_met_once(locked: Server, step: str) -> None:
    with proxy_before(locked.host) as proxy:
        given = Given(ADA)
        proxy.manners.faults = once(step, "401")
        registry = client(proxy.origin, given, basic=True)
        repository = new()
        push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"], at_once=1)
        check_image(registry, repository, IMAGE, "v1")
        assert given.renewed == 1
        proxy.manners.faults = once(step, "401", "401")
        with pytest.raises(PermissionDeniedError):
            push_image(registry, new(), IMAGE.manifest, IMAGE.blobs, tags=["v1"], at_once=1)
        registry.close()


def test_a_token_is_asked_for_each_right_once(token_server: Server, service: TokenService) -> None:
    registry = registry_at(token_server.origin, ADA)
    repository = new()
    push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"], at_once=1)
    check_image(registry, repository, IMAGE, "v1")
    scopes = [asked["scope"] for asked in service.asked]
    assert scopes == [[f"repository:{repository}:pull"], [f"repository:{repository}:pull,push"]]
    assert all(asked["signed_in"] and asked["service"] == ["test-registry"] for asked in service.asked)
    registry.close()


def test_everybody_may_read_what_is_public(token_server: Server, service: TokenService) -> None:
    registry = registry_at(token_server.origin, ADA)
    push_image(registry, "public", IMAGE.manifest, IMAGE.blobs, tags=["v1"])
    registry.close()
    nobody = registry_at(token_server.origin)
    check_image(nobody, "public", IMAGE, "v1")
    with pytest.raises(PermissionDeniedError) as caught:
        nobody.push_blob(new(), BLOB)
    assert caught.value.code == "registry.unauthorized"
    nobody.close()


@pytest.mark.parametrize("stale", [0, 1])
@pytest.mark.parametrize("expires_in", [300, 1, 0, -5, None])
def test_tokens_of_every_age_serve(
    token_server: Server, service: TokenService, expires_in: int | None, stale: int
) -> None:
    service.expires_in = expires_in
    registry = registry_at(token_server.origin, ADA)
    registry.manifest("app", "v1")
    asked = len(service.asked)
    service.stale = stale
    repository = new()
    push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"], at_once=1)
    check_image(registry, repository, IMAGE, "v1")
    assert len(service.asked) - asked <= 2 + stale
    registry.close()


def test_a_token_that_is_over_from_the_start_is_renewed_once_a_request(
    token_server: Server, service: TokenService
) -> None:
    service.stale = 1000
    registry = registry_at(token_server.origin, ADA)
    with pytest.raises(PermissionDeniedError):
        registry.manifest("app", "v1")
    assert len(service.asked) == 1
    with pytest.raises(PermissionDeniedError):
        registry.manifest("app", "v1")
    assert len(service.asked) == 2
    registry.close()


def test_an_identity_token_is_exchanged(token_server: Server, service: TokenService) -> None:
    push_and_check(registry_at(token_server.origin, Login("", service.identity, identity=True)))
    assert all(asked["client_id"] == ["clary"] and asked["signed_in"] for asked in service.asked)


def test_a_token_service_may_fail_for_a_moment_or_for_good(token_server: Server, service: TokenService) -> None:
    registry = registry_at(token_server.origin, ADA)
    service.status = 503
    with pytest.raises(ClaryError) as caught:
        registry.manifest("app", "v1")
    assert caught.value.code == "registry.unavailable"
    assert len(service.asked) == QUICK.tries
    service.status = 200
    assert registry.manifest("app", "v1") is None
    registry.close()
    wrong = registry_at(token_server.origin, EVE)
    with pytest.raises(PermissionDeniedError) as refused:
        wrong.manifest("app", "v1")
    assert token_server.host in refused.value.summary
    assert "guess" not in str(refused.value.to_dict())
    wrong.close()


def test_without_a_right_on_the_other_repository_it_is_uploaded(token_server: Server, service: TokenService) -> None:
    registry = registry_at(token_server.origin, ADA)
    push_image(registry, "mine", IMAGE.manifest, IMAGE.blobs)
    assert registry.push_blob(new(), BLOB, mount_from=["mine"]) is Outcome.MOUNTED
    registry.close()
    registry = registry_at(token_server.origin, ADA)
    service.refuses = {"mine"}
    assert registry.push_blob(new(), BLOB, mount_from=["mine"]) is Outcome.UPLOADED
    registry.close()


def test_dockers_file_signs_in(
    locked: Server, token_server: Server, service: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    auths = {locked.host: {"auth": kept}, token_server.host: {"identitytoken": service.identity}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    with Registries(patience=QUICK) as registries:
        for server in (locked, token_server):
            image = Reference.parse(f"{server.host}/{new()}:v1")
            registry = registries.open(image)
            assert registries.open(image) is registry
            push_image(registry, image.repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
            check_image(registry, image.repository, IMAGE, "v1")


def _ecr_token(password: str, endpoint: str) -> tuple[int, dict[str, object]]:
    token = b64encode(f"AWS:{password}".encode()).decode()
    data = {"authorizationToken": token, "expiresAt": 1_420_070_400, "proxyEndpoint": endpoint}  # in 2015, as moto says
    return 200, {"authorizationData": [data]}


def test_a_private_registry_is_called_where_its_token_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image by its name in Amazon ECR goes to this machine, with a token that is over and a repository to make."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    image = Reference.parse("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app:v1")
    with (
        with_passwords(tmp_path, "AWS") as server,
        proxy_before(server.host) as proxy,
        ScriptedAws().serving() as service,
    ):
        service.answers("GetAuthorizationToken", _ecr_token("old", proxy.origin), _ecr_token(PASSWORD, proxy.origin))
        service.answers("CreateRepository", (200, {"repository": {}}))
        proxy.manners.refusal = (404, "NAME_UNKNOWN", "The repository does not exist in the registry")
        proxy.manners.faults = once("begin", "refuse")
        aws = Aws("us-east-1", endpoint_url=service.url)
        with Registries(aws, patience=QUICK) as registries:
            registry = registries.open(image)
            push_image(registry, image.repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
            check_image(registry, image.repository, IMAGE, "v1")
        aws.close()
    assert len(service.requests("GetAuthorizationToken")) == 2
    made = service.requests("CreateRepository")
    assert {one["repositoryName"] for one in made} == {"team/app"}
    assert all("authorization" in seen.headers for seen in proxy.manners.seen)


def test_a_proxy_that_lies_about_the_realm_gets_no_password(locked: Server) -> None:
    from clary.errors import ConfigError
    from clary.images.registry.auth import SignIn
    from clary.images.registry.challenge import Challenge
    from clary.images.registry.wire import Wire

    sign_in = SignIn("r.example", Wire(), Given(ADA))
    with pytest.raises(ConfigError) as caught:
        sign_in.renewed([Challenge("bearer", {"realm": "http://10.0.0.1/token"})], (), None)
    assert caught.value.code == "registry.insecure"
    assert sign_in.renewed([Challenge("bearer", {"realm": "nonsense"})], (), None) is None
    assert sign_in.renewed([Challenge("negotiate")], (), None) is None
