"""What is asked of a cluster: valid by Kubernetes' own schemas, without secrets, and no more than it needs."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from clary.images.builders.kaniko import manifests
from clary.images.builders.kaniko.manifests import Task
from clary.images.builders.kaniko.settings import EXECUTOR, Settings

TARGET = "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/images:clary-0123456789abcdef"
FULL = Settings(
    executor_image="registry.example/kaniko@sha256:" + "a" * 64,
    service_account_name="image-builder",
    build_job_name="Team_Builds",
    build_timeout=1200,
    keep_seconds=60,
    secret_name="aws",
    secret_key="file",
    image_pull_secret="pull",
    resources={"cpu": "2", "memory": "8Gi", "ephemeral-storage": "20Gi"},
    node_selector={"pool": "builds"},
    tolerations=[{"key": "builds", "operator": "Exists", "effect": "NoSchedule"}],
    labels={"team": "ml"},
    annotations={"note": "x"},
    executor_args=["--cache=true"],
)


def task(**changes: Any) -> Task:
    said = {
        "target": TARGET,
        "tags": ["123456789012.dkr.ecr.us-east-1.amazonaws.com/team/images:latest"],
        "context": "s3://bucket/build-context-store/x.tar.gz",
        "dockerfile": "Dockerfile",
        "platform": "linux/amd64",
        "labels": {"b": "two\nlines", "a": 'q"uote'},
        "arguments": {"clary_newline": "\n"},
        "environment": {"AWS_REGION": "us-east-1"},
    }
    return Task(**{**said, **changes})


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("version", ["1.28", "1.34", "1.37"])
@pytest.mark.parametrize("settings", [Settings(), FULL], ids=["plain", "full"])
def test_every_manifest_is_valid_in_every_supported_version(settings: Settings, version: str) -> None:
    job = manifests.job(settings, "builds", task(secrets=["TOKEN"], own_dockerfile=True))
    secret = manifests.secret(manifests.job_name(settings, TARGET), "builds", "some-uid", {"TOKEN": "x"})
    for one in (job, secret, manifests.rbac("builds"), manifests.rbac("builds", secrets=False)):
        kubernetes_validate.validate(one, version, strict=True)


def test_a_job_runs_once_and_goes_by_itself() -> None:
    spec = manifests.job(FULL, "builds", task())["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 1200, 60)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_executor_is_told_what_to_build() -> None:
    made = container(manifests.job(Settings(), "builds", task()))
    assert made["image"] == EXECUTOR
    assert made["args"] == [
        "--context=s3://bucket/build-context-store/x.tar.gz",
        "--dockerfile=Dockerfile",
        f"--destination={TARGET}",
        "--destination=123456789012.dkr.ecr.us-east-1.amazonaws.com/team/images:latest",
        "--digest-file=/dev/termination-log",
        "--log-format=text",
        "--image-format=docker",
        '--label=a=q"uote',
        "--label=b=two\nlines",
        "--build-arg=clary_newline=\n",
    ]
    assert made["env"] == [{"name": "AWS_REGION", "value": "us-east-1"}]
    assert made["terminationMessagePath"] == "/dev/termination-log"


def test_the_archived_executor_is_not_given_an_option_that_it_does_not_know() -> None:
    old = Settings(executor_image="gcr.io/kaniko-project/executor:v1.11.0")
    assert "--image-format=docker" not in container(manifests.job(old, "builds", task()))["args"]


def test_what_is_set_reaches_the_pod() -> None:
    job = manifests.job(FULL, "builds", task())
    pod, made = job["spec"]["template"]["spec"], container(job)
    assert made["image"] == FULL.executor_image
    assert made["args"][-1] == "--cache=true"
    assert pod["serviceAccountName"] == "image-builder"
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "pool": "builds"}
    assert pod["tolerations"] == [{"key": "builds", "operator": "Exists", "effect": "NoSchedule"}]
    assert made["resources"]["limits"] == {"memory": "8Gi"}
    assert job["metadata"]["labels"]["team"] == job["spec"]["template"]["metadata"]["labels"]["team"] == "ml"
    assert job["spec"]["template"]["metadata"]["annotations"]["note"] == "x"
    assert {"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/kaniko/aws/credentials"} in made["env"]
    assert pod["volumes"][0]["secret"] == {"secretName": "aws", "items": [{"key": "file", "path": "credentials"}]}


def test_a_pod_has_few_rights() -> None:
    job = manifests.job(Settings(), "builds", task())
    pod, made = job["spec"]["template"]["spec"], container(job)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert made["securityContext"]["privileged"] is made["securityContext"]["allowPrivilegeEscalation"] is False
    assert made["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert "SYS_ADMIN" not in made["securityContext"]["capabilities"]["add"]


def test_an_arm_image_is_built_on_an_arm_node() -> None:
    pod = manifests.job(Settings(), "builds", task(platform="linux/arm64"))["spec"]["template"]["spec"]
    assert pod["nodeSelector"]["kubernetes.io/arch"] == "arm64"


def test_secrets_travel_in_a_secret_of_the_job_alone() -> None:
    name = manifests.job_name(Settings(), TARGET)
    job = manifests.job(Settings(), "builds", task(secrets=["TOKEN"]))
    secret = manifests.secret(name, "builds", "some-uid", {"TOKEN": "s3cret"})
    assert job["spec"]["template"]["spec"]["volumes"] == [
        {"name": "build-secrets", "secret": {"secretName": name, "defaultMode": 0o400}}
    ]
    assert container(job)["volumeMounts"][0]["mountPath"] == "/kaniko/clary"
    assert not any("--secret" in word for word in container(job)["args"]), "the plain Dockerfile reads the files itself"
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", name, "some-uid")
    assert secret["stringData"] == {"TOKEN": "s3cret"}
    assert "s3cret" not in json.dumps(job)


def test_a_dockerfile_of_ones_own_gets_secrets_by_its_mounts() -> None:
    job = manifests.job(Settings(), "builds", task(secrets=["TOKEN"], own_dockerfile=True))
    assert "--secret=id=TOKEN,src=/kaniko/clary/TOKEN" in container(job)["args"]


def test_a_jobs_name_follows_from_the_image() -> None:
    name = manifests.job_name(FULL, TARGET)
    assert name == manifests.job_name(FULL, TARGET)
    assert name.startswith("team-builds-")
    assert name != manifests.job_name(FULL, TARGET + "0")
    long = manifests.job_name(Settings(build_job_name="-" + "x" * 80 + "-"), TARGET)
    assert len(long) <= 63
    assert manifests.job_name(Settings(build_job_name="_"), TARGET).startswith("image-")


def test_without_secrets_the_role_may_not_touch_any() -> None:
    assert all("secrets" not in rule["resources"] for rule in manifests.rbac("builds", secrets=False)["rules"])
