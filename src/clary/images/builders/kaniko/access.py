"""The way to the cluster: a kubeconfig's context, or the service account of the pod that this runs in."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import ConfigError, nearest
from clary.images.builders.kaniko.cluster import Cluster

if TYPE_CHECKING:
    from clary.images.builders.kaniko.settings import Settings

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def open_cluster(settings: Settings, pause: Callable[[float], None] = time.sleep) -> Cluster:
    """Return the namespace where builds run; nothing is called yet.

    Raises ConfigError ``image.kaniko_missing`` (the client is not installed), ``image.no_cluster``.
    """
    try:
        from kubernetes import client
    except ImportError:
        raise ConfigError(
            "image.kaniko_missing",
            "The builder kaniko needs the package kubernetes, which is not installed.",
            next_step="Install it: pip install 'clary[kaniko]'.",
            field="image.builder",
        ) from None
    configuration = client.Configuration()
    configuration.retries = False  # faults are tried again here, and told
    usual = _configured(settings, configuration)
    api = client.ApiClient(configuration)
    namespace = settings.kubernetes_namespace or usual or "default"
    return Cluster(client.BatchV1Api(api), client.CoreV1Api(api), namespace, pause)


def _configured(settings: Settings, configuration: Any) -> str | None:
    """Fill the configuration in; return the context's namespace."""
    config: Any = importlib.import_module("kubernetes.config")  # it has no types
    inside = "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
    named = settings.kubeconfig or settings.kubernetes_context
    try:
        if inside and not named:
            config.load_incluster_config(configuration)
            return (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        contexts, current = config.list_kube_config_contexts(settings.kubeconfig)
        chosen = _chosen(contexts, current, settings.kubernetes_context)
        config.load_kube_config(settings.kubeconfig, chosen["name"], configuration, persist_config=False)
    except (config.ConfigException, OSError) as error:
        raise _no_cluster(" ".join(str(error).split())) from error
    found = (chosen.get("context") or {}).get("namespace")
    return str(found) if found else None


def _chosen(contexts: list[Any], current: Any, wanted: str | None) -> Any:
    if wanted is None:
        return current
    for one in contexts:
        if one["name"] == wanted:
            return one
    names = [str(one["name"]) for one in contexts]
    meant = nearest(wanted, names)
    step = f"Did you mean {meant!r}?" if meant else f"It has: {', '.join(names)}."
    raise _no_cluster(f"the kubeconfig has no context {wanted!r}", step)


def _no_cluster(reason: str, step: str | None = None) -> ConfigError:
    return ConfigError(
        "image.no_cluster",
        f"No Kubernetes cluster is known: {reason}.",
        next_step=step
        or "Name a file and a context that `kubectl` can use: kubeconfig and kubernetes_context of the image builder.",
        field="image_builder.kubernetes_context",
    )
