"""The registry protocol behind ECR's API: what is pushed, pulled, mounted, refused and kept."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from clary.ids import new_id
from oci_images import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Client,
    config,
    digest_of,
    error_of,
    index,
    layer,
    manifest,
    password,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.testing import Sandbox

_MISSING = f"sha256:{'0' * 64}"


@pytest.fixture
def ecr(idle: Sandbox) -> Any:
    return idle.client("ecr")


@pytest.fixture
def client(idle: Sandbox, ecr: Any) -> Iterator[Client]:
    made = Client(idle.endpoint, password(ecr))
    yield made
    made.close()


@pytest.fixture
def repository(ecr: Any) -> str:
    name = f"team/{new_id().lower()}"
    ecr.create_repository(repositoryName=name)
    return name


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


# -- signing in


def test_nobody_comes_in_without_a_token(idle: Sandbox) -> None:
    client = Client(idle.endpoint, None)
    for path in ("/v2/", "/v2/clary/tags/list"):
        answer = client.ask("GET", path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == f'Basic realm="{idle.endpoint}/",service="ecr.amazonaws.com"'
    for secret in ("", "guessed", "e30=.0000", "\N{SNOWMAN}"):
        assert Client(idle.endpoint, secret).ask("GET", "/v2/").status == 401
    client.close()


def test_a_token_is_for_twelve_hours_and_says_where(idle: Sandbox, ecr: Any) -> None:
    (data,) = ecr.get_authorization_token()["authorizationData"]
    assert data["proxyEndpoint"] == idle.endpoint
    assert 11.9 < (data["expiresAt"].timestamp() - time.time()) / 3600 <= 12
    assert Client(idle.endpoint, password(ecr)).ask("GET", "/v2/").status == 200


def test_a_token_that_has_expired_is_refused_as_ecr_does(idle: Sandbox, ecr: Any) -> None:
    idle.faults.short_token(0)
    (data,) = ecr.get_authorization_token()["authorizationData"]
    assert data["expiresAt"].timestamp() <= time.time()
    secret = base64.b64decode(data["authorizationToken"]).decode().removeprefix("AWS:")
    status, code, message = error_of(Client(idle.endpoint, secret).ask("GET", "/v2/"))
    assert (status, code) == (403, "DENIED")
    assert message == "Your authorization token has expired. Reauthenticate and try again."


def test_planned_trouble(idle: Sandbox, client: Client, repository: str) -> None:
    path = f"/v2/{repository}/manifests/x"
    idle.faults.throttle("BatchGetImage", match=repository)
    answer = client.ask("GET", path)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    idle.faults.server_error("BatchGetImage", status=503)
    assert client.ask("GET", path).status == 503
    idle.faults.expire_credentials(operation="BatchGetImage")
    assert error_of(client.ask("GET", path))[:2] == (403, "DENIED")
    idle.faults.expire_credentials(operation="BatchGetImage", status=401)
    assert "WWW-Authenticate" in client.ask("GET", path).headers
    assert error_of(client.ask("GET", path)) == (404, "MANIFEST_UNKNOWN", "Requested image not found")


def test_repositories_are_not_made_by_pushing(client: Client) -> None:
    for method, path in (("POST", "blobs/uploads/"), ("GET", "manifests/x"), ("GET", "tags/list")):
        status, code, message = error_of(client.ask(method, f"/v2/no/such/{path}"))
        assert (status, code) == (404, "NAME_UNKNOWN")
        assert "The repository with name 'no/such' does not exist" in message
    for path in ("/v2/UPPER/tags/list", "/v2/a/b", "/v2//tags/list"):
        assert client.ask("GET", path).status == 404
    assert client.ask("DELETE", "/v2/clary/manifests/x").status == 405


def test_other_services_keep_their_addresses(idle: Sandbox) -> None:
    """Paths that begin alike belong to SDKs that sign their requests."""
    with pytest.raises(ClientError):
        idle.client("apigatewayv2").get_api(ApiId="none")


# -- images


def test_what_is_pushed_is_pulled_and_listed(client: Client, ecr: Any, repository: str) -> None:
    layers = [layer(("a", "1")), layer(("b", b"2" * 100_000))]
    said = config(layers, Entrypoint=["/a"])
    body = manifest(said, layers)
    digest = client.push(repository, "v1", *layers, Entrypoint=["/a"])
    for pointer in ("v1", digest):
        answer = client.ask("GET", f"/v2/{repository}/manifests/{pointer}")
        assert (answer.data, answer.headers["Content-Type"]) == (body, DOCKER_MANIFEST)
        head = client.ask("HEAD", f"/v2/{repository}/manifests/{pointer}")
        assert (head.data, head.headers["Content-Length"]) == (b"", str(len(body)))
        assert head.headers["Docker-Content-Digest"] == digest == digest_of(body)
    assert client.pull_blob(repository, layers[1].digest) == layers[1].data
    (detail,) = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"]) == (digest, ["v1"])
    assert detail["imageSizeInBytes"] == sum(len(one.data) for one in layers) + len(said)
    assert detail["imageManifestMediaType"] == DOCKER_MANIFEST
    assert abs(detail["imagePushedAt"].timestamp() - time.time()) < 60
    (image,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "v1"}])["images"]
    assert image["imageManifest"].encode() == body
    assert ecr.list_images(repositoryName=repository)["imageIds"] == [{"imageDigest": digest, "imageTag": "v1"}]


def test_tags_move_and_are_listed_in_pages(client: Client, ecr: Any, repository: str) -> None:
    first = client.push(repository, "latest", layer(("a", "1")))
    second = client.push(repository, "latest", layer(("a", "2")))
    for tag in ("b", "a", "c"):
        client.push(repository, tag, layer(("a", "2")))
    answer = client.ask("GET", f"/v2/{repository}/tags/list?n=3")
    assert json.loads(answer.data) == {"name": repository, "tags": ["a", "b", "c"]}
    following = answer.headers["Link"].removeprefix("<").partition(">")[0]
    answer = client.ask("GET", following)
    assert json.loads(answer.data)["tags"] == ["latest"]
    assert "Link" not in answer.headers
    untagged = ecr.list_images(repositoryName=repository, filter={"tagStatus": "UNTAGGED"})["imageIds"]
    assert untagged == [{"imageDigest": first}]
    pages = ecr.get_paginator("list_images").paginate(repositoryName=repository, PaginationConfig={"PageSize": 2})
    found = [one for page in pages for one in page["imageIds"]]
    assert [one.get("imageTag") for one in found] == [None, "a", "b", "c", "latest"]
    assert {one["imageDigest"] for one in found[1:]} == {second}


def test_lists_of_manifests(client: Client, ecr: Any, repository: str) -> None:
    built = {name: layer(("a", name)) for name in ("amd64", "arm64")}
    bodies = []
    for name, one in built.items():
        said = config([one], architecture=name)
        for data in (said, one.data):
            client.push_blob(repository, data)
        bodies.append((name, manifest(said, [one], oci=True)))
    listing = index(*bodies)
    path = f"/v2/{repository}/manifests"
    status, code, _ = error_of(client.ask("PUT", f"{path}/all", listing, Content_Type=OCI_INDEX))
    assert (status, code) == (404, "MANIFEST_BLOB_UNKNOWN")
    for _, body in bodies:
        client.push_manifest(repository, digest_of(body), body)
    client.push_manifest(repository, "all", listing)
    assert client.ask("GET", f"{path}/all").headers["Content-Type"] == OCI_INDEX
    (detail,) = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "all"}])["imageDetails"]
    assert detail["imageSizeInBytes"] > len(built["amd64"].data)
    child = digest_of(bodies[0][1])
    (failure,) = ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": child}])["failures"]
    assert failure["failureCode"] == "ImageReferencedByManifestList"


def test_manifests_that_are_refused(client: Client, idle: Sandbox, repository: str) -> None:
    one = layer(("a", "1"))
    said = config([one])
    path, body = f"/v2/{repository}/manifests/v1", manifest(said, [one])
    status, code, message = error_of(client.ask("PUT", path, body, Content_Type=DOCKER_MANIFEST))
    assert (status, code) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert f"{digest_of(said)}, {one.digest}" in message
    client.push_blob(repository, said)
    client.push_blob(repository, one.data)
    wrong = client.ask("PUT", f"/v2/{repository}/manifests/{_MISSING}", body, Content_Type=DOCKER_MANIFEST)
    assert error_of(wrong)[:2] == (400, "DIGEST_INVALID")
    for broken in (b"", b"{", b"[]", b'{"schemaVersion": 1}', json.dumps({"schemaVersion": 2, "layers": []}).encode()):
        assert client.ask("PUT", path, broken, Content_Type=DOCKER_MANIFEST).status == 405
    assert client.ask("PUT", path, body, Content_Type="application/vnd.x").status == 405
    assert client.ask("PUT", path, body, Content_Type=OCI_MANIFEST).status == 405
    assert error_of(client.ask("PUT", f"/v2/{repository}/manifests/-x", body))[:2] == (400, "TAG_INVALID")
    oci = manifest(said, [one], oci=True)
    idle.faults.refuse_oci(repository=repository)
    assert error_of(client.ask("PUT", path, oci, Content_Type=OCI_MANIFEST))[:2] == (405, "UNSUPPORTED")
    client.push_manifest(repository, "v1", oci)


def test_immutable_tags_stay(client: Client, ecr: Any, repository: str) -> None:
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="IMMUTABLE")
    client.push(repository, "v1", layer(("a", "1")))
    client.push(repository, "v1", layer(("a", "1")))
    with pytest.raises(AssertionError, match="cannot be overwritten because the tag is immutable"):
        client.push(repository, "v1", layer(("a", "2")))
    ecr.put_image_tag_mutability(
        repositoryName=repository,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "v*"}],
    )
    client.push(repository, "v1", layer(("a", "2")))


# -- blobs


def test_an_upload_in_parts_is_resumed_where_it_was(client: Client, repository: str) -> None:
    data = os.urandom(300_000)
    begun = client.ask("POST", f"/v2/{repository}/blobs/uploads/")
    where = begun.headers["Location"]
    assert where.startswith(client.endpoint)
    first = client.ask("PATCH", where, data[:100_000], Content_Range="0-99999")
    assert (first.status, first.headers["Range"]) == (202, "0-99999")
    wrong = client.ask("PATCH", where, data[50_000:60_000], Content_Range="50000-59999")
    assert (wrong.status, wrong.headers["Range"]) == (416, "0-99999")
    state = client.ask("GET", where)
    assert (state.status, state.headers["Range"]) == (204, "0-99999")
    client.ask("PATCH", state.headers["Location"], data[100_000:200_000], Content_Range="100000-199999")
    done = client.ask("PUT", f"{where}?digest={digest_of(data)}", data[200_000:])
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, digest_of(data))
    assert client.pull_blob(repository, digest_of(data)) == data
    assert error_of(client.ask("GET", where))[:2] == (404, "BLOB_UPLOAD_UNKNOWN")


def test_uploads_that_come_to_nothing(client: Client, ecr: Any, idle: Sandbox, repository: str) -> None:
    begun = client.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
    assert client.ask("DELETE", begun).status == 204
    assert client.ask("PATCH", begun, b"x").status == 404
    begun = client.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
    status, code, _ = error_of(client.ask("PUT", f"{begun}?digest={_MISSING}", b"something else"))
    assert (status, code) == (400, "DIGEST_INVALID")
    assert client.ask("HEAD", f"/v2/{repository}/blobs/{_MISSING}").status == 404
    assert client.ask("GET", begun).status == 404
    for digest in ("", "md5:1", "sha256:short"):
        begun = client.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
        assert error_of(client.ask("PUT", f"{begun}?digest={digest}", b"x"))[:2] == (400, "DIGEST_INVALID")
    ecr.create_repository(repositoryName=f"{repository}-other")
    elsewhere = urlsplit(begun).path.replace(repository, f"{repository}-other")
    assert client.ask("PATCH", elsewhere, b"x").status == 404
    assert client.ask("GET", f"/v2/{repository}/blobs/uploads/..%2f..%2fregistry.db").status == 404
    assert list((idle.data / "registry/arriving").iterdir()) == []


def test_one_request_is_enough_for_a_blob(client: Client, repository: str) -> None:
    data = os.urandom(1000)
    done = client.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}", data)
    assert done.status == 201
    assert client.pull_blob(repository, digest_of(data)) == data


def test_blobs_are_fetched_from_another_address_without_signing_in(client: Client, repository: str) -> None:
    data = os.urandom(3_000_000)
    digest = client.push_blob(repository, data)
    head = client.ask("HEAD", f"/v2/{repository}/blobs/{digest}")
    assert (head.status, head.headers["Content-Length"]) == (200, "3000000")
    where = str(client.ask("GET", f"/v2/{repository}/blobs/{digest}").headers["Location"])
    assert urlsplit(where).hostname == "localhost"
    assert client.ask("GET", where).status == 400, "an Authorization header must not follow"
    assert client.plain(where).data == data
    for span, part in (
        ("bytes=0-0", data[:1]), ("bytes=2000000-", data[2_000_000:]), ("bytes=-5", data[-5:]),
        ("bytes=10-19", data[10:20]), ("bytes=2999999-9999999", data[-1:]),
    ):  # fmt: skip
        answer = client.plain(where, Range=span)
        assert (answer.status, answer.data) == (206, part)
    assert client.plain(where, Range="bytes=3000000-").status == 416
    for wrong in (
        where[:-1] + ("0" if where[-1] != "0" else "1"),
        where.partition("?")[0],
        where.replace("Expires=1", "Expires=9"),
    ):
        assert client.plain(wrong).status == 403
    assert error_of(client.ask("GET", f"/v2/{repository}/blobs/{_MISSING}"))[:2] == (404, "BLOB_UNKNOWN")
    assert error_of(client.ask("GET", f"/v2/{repository}/blobs/x"))[:2] == (400, "DIGEST_INVALID")


def test_connections_break_where_it_was_planned(client: Client, idle: Sandbox, repository: str) -> None:
    from urllib3.exceptions import HTTPError

    data = os.urandom(2_000_000)
    begun = client.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
    idle.faults.break_upload(repository=repository)
    with pytest.raises(HTTPError):
        client.ask("PATCH", begun, data)
    assert client.ask("GET", begun).headers["Range"] == "0-0"
    client.ask("PATCH", begun, data)
    assert client.ask("PUT", f"{begun}?digest={digest_of(data)}").status == 201
    idle.faults.break_download(after=100_000)
    with pytest.raises(HTTPError):
        client.pull_blob(repository, digest_of(data))
    assert client.pull_blob(repository, digest_of(data)) == data
    idle.faults.lost_reply("InitiateLayerUpload", match=repository)
    with pytest.raises(HTTPError):
        client.ask("POST", f"/v2/{repository}/blobs/uploads/")
    idle.faults.relative_location(repository=repository)
    assert client.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"].startswith("/v2/")


# -- mounting


@pytest.fixture
def mounting(ecr: Any) -> Iterator[None]:
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    yield
    ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")


def mount(client: Client, repository: str, digest: str, source: str) -> int:
    return client.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}").status


def test_mounting_is_off_until_it_is_switched_on(client: Client, ecr: Any, repository: str) -> None:
    assert ecr.get_account_setting(name="BLOB_MOUNTING")["value"] == "DISABLED"
    one = layer(("a", "1"))
    client.push(repository, "v1", one)
    ecr.create_repository(repositoryName=f"{repository}-other")
    assert mount(client, f"{repository}-other", one.digest, repository) == 202
    assert refused(ecr.put_account_setting, name="BLOB_MOUNTING", value="MAYBE")[0] == "InvalidParameterException"
    assert refused(ecr.put_account_setting, name="NONE", value="ENABLED")[0] == "InvalidParameterException"


@pytest.mark.usefixtures("mounting")
def test_blobs_that_a_manifest_names_are_mounted(client: Client, ecr: Any, idle: Sandbox, repository: str) -> None:
    one = layer(("a", os.urandom(1000)))
    target = f"{repository}-other"
    ecr.create_repository(repositoryName=target)
    client.push_blob(repository, one.data)
    assert mount(client, target, one.digest, repository) == 202, "no manifest names it"
    client.push(repository, "v1", one)
    for status in (401, 403, 404, 202):
        idle.faults.mount(status)
        assert mount(client, target, one.digest, repository) == status
    assert mount(client, target, _MISSING, repository) == 202
    assert mount(client, target, one.digest, "no/such") == 202
    assert mount(client, target, one.digest, "") == 202
    assert client.ask("HEAD", f"/v2/{target}/blobs/{one.digest}").status == 404
    assert mount(client, target, one.digest, repository) == 201
    ecr.delete_repository(repositoryName=repository, force=True)
    assert client.pull_blob(target, one.digest) == one.data, "it stays when its source goes"


@pytest.mark.usefixtures("mounting")
def test_mounting_needs_the_same_encryption(client: Client, ecr: Any, repository: str) -> None:
    one = layer(("a", "1"))
    client.push(repository, "v1", one)
    ecr.create_repository(repositoryName=f"{repository}-kms", encryptionConfiguration={"encryptionType": "KMS"})
    assert mount(client, f"{repository}-kms", one.digest, repository) == 202


def test_a_registry_without_the_rule_mounts_everything(
    client: Client, ecr: Any, idle: Sandbox, repository: str
) -> None:
    digest = client.push_blob(repository, os.urandom(100))
    ecr.create_repository(repositoryName=f"{repository}-other")
    idle.faults.mount(201)
    assert mount(client, f"{repository}-other", digest, repository) == 201


# -- the API


def test_an_image_that_comes_by_the_api(client: Client, ecr: Any, repository: str) -> None:
    one = layer(("a", os.urandom(3000)))
    said = config([one])
    for data in (said, one.data):
        upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
        named = {"repositoryName": repository, "uploadId": upload}
        half = len(data) // 2
        ecr.upload_layer_part(**named, partFirstByte=0, partLastByte=half - 1, layerPartBlob=data[:half])
        part = {"partFirstByte": half, "partLastByte": len(data) - 1, "layerPartBlob": data[half:]}
        assert refused(ecr.upload_layer_part, **named, **{**part, "partFirstByte": 1})[0] == "InvalidLayerPartException"
        ecr.upload_layer_part(**named, **part)
        assert ecr.complete_layer_upload(**named, layerDigests=[digest_of(data)])["layerDigest"] == digest_of(data)
        assert refused(ecr.complete_layer_upload, **named, layerDigests=[_MISSING])[0] == "UploadNotFoundException"
    body = manifest(said, [one])
    put = {"repositoryName": repository, "imageManifest": body.decode()}
    assert ecr.put_image(**put, imageTag="v1")["image"]["imageId"] == {"imageDigest": digest_of(body), "imageTag": "v1"}
    assert refused(ecr.put_image, **put, imageTag="v1")[0] == "ImageAlreadyExistsException"
    ecr.put_image(**put, imageTag="v2")
    assert refused(ecr.put_image, **put, imageDigest=_MISSING)[0] == "ImageDigestDoesNotMatchException"
    assert refused(ecr.put_image, repositoryName=repository, imageManifest="{}")[0] == "InvalidParameterException"
    assert client.ask("GET", f"/v2/{repository}/manifests/v2").data == body
    found = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[one.digest, _MISSING])
    assert [found["layers"][0]["layerSize"], found["failures"][0]["failureCode"]] == [
        len(one.data),
        "MissingLayerDigest",
    ]
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=one.digest)["downloadUrl"]
    assert client.plain(url).data == one.data
    assert (
        refused(ecr.get_download_url_for_layer, repositoryName=repository, layerDigest=_MISSING)[0]
        == "LayersNotFoundException"
    )


def test_deleting(client: Client, ecr: Any, idle: Sandbox, repository: str) -> None:
    shared, own = layer(("a", "shared")), layer(("a", os.urandom(500)))
    first = client.push(repository, "one", shared, own)
    client.push(repository, "two", shared, own)
    second = client.push(repository, "three", shared)
    delete = ecr.batch_delete_image
    gone = delete(repositoryName=repository, imageIds=[{"imageTag": "one"}, {"imageTag": "none"}, {"imageDigest": "x"}])
    assert gone["imageIds"] == [{"imageDigest": first, "imageTag": "one"}]
    assert [one["failureCode"] for one in gone["failures"]] == ["ImageNotFound", "InvalidImageDigest"]
    file = idle.data / "registry/blobs" / own.digest[7:9] / own.digest[7:]
    assert file.exists()
    delete(repositoryName=repository, imageIds=[{"imageTag": "two"}])
    assert not file.exists(), "the last tag was the image's end"
    assert client.ask("HEAD", f"/v2/{repository}/blobs/{own.digest}").status == 404
    assert client.pull_blob(repository, shared.digest) == shared.data
    assert refused(ecr.delete_repository, repositoryName=repository)[0] == "RepositoryNotEmptyException"
    assert (
        refused(ecr.describe_images, repositoryName=repository, imageIds=[{"imageDigest": first}])[0]
        == "ImageNotFoundException"
    )
    assert delete(repositoryName=repository, imageIds=[{"imageDigest": second}])["failures"] == []
    ecr.delete_repository(repositoryName=repository)
    ecr.create_repository(repositoryName=repository)
    assert ecr.describe_images(repositoryName=repository)["imageDetails"] == []
    assert refused(ecr.list_images, repositoryName="no/such")[0] == "RepositoryNotFoundException"


def test_a_stack_takes_its_repository_with_it(client: Client, ecr: Any, idle: Sandbox) -> None:
    name = f"stack/{new_id().lower()}"
    repository = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": name}}
    stacks, stack = idle.client("cloudformation"), f"s{new_id().lower()}"
    stacks.create_stack(StackName=stack, TemplateBody=json.dumps({"Resources": {"R": repository}}))
    client.push(name, "v1", layer(("a", "1")))
    stacks.delete_stack(StackName=stack)
    ecr.create_repository(repositoryName=name)
    assert ecr.list_images(repositoryName=name)["imageIds"] == []


def test_many_clients_at_once(idle: Sandbox, ecr: Any, repository: str) -> None:
    """What one deletes is never taken from under the image of another."""
    secret, shared = password(ecr), [layer((f"s{n}", os.urandom(2000))) for n in range(3)]

    def live(number: int) -> int:
        client, api, refusals = Client(idle.endpoint, secret), idle.client("ecr"), 0
        for turn in range(15):
            layers = [shared[(number + turn + n) % 3] for n in range(2)]
            while True:
                try:
                    client.push(repository, f"t{number}", *layers, Env=[f"N={number}"])
                    break
                except AssertionError as error:  # another's deletion was quicker than this one's manifest
                    assert "BLOB_UPLOAD_UNKNOWN" in str(error)  # noqa: PT017 - only sometimes
                    refusals += 1
            body = json.loads(client.ask("GET", f"/v2/{repository}/manifests/t{number}").data)
            for one in (body["config"], *body["layers"]):
                assert digest_of(client.pull_blob(repository, one["digest"])) == one["digest"]
            api.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": f"t{number}"}])
        client.close()
        return refusals

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(live, range(4)))
    assert not [one for one in ecr.list_images(repositoryName=repository)["imageIds"] if "imageTag" in one]


# -- other accounts and regions


def test_registries_are_apart(idle: Sandbox, client: Client, repository: str) -> None:
    client.push(repository, "v1", layer(("a", "1")))
    far = idle.client("ecr", region="eu-west-1")
    far.create_repository(repositoryName=repository)
    assert far.list_images(repositoryName=repository)["imageIds"] == []
    assert Client(idle.endpoint, password(far)).ask("GET", f"/v2/{repository}/manifests/v1").status == 404
    host = f"{idle.account}.dkr.ecr.{idle.region}.amazonaws.com"
    whole = Client(idle.endpoint, password(far)).ask("GET", f"/v2/{host}/{repository}/manifests/v1")
    assert whole.status == 200, "a name may tell the registry"


def test_other_accounts_may_pull_what_a_policy_lets_them(
    idle: Sandbox, client: Client, ecr: Any, repository: str
) -> None:
    one = layer(("a", "1"))
    client.push(repository, "v1", one)
    keys = idle.client("sts").assume_role(RoleArn="arn:aws:iam::210987654321:role/r", RoleSessionName="guest")[
        "Credentials"
    ]
    other = idle.client(
        "ecr",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    guest = Client(idle.endpoint, password(other, registryIds=[idle.account]))
    path = f"/v2/{repository}/manifests/v1"
    assert error_of(guest.ask("GET", path))[:2] == (403, "DENIED")
    assert refused(other.list_images, registryId=idle.account, repositoryName=repository)[0] == "AccessDeniedException"
    pull = ["ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer"]
    statement = {"Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Action": pull}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ecr.set_repository_policy(repositoryName=repository, policyText=policy)
    assert guest.ask("GET", path).status == 200
    assert guest.pull_blob(repository, one.digest) == one.data
    assert guest.ask("POST", f"/v2/{repository}/blobs/uploads/").status == 403
    named = {"registryId": idle.account, "repositoryName": repository, "imageIds": [{"imageTag": "v1"}]}
    assert other.batch_get_image(**named)["images"][0]["imageId"]["imageTag"] == "v1"


# -- over a kill


def test_everything_survives_a_kill_and_an_upload_goes_on(own_idle: Sandbox) -> None:
    ecr = own_idle.client("ecr")
    ecr.create_repository(repositoryName="kept")
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    client = Client(own_idle.endpoint, password(ecr))
    one = layer(("a", os.urandom(5000)))
    digest = client.push("kept", "v1", one)
    address = str(client.ask("GET", f"/v2/kept/blobs/{one.digest}").headers["Location"])
    data = os.urandom(500_000)
    upload = client.ask("POST", "/v2/kept/blobs/uploads/").headers["Location"]
    client.ask("PATCH", upload, data[:200_000])
    (own_idle.data / "registry/arriving/left").write_bytes(b"x")
    own_idle.kill()
    (own_idle.data / "registry/blobs/00").mkdir(exist_ok=True)
    (own_idle.data / f"registry/blobs/00/{'0' * 64}").write_bytes(b"nobody knows it")
    own_idle.restart()
    assert client.ask("GET", "/v2/kept/manifests/v1").headers["Docker-Content-Digest"] == digest
    assert client.plain(address).data == one.data
    assert client.ask("GET", upload).headers["Range"] == "0-199999"
    assert client.ask("PUT", f"{upload}?digest={digest_of(data)}", data[200_000:]).status == 201
    assert client.pull_blob("kept", digest_of(data)) == data
    assert ecr.get_account_setting(name="BLOB_MOUNTING")["value"] == "ENABLED"
    assert ecr.list_images(repositoryName="kept")["imageIds"] == [{"imageDigest": digest, "imageTag": "v1"}]
    assert list((own_idle.data / "registry/arriving").iterdir()) == []
    assert list((own_idle.data / "registry/blobs/00").glob("0" * 64)) == []


def test_killed_in_the_middle_of_uploads_nothing_wrong_is_served(own_idle: Sandbox) -> None:
    own_idle.client("ecr").create_repository(repositoryName="kept")
    secret = password(own_idle.client("ecr"))
    data = os.urandom(60_000_000)
    (own_idle.data / "big").write_bytes(data)
    digest = digest_of(data)
    for pause in (0.02, 0.08, 0.2):
        client = Client(own_idle.endpoint, secret)
        begun = client.ask("POST", "/v2/kept/blobs/uploads/").headers["Location"]
        pusher = subprocess.Popen(
            [sys.executable, "-c", _PUSH, f"{begun}?digest={digest}", client.headers["Authorization"], "big"],
            cwd=own_idle.data,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(pause)  # where in the upload it strikes does not matter
        own_idle.kill()
        pusher.wait(30)
        own_idle.restart()
        head = client.ask("HEAD", f"/v2/kept/blobs/{digest}")
        assert head.status in (200, 404)
        if head.status == 200:
            assert digest_of(client.pull_blob("kept", digest)) == digest
    assert Client(own_idle.endpoint, secret).push_blob("kept", data) == digest


_PUSH = """
import sys, urllib3
body, headers = open(sys.argv[3], "rb"), {"Authorization": sys.argv[2]}
urllib3.PoolManager(retries=False).request("PUT", sys.argv[1], body=body, headers=headers)
"""
