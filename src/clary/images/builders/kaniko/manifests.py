"""What is asked of the cluster: the Job, the Secret, and the least role that may make them. Pure.

Sources: the Kubernetes API reference (batch/v1 Job, v1 Pod, v1 Secret, rbac.authorization.k8s.io/v1 Role), the Pod
Security Standards' level *baseline*, and the README of osscontainertools/kaniko at v1.28.3.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.images.builders.dockerfile import PLAIN_SECRETS
from clary.images.platforms import Platform

if TYPE_CHECKING:
    from clary.images.builders.kaniko.settings import Settings

Manifest = dict[str, Any]
CONTAINER = "kaniko"
TARGET_LABEL = "clary/target"
"""Carries a digest of the image's name: by it a Job is known to build that image."""
_MANAGED = {"app.kubernetes.io/managed-by": "clary", "app.kubernetes.io/component": "image-builder"}
_UNDISTURBED = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
"""A build that is moved to another node begins anew; with no retries it is lost."""
_CREDENTIALS = "/kaniko/aws"
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETUID", "SYS_CHROOT")
"""What unpacking a base and installing packages need; all are within the level *baseline*."""
_ARCHIVED = "gcr.io/kaniko-project/"
"""Executors whose images begin so are of the archived project, and know no --image-format."""
_LONGEST_PREFIX = 40


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one Job builds."""

    target: str
    """The image's name, with its tag."""
    tags: Sequence[str] = ()
    """Further names of the image."""
    context: str
    """``s3://bucket/key`` of the packed context."""
    dockerfile: str
    """Its path in the context."""
    platform: str
    labels: Mapping[str, str]
    arguments: Mapping[str, str]
    secrets: Sequence[str] = ()
    """Names of the build's secrets."""
    own_dockerfile: bool = False
    """Whether the Dockerfile is somebody's own, which asks for secrets by mounts."""
    environment: Mapping[str, str]
    """Of the executor: region and endpoint of S3."""


def job_name(settings: Settings, target: str) -> str:
    """Return the name of the Job that builds ``target``: the same each time, so that nothing is built twice at once."""
    prefix = re.sub(r"[^a-z0-9-]+", "-", settings.build_job_name.lower()).strip("-")[:_LONGEST_PREFIX].rstrip("-")
    return f"{prefix or 'image'}-{_digest(target)[:16]}"


def target_label(target: str) -> str:
    """Return the value of ``TARGET_LABEL`` for an image's name."""
    return _digest(target)[:40]


def job(settings: Settings, namespace: str, task: Task) -> Manifest:
    """Return the Job that builds a task."""
    labels = {**settings.labels, **_MANAGED, TARGET_LABEL: target_label(task.target)}
    metadata = {"name": job_name(settings, task.target), "namespace": namespace, "labels": labels}
    annotations = {**_UNDISTURBED, **settings.annotations, "clary/image": task.target}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": settings.build_timeout,
            "ttlSecondsAfterFinished": settings.keep_seconds,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod(settings, task),
            },
        },
    }


def secret(name: str, namespace: str, uid: str, values: Mapping[str, str]) -> Manifest:
    """Return the Secret of a build's secrets; it belongs to the Job with this ``uid`` and goes when that goes."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": _MANAGED, "ownerReferences": [owner]},
        "type": "Opaque",
        "immutable": True,
        "stringData": dict(values),
    }


def rbac(namespace: str, *, secrets: bool = True) -> Manifest:
    """Return the least Role for whoever builds in ``namespace``; ``secrets`` is for builds that have secrets."""
    rules = [
        _rule("batch", "jobs", "create", "get", "delete"),
        _rule("", "pods", "list", "watch"),
        _rule("", "pods/log", "get"),
    ]
    if secrets:
        rules.append(_rule("", "secrets", "create", "delete"))
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "clary-image-builder", "namespace": namespace},
        "rules": rules,
    }


def _rule(group: str, resource: str, *verbs: str) -> Manifest:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pod(settings: Settings, task: Task) -> Manifest:
    volumes = list(_volumes(settings, task))
    architecture = Platform.parse(task.platform).architecture
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,  # the steps of a Dockerfile have no business with the cluster
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": architecture, **settings.node_selector},
        "containers": [_container(settings, task)],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    if volumes:
        spec["volumes"] = volumes
    if settings.tolerations:
        spec["tolerations"] = [dict(one) for one in settings.tolerations]
    if settings.service_account_name:
        spec["serviceAccountName"] = settings.service_account_name
    if settings.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.image_pull_secret}]
    return spec


def _container(settings: Settings, task: Task) -> Manifest:
    environment = dict(task.environment)
    if settings.secret_name:
        environment["AWS_SHARED_CREDENTIALS_FILE"] = f"{_CREDENTIALS}/credentials"
    memory = {name: value for name, value in settings.resources.items() if name == "memory"}
    resources = {"requests": dict(settings.resources), **({"limits": memory} if memory else {})}
    made: Manifest = {
        "name": CONTAINER,
        "image": settings.executor_image,
        "args": list(_arguments(settings, task)),
        "env": [{"name": name, "value": value} for name, value in sorted(environment.items())],
        "resources": resources,
        "securityContext": {
            "runAsUser": 0,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": list(_CAPABILITIES)},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    if mounts := list(_mounts(settings, task)):
        made["volumeMounts"] = mounts
    return made


def _arguments(settings: Settings, task: Task) -> Iterator[str]:
    yield from (f"--context={task.context}", f"--dockerfile={task.dockerfile}")
    yield from (f"--destination={name}" for name in (task.target, *task.tags))
    yield from ("--digest-file=/dev/termination-log", "--log-format=text")
    if not settings.executor_image.startswith(_ARCHIVED):
        yield "--image-format=docker"
    yield from (f"--label={name}={value}" for name, value in sorted(task.labels.items()))
    yield from (f"--build-arg={name}={value}" for name, value in sorted(task.arguments.items()))
    if task.own_dockerfile:
        yield from (f"--secret=id={name},src={PLAIN_SECRETS}/{name}" for name in sorted(task.secrets))
    yield from settings.executor_args


def _volumes(settings: Settings, task: Task) -> Iterator[Manifest]:
    if task.secrets:
        source = {"secretName": job_name(settings, task.target), "defaultMode": 0o400}
        yield {"name": "build-secrets", "secret": source}
    if settings.secret_name:
        item = {"key": settings.secret_key, "path": "credentials"}
        yield {"name": "aws-credentials", "secret": {"secretName": settings.secret_name, "items": [item]}}


def _mounts(settings: Settings, task: Task) -> Iterator[Manifest]:
    if task.secrets:
        yield {"name": "build-secrets", "mountPath": PLAIN_SECRETS, "readOnly": True}
    if settings.secret_name:
        yield {"name": "aws-credentials", "mountPath": _CREDENTIALS, "readOnly": True}
