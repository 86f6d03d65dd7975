"""The image builders that a stack can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clary.stacks.flavors import Flavor, Option


def _provide(flavor: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda options: {"image_builder": {"flavor": flavor, **options}}


LAYERS = Flavor("image_builder", "layers", "Builds layers from wheels, with no daemon.", (), _provide("layers"))
DOCKER = Flavor("image_builder", "docker", "Builds with Docker or BuildKit.", (), _provide("docker"))
KANIKO = Flavor(
    "image_builder",
    "kaniko",
    "Builds in a Kubernetes cluster.",
    (
        Option("kubernetes_context", "The context of the kubeconfig.", metavar="CONTEXT"),
        Option("kubernetes_namespace", "Where the build's Job is made.", aliases=("namespace",), metavar="NAMESPACE"),
        Option("executor_image", "The Kaniko executor to use.", metavar="IMAGE"),
        Option("service_account_name", "The service account of the build's pod.", metavar="NAME"),
    ),
    _provide("kaniko"),
)
NONE = Flavor("image_builder", "none", "Builds nothing: images are used as they are.", (), _provide("none"))
