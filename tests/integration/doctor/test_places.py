"""The bucket, the registry and its image, the logs: broken in every way that they break."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from clary.doctor.findings import Status
from clary.ids import new_id
from integration.doctor.conftest import Bending, Headers, applies, look
from oci_images import DOCKER_MANIFEST, OCI_INDEX, Client, password
from scripted_aws import ScriptedAws, refusal

if TYPE_CHECKING:
    from clary import testing
    from clary.stacks.model import Stack


def test_a_bucket_that_is_gone_fails_with_the_command_that_makes_it(stack: Stack, sandbox: testing.Sandbox) -> None:
    bucket, s3 = f"gone-{new_id().lower()}", sandbox.client("s3")
    s3.create_bucket(Bucket=bucket)
    changed = {"artifact_store": f"s3://{bucket}/x"}
    assert look("bucket", stack, **changed).status is Status.OK
    s3.delete_bucket(Bucket=bucket)
    found = look("bucket", stack, **changed)
    assert found.status is Status.FAILED
    assert f"aws s3 mb s3://{bucket}" in str(found.fix)
    assert look("bucket-write", stack, **changed).status is Status.FAILED


def test_a_bucket_of_another_region_fails(stack: Stack, sandbox: testing.Sandbox) -> None:
    bucket = f"far-{new_id().lower()}"
    where = {"LocationConstraint": "eu-west-1"}
    sandbox.client("s3", region="eu-west-1").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    found = look("bucket", stack, artifact_store=f"s3://{bucket}/x")
    assert found.status is Status.FAILED
    assert "eu-west-1" in found.summary


def test_the_write_test_leaves_nothing_behind(stack: Stack, sandbox: testing.Sandbox) -> None:
    assert look("bucket-write", stack).status is Status.OK
    prefix = stack.artifact_store.removeprefix(f"s3://{sandbox.bucket}/")
    assert "Contents" not in sandbox.client("s3").list_objects_v2(Bucket=sandbox.bucket, Prefix=prefix)


def test_the_write_test_works_at_the_root_of_a_bucket(stack: Stack, sandbox: testing.Sandbox) -> None:
    bucket = f"root-{new_id().lower()}"
    sandbox.client("s3").create_bucket(Bucket=bucket)
    assert look("bucket-write", stack, artifact_store=f"s3://{bucket}").status is Status.OK


def test_a_store_that_ignores_conditions_fails(stack: Stack) -> None:
    def unconditional(headers: Headers) -> Headers:
        return [(name, value) for name, value in headers if name.lower() != "if-none-match"]

    with Bending(stack.endpoint_url or "", request=unconditional) as proxy:
        found = look("bucket-write", stack, endpoint_url=proxy.endpoint)
    assert found.status is Status.FAILED
    assert "If-None-Match" in found.summary


def test_a_conflict_of_conditional_writes_is_a_refusal_as_well(stack: Stack, sandbox: testing.Sandbox) -> None:
    """S3 answers 409 where two such writes meet; a second write that is refused so is refused."""
    from clary.doctor.bucket import _TAKEN

    assert {"PreconditionFailed", "ConditionalRequestConflict"} <= _TAKEN


def test_keys_are_looked_at(stack: Stack, sandbox: testing.Sandbox) -> None:
    assert look("encryption", stack).status is Status.OK
    kms = sandbox.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    settings = {"settings": {"output_kms_key": key}}
    assert key in look("encryption", stack, **settings).summary
    kms.disable_key(KeyId=key)
    disabled = look("encryption", stack, **settings)
    assert disabled.status is Status.FAILED
    assert f"aws kms enable-key --key-id {key}" in str(disabled.fix)
    kms.schedule_key_deletion(KeyId=key)
    assert "cancel-key-deletion" in str(look("encryption", stack, **settings).fix)
    missing = look("encryption", stack, settings={"volume_kms_key": "00000000-0000-0000-0000-000000000000"})
    assert missing.status is Status.FAILED


def test_the_key_of_the_bucket_is_looked_at(stack: Stack, sandbox: testing.Sandbox) -> None:
    bucket, s3, kms = f"kept-{new_id().lower()}", sandbox.client("s3"), sandbox.client("kms")
    s3.create_bucket(Bucket=bucket)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    kms.disable_key(KeyId=key)
    found = look("encryption", stack, artifact_store=f"s3://{bucket}/x")
    assert found.status is Status.FAILED
    assert f"of the bucket {bucket}" in found.summary


# -- the registry


def registry(sandbox: testing.Sandbox, repository: str = "", *, region: str | None = None) -> str:
    host = f"{sandbox.account}.dkr.ecr.{region or sandbox.region}.amazonaws.com"
    return f"{host}/{repository}" if repository else host


def test_a_repository_that_is_missing_comes_with_the_command(stack: Stack, sandbox: testing.Sandbox) -> None:
    assert look("repository", stack).status is Status.OK
    found = look("repository", stack, container_registry=registry(sandbox, "not/there"))
    assert found.status in (Status.FAILED, Status.WARNING)  # a warning where the caller may make it
    assert "aws ecr create-repository --repository-name not/there" in str(found.fix)


def test_a_registry_of_another_region_fails(stack: Stack, sandbox: testing.Sandbox) -> None:
    found = look("repository", stack, container_registry=registry(sandbox, "clary", region="eu-west-1"))
    assert found.status is Status.FAILED
    assert "eu-west-1" in found.summary


def test_without_a_repository_those_of_other_tools_are_looked_for(stack: Stack, sandbox: testing.Sandbox) -> None:
    bare = {"container_registry": registry(sandbox)}
    lacking = look("repository", stack, **bare)
    assert lacking.status is Status.WARNING
    for word in ("zenml", "kitaru", "default_repository"):
        assert word in lacking.summary
    ecr = sandbox.client("ecr")
    ecr.create_repository(repositoryName="zenml")
    try:
        found = look("repository", stack, **bare)
        assert (found.status, "zenml" in found.summary) == (Status.OK, True)
    finally:
        ecr.delete_repository(repositoryName="zenml")


def test_other_registries_are_left_alone(stack: Stack) -> None:
    assert not applies("repository", stack, container_registry="ghcr.io/team")
    assert not applies("registry-sign-in", stack, container_registry=None)
    assert not applies("image", stack, image=None)


def test_signing_in_to_the_registry(stack: Stack) -> None:
    assert look("registry-sign-in", stack).status is Status.OK


def _push(sandbox: testing.Sandbox, tag: str, *platforms: str) -> str:
    """Push a list of manifests with an image of no layers for each platform."""
    client = Client(sandbox.endpoint, password(sandbox.client("ecr")))
    entries = []
    for platform in platforms:
        os, _, architecture = platform.partition("/")
        digest = client.push("clary", f"{tag}-{architecture}", architecture=architecture)
        size = len(client.ask("GET", f"/v2/clary/manifests/{digest}").data)
        platform_said = {"os": os, "architecture": architecture}
        entries.append({"mediaType": DOCKER_MANIFEST, "digest": digest, "size": size, "platform": platform_said})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    sandbox.client("ecr").put_image(repositoryName="clary", imageTag=tag, imageManifest=json.dumps(index))
    client.close()
    return registry(sandbox, f"clary:{tag}")


def test_the_image_must_be_there_and_for_the_machines(stack: Stack, sandbox: testing.Sandbox) -> None:
    assert look("image", stack).status is Status.OK
    both = _push(sandbox, "both", "linux/arm64", "linux/amd64", "unknown/unknown")
    assert look("image", stack, image=both).status is Status.OK
    arm = look("image", stack, image=_push(sandbox, "arm", "linux/arm64"))
    assert arm.status is Status.FAILED
    assert "linux/arm64" in arm.summary
    assert "--platform linux/amd64" in str(arm.fix)
    for missing in ("clary:nothing", "nowhere:x"):
        found = look("image", stack, image=registry(sandbox, missing))
        assert (found.status, "does not exist" in found.summary) == (Status.FAILED, True)
    assert look("image", stack, image="python:3.13").status is Status.UNCHECKED
    far = look("image", stack, image=registry(sandbox, "clary:x", region="eu-west-1"))
    assert far.status is Status.FAILED


@contextmanager
def _blobs(config: dict[str, Any]) -> Iterator[str]:
    """Serve the configuration of an image, as S3 does for ECR."""
    body = json.dumps(config).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/config"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("architecture", "status"), [("amd64", Status.OK), ("arm64", Status.FAILED)])
def test_the_architecture_of_a_single_image_is_in_its_configuration(
    stack: Stack, architecture: str, status: Status
) -> None:
    """The address of the configuration is ECR's to say, so a scripted one answers here."""
    manifest = json.dumps({"schemaVersion": 2, "config": {"digest": "sha256:" + "1" * 64}, "layers": []})
    config = {"os": "linux", "architecture": architecture}
    with ScriptedAws().serving() as ecr, _blobs(config) as url:
        ecr.answers("BatchGetImage", (200, {"images": [{"imageManifest": manifest}]}))
        ecr.answers("GetDownloadUrlForLayer", (200, {"downloadUrl": url, "layerDigest": "sha256:1"}))
        assert look("image", stack, endpoint_url=ecr.url).status is status


def test_an_image_that_may_not_be_looked_at_says_which_right_is_missing(stack: Stack) -> None:
    with ScriptedAws().serving() as ecr:
        ecr.answers("BatchGetImage", refusal("AccessDeniedException", "no"))
        found = look("image", stack, endpoint_url=ecr.url)
    assert (found.status, found.permission) == (Status.UNCHECKED, "ecr:BatchGetImage")


# -- the logs


def test_how_long_logs_are_kept_is_told(stack: Stack, sandbox: testing.Sandbox) -> None:
    logs, group = sandbox.client("logs"), "/aws/sagemaker/TrainingJobs"
    assert look("log-retention", stack).status is Status.OK
    logs.create_log_group(logGroupName=group)
    try:
        unlimited = look("log-retention", stack)
        assert (unlimited.status, "put-retention-policy" in str(unlimited.fix)) == (Status.OK, True)
        logs.put_retention_policy(logGroupName=group, retentionInDays=30)
        assert "30 days" in look("log-retention", stack).summary
    finally:
        logs.delete_log_group(logGroupName=group)
