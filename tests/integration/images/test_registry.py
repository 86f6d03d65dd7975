"""Images in and out of a real registry, with every step disturbed in every way."""

from __future__ import annotations

import os
import socket
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import AwsError, ClaryError, ConfigError, ConflictError, NotFoundError, PermissionDeniedError, Retry
from clary.images import oci
from clary.images.building import Layer
from clary.images.platforms import AMD64, Platform
from clary.images.registry.auth import Login
from clary.images.registry.blobs import Bytes
from clary.images.registry.push import push_image
from clary.images.registry.retrying import Patience
from clary.images.registry.uploads import Outcome
from registry_images import QUICK, SmallImage, check_image, registry_at, small_image
from registry_proxy import BROKEN, STATUSES, Proxy, once, proxy_before
from registry_server import Server, docker_registry, needs_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clary.images.registry.client import Registry

pytestmark = needs_registry
IMAGE = small_image()
WRITES = ("head manifest", "head blob", "begin", "mount", "put", "put manifest")
READS = ("get manifest", "get blob")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as served:
        direct = registry_at(served.origin)
        push_image(direct, "lender", IMAGE.manifest, IMAGE.blobs, tags=["v1"])
        direct.close()
        yield served


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with proxy_before(server.host) as found:
        yield found


@pytest.fixture
def registry(proxy: Proxy) -> Iterator[Registry]:
    found = registry_at(proxy.origin)
    yield found
    found.close()


@pytest.fixture
def direct(server: Server) -> Iterator[Registry]:
    found = registry_at(server.origin)
    yield found
    found.close()


def new() -> str:
    return f"app/{uuid.uuid4().hex}"


def push(registry: Registry, image: SmallImage = IMAGE, repository: str | None = None, **options: Any) -> str:
    repository = repository or new()
    push_image(registry, repository, image.manifest, image.blobs, tags=["v1"], **options)
    return repository


def test_an_image_is_pushed_and_read_back_byte_for_byte(registry: Registry) -> None:
    repository = new()
    pushed = push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1", "v2"])
    assert pushed.digest == IMAGE.digest
    assert set(pushed.outcomes.values()) == {Outcome.UPLOADED}
    assert pushed.uploaded == pushed.size == sum(blob.size for blob in IMAGE.blobs)
    for pointer in ("v1", "v2", IMAGE.digest):
        check_image(registry, repository, IMAGE, pointer)
        assert registry.digest(repository, pointer) == IMAGE.digest
    assert registry.tags(repository) == ["v1", "v2"]
    found = registry.manifest(repository, "v1")
    assert found is not None
    assert len(registry.config(repository, found.manifest.config).diff_ids) == 2


def test_what_is_there_is_not_sent_again(registry: Registry, proxy: Proxy) -> None:
    repository = push(registry)
    proxy.manners.seen.clear()
    again = push_image(registry, repository, IMAGE.manifest, IMAGE.blobs, tags=["v1"])
    assert (again.outcomes, again.uploaded) == ({}, 0)
    assert proxy.manners.steps() == ["head manifest", "put manifest"]
    other = small_image(1)
    mixed = oci.manifest_of(other.blobs[-1].data, [oci.Descriptor(oci.DOCKER_LAYER, IMAGE.blobs[0].digest, 1)])
    pushed = push_image(registry, repository, mixed, [IMAGE.blobs[0], other.blobs[-1]])
    assert pushed.outcomes == {IMAGE.blobs[0].digest: Outcome.EXISTED, other.blobs[-1].digest: Outcome.UPLOADED}


def test_what_is_not_there_is_none(registry: Registry) -> None:
    assert registry.manifest("nowhere", "v1") is None
    assert registry.manifest("lender", "v9") is None
    assert registry.digest("lender", "v9") is None
    assert registry.has_blob("lender", f"sha256:{'0' * 64}") is None
    assert registry.tags("nowhere") == []
    with (
        pytest.raises(NotFoundError) as caught,
        registry.read_blob("lender", f"sha256:{'0' * 64}", 5) as chunks,
    ):
        next(chunks)
    assert caught.value.code == "registry.not_found"


def test_tags_come_in_pages(registry: Registry, direct: Registry, proxy: Proxy) -> None:
    proxy.manners.page = 2
    repository = new()
    wanted = [f"v{number}" for number in range(5)]
    push_image(direct, repository, IMAGE.manifest, IMAGE.blobs, tags=wanted)
    assert sorted(registry.tags(repository)) == wanted
    assert proxy.manners.steps().count("get other") == 3


def test_of_a_list_the_platforms_manifest_is_taken(direct: Registry) -> None:
    repository = push(direct)
    arm = push(direct, small_image(7), repository)
    assert arm == repository
    listed = oci.canonical(
        {
            "schemaVersion": 2,
            "mediaType": oci.OCI_INDEX,
            "manifests": [
                _listed(small_image(7), "arm64"),
                _listed(IMAGE, "amd64"),
            ],
        }
    )
    digest = direct.put_manifest(repository, "list", listed, oci.OCI_INDEX)
    assert digest == oci.digest_of(listed) == direct.digest(repository, "list")
    for platform, image in ((AMD64, IMAGE), (Platform("arm64"), small_image(7))):
        found = direct.manifest(repository, "list", platform=platform)
        assert found is not None
        assert found.data == image.manifest


def _listed(image: SmallImage, architecture: str) -> dict[str, Any]:
    described = oci.Descriptor(oci.DOCKER_MANIFEST, image.digest, len(image.manifest)).to_dict()
    return {**described, "platform": {"os": "linux", "architecture": architecture}}


@pytest.mark.parametrize("fault", [*BROKEN, *STATUSES])
@pytest.mark.parametrize(("step", "remembers"), [*((step, False) for step in WRITES), ("put", True), ("begin", True)])
def test_a_push_survives_every_fault_at_every_step(
    registry: Registry, direct: Registry, proxy: Proxy, step: str, fault: str, remembers: bool
) -> None:
    proxy.manners.remembers = remembers
    proxy.manners.faults = once(step, fault, fault)
    lenders = {blob.digest: ["lender"] for blob in IMAGE.blobs} if step == "mount" else None
    repository = push(registry, mount_from=lenders)
    assert {met for met, _ in proxy.manners.met} == {fault}
    check_image(direct, repository, IMAGE, "v1")


@pytest.mark.parametrize(
    ("step", "fault"),
    [*[(step, fault) for step in READS for fault in (*BROKEN, *STATUSES)], ("get manifest", "wrong bytes")],
)
def test_a_read_survives_every_fault(registry: Registry, proxy: Proxy, step: str, fault: str) -> None:
    proxy.manners.faults = once(step, fault, fault)
    check_image(registry, "lender", IMAGE, "v1")
    assert len(proxy.manners.met) == 2


@pytest.mark.parametrize(("ranges", "broken"), [(True, 8), (False, 3)])
def test_a_broken_read_goes_on_behind_its_last_byte(
    direct: Registry, ranges: bool, broken: int, server: Server
) -> None:
    big = Bytes(os.urandom(3_000_000), "big")
    repository = new()
    direct.push_blob(repository, big)
    with proxy_before(server.host) as proxy:
        proxy.manners.ranges = ranges
        proxy.manners.faults = once("get blob", *["cut reply"] * broken)
        registry = registry_at(proxy.origin)
        with registry.read_blob(repository, big.digest, big.size) as chunks:
            read = b"".join(chunks)
        registry.close()
    assert read == big.data
    asked = [seen.headers.get("range") for seen in proxy.manners.seen]
    assert asked[0] is None
    assert len(set(asked)) > 5 if ranges else set(asked[1:]) == {asked[1]}


def test_wrong_bytes_are_never_taken_for_right_ones(registry: Registry, proxy: Proxy) -> None:
    blob = IMAGE.blobs[0]
    for faults in (["wrong bytes"], ["cut reply", "wrong bytes"]):
        proxy.manners.faults = once("get blob", *faults)
        with pytest.raises(AwsError) as caught, registry.read_blob("lender", blob.digest, blob.size) as chunks:
            list(chunks)
        assert caught.value.code == "registry.wrong_digest"
    with pytest.raises(AwsError) as caught, registry.read_blob("lender", blob.digest, blob.size - 1) as chunks:
        list(chunks)
    assert caught.value.code == "registry.wrong_digest"
    proxy.manners.faults = once("get manifest", *["wrong bytes"] * 20)
    with pytest.raises(AwsError) as caught:
        registry.manifest("lender", IMAGE.digest)
    assert caught.value.code == "registry.wrong_digest"


def test_a_configuration_that_came_damaged_is_read_again(registry: Registry, proxy: Proxy) -> None:
    found = registry.manifest("lender", "v1")
    assert found is not None
    proxy.manners.faults = once("get blob", "wrong bytes")
    assert registry.config("lender", found.manifest.config).diff_ids


@pytest.mark.parametrize("status", [202, 400, 401, 403, 404, 405])
def test_what_is_not_lent_is_uploaded(registry: Registry, direct: Registry, proxy: Proxy, status: int) -> None:
    proxy.manners.mount = status
    blob = IMAGE.blobs[0]
    repository = new()
    assert registry.push_blob(repository, blob, mount_from=["lender"]) is Outcome.UPLOADED
    assert direct.has_blob(repository, blob.digest) == blob.size
    begun = proxy.manners.steps().count("begin")
    assert begun == (0 if status == 202 else 1)  # the place that a 202 gives is used


def test_the_first_that_has_it_lends_it(registry: Registry, proxy: Proxy) -> None:
    assert registry.push_blob(new(), IMAGE.blobs[0], mount_from=["nowhere", "lender"]) is Outcome.MOUNTED
    assert "put" not in proxy.manners.steps()


def test_a_broken_upload_goes_on_behind_its_last_byte(registry: Registry, direct: Registry, proxy: Proxy) -> None:
    proxy.manners.remembers = True
    proxy.manners.faults = {"put": ["reset midway"], "patch": ["reset midway"] * 9}
    blob = Bytes(os.urandom(100_000), "blob")
    repository = new()
    assert registry.push_blob(repository, blob) is Outcome.UPLOADED
    assert proxy.manners.steps().count("begin") == 1
    assert proxy.manners.steps().count("patch") == 10  # more than patience has: each came further than the last
    offsets = [int(seen.headers["content-range"].split("-")[0]) for seen in proxy.manners.seen if seen.step == "patch"]
    assert offsets[0] == 50_000
    assert offsets == sorted(offsets)
    assert direct.has_blob(repository, blob.digest) == blob.size


def test_a_registry_that_loses_chunks_is_sent_the_whole(registry: Registry, direct: Registry, proxy: Proxy) -> None:
    """As Amazon ECR does (aws/containers-roadmap#2831), should it ever tell of a part that it holds."""
    proxy.manners.remembers = True
    proxy.manners.faults = once("put", "reset midway")
    blob = Bytes(os.urandom(100_000), "blob")
    repository = new()
    original = proxy.manners.fault_for

    def losing_from_now_on(seen: Any) -> str | None:
        fault = original(seen)
        proxy.manners.loses_chunks = proxy.manners.loses_chunks or seen.step == "status"
        return fault

    proxy.manners.fault_for = losing_from_now_on  # type: ignore[method-assign]  # this test's own manner
    assert registry.push_blob(repository, blob) is Outcome.UPLOADED
    assert "patch" in proxy.manners.steps()
    assert proxy.manners.steps().count("begin") == 2
    assert direct.has_blob(repository, blob.digest) == blob.size


def test_a_registry_that_is_known_to_lose_chunks_is_not_asked_for_parts(server: Server, proxy: Proxy) -> None:
    proxy.manners.remembers = True
    proxy.manners.faults = once("put", "reset midway")
    registry = registry_at(proxy.origin, resumes=False)
    assert registry.push_blob(new(), IMAGE.blobs[0]) is Outcome.UPLOADED
    registry.close()
    assert not {"status", "patch"} & set(proxy.manners.steps())


def test_when_the_last_answer_is_lost_a_look_tells(registry: Registry, proxy: Proxy) -> None:
    proxy.manners.faults = once("put", "lose reply")
    assert registry.push_blob(new(), IMAGE.blobs[0]) is Outcome.UPLOADED
    assert proxy.manners.steps() == ["head blob", "begin", "put", "head blob"]


def test_places_may_be_relative(registry: Registry, direct: Registry, proxy: Proxy) -> None:
    proxy.manners.relative = True
    check_image(direct, push(registry), IMAGE, "v1")


@pytest.fixture
def elsewhere(server: Server) -> Iterator[Proxy]:
    with proxy_before(server.host) as found:
        yield found


def test_redirects_and_uploads_to_another_host_are_told_no_secret(proxy: Proxy, elsewhere: Proxy) -> None:
    registry = registry_at(proxy.origin, Login("ada", "secret"), basic=True)
    proxy.manners.redirect = proxy.manners.uploads_at = elsewhere.origin
    repository = push(registry)
    check_image(registry, repository, IMAGE, "v1")
    registry.close()
    assert {seen.step for seen in elsewhere.manners.seen} == {"put", "get blob"}
    assert all("authorization" not in seen.headers for seen in elsewhere.manners.seen)
    assert all("authorization" in seen.headers for seen in proxy.manners.seen)


def test_a_store_that_knows_no_head_is_no_obstacle(proxy: Proxy, elsewhere: Proxy, registry: Registry) -> None:
    repository = push(registry)
    proxy.manners.redirect_heads = elsewhere.origin
    elsewhere.manners.refusal = (403, "SignatureDoesNotMatch", "signed for GET")
    elsewhere.manners.faults = once("head blob", *["refuse"] * 10)
    assert registry.has_blob(repository, IMAGE.blobs[0].digest) is None
    assert registry.push_blob(repository, IMAGE.blobs[0]) is Outcome.UPLOADED
    proxy.manners.redirect_heads = None
    proxy.manners.refusal = (403, "DENIED", "no")
    proxy.manners.faults = once("head blob", "refuse")
    with pytest.raises(PermissionDeniedError):
        registry.has_blob(repository, IMAGE.blobs[0].digest)


def test_a_broken_redirect_is_asked_for_anew(proxy: Proxy, elsewhere: Proxy, registry: Registry) -> None:
    proxy.manners.redirect = elsewhere.origin
    elsewhere.manners.faults = once("get blob", "cut reply", "503", "reset")
    check_image(registry, "lender", IMAGE, "v1")
    first = [seen for seen in elsewhere.manners.seen if seen.path == elsewhere.manners.seen[0].path]
    assert len(first) == 4
    assert first[1].headers["range"].startswith("bytes=")


def test_redirects_do_not_go_on_for_ever(proxy: Proxy, registry: Registry) -> None:
    proxy.manners.redirect = proxy.origin
    with (
        pytest.raises(AwsError) as caught,
        registry.read_blob("lender", IMAGE.blobs[0].digest, IMAGE.blobs[0].size) as chunks,
    ):
        next(chunks)
    assert caught.value.code == "registry.bad_reply"
    proxy.manners.redirect = "http://10.0.0.1"
    with (
        pytest.raises(ConfigError) as insecure,
        registry.read_blob("lender", IMAGE.blobs[0].digest, IMAGE.blobs[0].size) as chunks,
    ):
        next(chunks)
    assert insecure.value.code == "registry.insecure"


def test_a_registry_is_left_alone_for_as_long_as_it_asks(proxy: Proxy, registry: Registry) -> None:
    proxy.manners.retry_after = "1"
    proxy.manners.faults = once("head blob", "429")
    began = time.monotonic()
    assert registry.has_blob("lender", IMAGE.blobs[0].digest)
    assert time.monotonic() - began >= 1
    proxy.manners.retry_after = "3600"
    proxy.manners.faults = once("head blob", "429")
    with pytest.raises(ClaryError) as caught:
        registry.has_blob("lender", IMAGE.blobs[0].digest)
    assert (caught.value.code, caught.value.details["retry_after"]) == ("registry.throttled", 3600.0)


@pytest.mark.parametrize(
    ("fault", "code"), [("503", "registry.unavailable"), ("429", "registry.throttled"), ("reset", "registry.no_reply")]
)
def test_what_does_not_pass_is_told(proxy: Proxy, registry: Registry, fault: str, code: str) -> None:
    proxy.manners.faults = {step: [fault] * 100 for step in ("put", "head blob", "begin")}
    with pytest.raises(ClaryError) as caught:
        registry.push_blob(new(), IMAGE.blobs[0])
    assert (caught.value.code, caught.value.retry) == (code, Retry.LATER)
    assert len(proxy.manners.met) == QUICK.tries


@pytest.mark.parametrize(
    ("step", "refusal", "code"),
    [
        ("begin", (404, "NAME_UNKNOWN", "no such repository"), "registry.unknown_repository"),
        ("begin", (403, "DENIED", "no"), "registry.forbidden"),
        ("put", (413, "SIZE", "too large"), "registry.quota"),
        ("put manifest", (400, "TAG_INVALID", "the repository is immutable"), "registry.tag_immutable"),
        ("put manifest", (415, "UNSUPPORTED", "media type"), "registry.type_refused"),
    ],
)
def test_a_refusal_is_told_at_once(
    proxy: Proxy, registry: Registry, step: str, refusal: tuple[int, str, str], code: str
) -> None:
    proxy.manners.refusal = refusal
    proxy.manners.faults = once(step, *["refuse"] * 10)
    with pytest.raises(ClaryError) as caught:
        push(registry, small_image(3, layers=1))
    assert caught.value.code == code
    assert refusal[2] in caught.value.summary


def test_a_tag_that_has_the_image_already_is_no_conflict(proxy: Proxy, registry: Registry) -> None:
    proxy.manners.refusal = (400, "TAG_INVALID", "the repository is immutable")
    proxy.manners.faults = once("put manifest", "refuse")
    assert registry.put_manifest("lender", "v1", IMAGE.manifest, oci.DOCKER_MANIFEST) == IMAGE.digest
    other = push(registry, small_image(9))
    proxy.manners.faults = once("put manifest", "refuse")
    with pytest.raises(ConflictError):
        registry.put_manifest(other, "v1", IMAGE.manifest, oci.DOCKER_MANIFEST)


def test_a_repository_that_is_missing_is_made(proxy: Proxy, registry: Registry) -> None:
    from clary.images.registry.client import Registry

    proxy.manners.refusal = (404, "NAME_UNKNOWN", "no such repository")
    proxy.manners.faults = once("begin", "refuse")
    made: list[str] = []
    creating = Registry(registry.http, create=made.append)
    repository = new()
    assert creating.push_blob(repository, IMAGE.blobs[0]) is Outcome.UPLOADED
    assert made == [repository]


def _file(folder: Path, said: bytes, holds: bytes) -> Layer:
    path = folder / "layer"
    path.write_bytes(holds)
    return Layer(oci.digest_of(said), oci.digest_of(said), len(said), path, "numpy 2.3.1")


@pytest.mark.parametrize("holds", [b"x" * 999, b"y" * 1000, b""])
def test_a_file_that_has_changed_is_told_for_what_it_is(registry: Registry, tmp_path: Path, holds: bytes) -> None:
    layer = _file(tmp_path, b"x" * 1000, holds)
    with pytest.raises(ConfigError) as caught:
        registry.push_blob(new(), layer)
    assert caught.value.code == "image.layer_changed"
    assert "numpy 2.3.1" in caught.value.summary


def test_an_empty_blob_is_one_too(registry: Registry) -> None:
    empty = Bytes(b"")
    repository = new()
    assert registry.push_blob(repository, empty) is Outcome.UPLOADED
    assert registry.has_blob(repository, empty.digest) == 0
    with registry.read_blob(repository, empty.digest, 0) as chunks:
        assert list(chunks) == []


def test_where_nothing_listens_it_is_told_soon() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        registry = registry_at(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(AwsError) as caught:
            registry.manifest("app", "v1")
    assert (caught.value.code, caught.value.retry) == ("registry.unreachable", Retry.LATER)
    registry.close()


def test_what_is_no_registry_is_told() -> None:
    with proxy_before("127.0.0.1:1") as proxy:
        proxy.manners.refusal = (200, "x", "a sign-in page")
        proxy.manners.faults = {"get manifest": ["refuse"], "head blob": ["refuse"], "begin": ["refuse"]}
        registry = registry_at(proxy.origin, patience=Patience(tries=1))
        with pytest.raises(ClaryError) as caught:
            registry.manifest("app", "v1")
        assert caught.value.code == "image.bad_manifest"
        with pytest.raises(ClaryError) as begun:
            registry.push_blob("app", IMAGE.blobs[0])
        assert begun.value.code.startswith("registry.")
        registry.close()
