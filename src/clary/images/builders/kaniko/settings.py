"""How images are built in a cluster: the options of the image builder ``kaniko``, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

EXECUTOR = "ghcr.io/osscontainertools/kaniko:v1.28.3"
"""The maintained fork's (13 August 2026); GoogleContainerTools archived Kaniko in June 2025."""
CONTEXTS = "build-context-store"
"""The folder of the artifact store that holds contexts, where the options name no place."""
JOB_NAME = "clary-image"
TIMEOUT = 3600
"""Seconds that a build may take, waiting for a node and for the executor's image included."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of the flavor ``kaniko``."""

    kubeconfig: str | None = None
    """A file; None: KUBECONFIG, else ~/.kube/config, else the service account of the pod that this runs in."""
    kubernetes_context: str | None = None
    """None: the file's current one."""
    kubernetes_namespace: str | None = None
    """None: the context's, else ``default``."""
    executor_image: str = EXECUTOR
    service_account_name: str | None = None
    """Its role (EKS Pod Identity, IRSA) reads the context and pushes the image. None: the namespace's default."""
    build_context_store: str | None = None
    """``s3://bucket/prefix``; None: the folder ``build-context-store`` of the artifact store."""
    build_job_name: str = JOB_NAME
    """What the Job's name begins with."""
    build_timeout: int = TIMEOUT
    """Seconds."""
    keep_seconds: int = 600
    """Seconds for which a Job that succeeded stays to be looked at."""
    secret_name: str | None = None
    """A Secret of the cluster with a file of AWS credentials, for clusters without roles for service accounts."""
    secret_key: str | None = None
    """The key of that file in the Secret."""
    image_pull_secret: str | None = None
    """A Secret of the cluster that the executor's image is pulled with."""
    resources: Mapping[str, str] = field(default_factory=lambda: {"cpu": "1", "memory": "2Gi"})
    """What the build asks for: ``cpu``, ``memory``, ``ephemeral-storage``. Memory is its limit, too."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    """Further labels of Job and pod."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Further annotations of the pod."""
    executor_args: Sequence[str] = ()
    """Further arguments of the executor."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """Return the settings that a component's options are; ``flavor`` and the like are passed over."""
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in names})
