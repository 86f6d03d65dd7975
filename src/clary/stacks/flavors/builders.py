"""The image builders that a stack can name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clary.stacks.flavors import Flavor, Option, Problem, mapping
from clary.stacks.forms import repository_problem

_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#]*)?")
_JOB = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
"""As much of a Job's name as leaves room for the digest that follows."""
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
"""Source: the Kubernetes API reference, "Quantity", without the rare forms."""
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_TOLERATION = frozenset({"key", "operator", "value", "effect", "tolerationSeconds"})
_LONGEST_BUILD = 86_400


def _provide(flavor: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda options: {"image_builder": {"flavor": flavor, **options}}


def _repository(value: Any) -> str | None:
    return repository_problem(value) if isinstance(value, str) else "expected the name of a repository"


def _between(least: int, most: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        fine = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if fine else f"expected a number from {least} to {most}"

    return check


LAYERS = Flavor(
    "image_builder",
    "layers",
    "Builds layers from wheels, with no daemon.",
    (
        Option(
            "cache_repository",
            "Keeps each layer in this repository of the registry too, from which others mount it.",
            _repository,
            metavar="REPOSITORY",
        ),
        Option(
            "layer_threshold",
            "Bytes of a wheel from which it has a layer of its own.",
            _between(0, 10**12),
            metavar="BYTES",
        ),
        Option("layer_budget", "Most layers with one wheel.", _between(1, 90), metavar="NUMBER"),
    ),
    _provide("layers"),
)


def _context_store(value: Any) -> str | None:
    fine = isinstance(value, str) and _S3.fullmatch(value)
    return None if fine else "expected a place in S3 such as s3://bucket/prefix"


def _image(value: Any) -> str | None:
    fine = isinstance(value, str) and re.fullmatch(r"\S+", value) and "://" not in value
    return None if fine else "expected the name of an image, best with its digest (@sha256:…)"


def _job_name(value: Any) -> str | None:
    fine = isinstance(value, str) and _JOB.fullmatch(value)
    return None if fine else "expected a-z, 0-9 and '-', at most 40 characters"


def _seconds(value: Any) -> str | None:
    fine = isinstance(value, int) and not isinstance(value, bool) and 60 <= value <= _LONGEST_BUILD
    return None if fine else f"expected seconds, 60 to {_LONGEST_BUILD}"


def _resources(value: Any) -> str | None:
    if isinstance(value, Mapping) and all(
        name in _RESOURCES and not isinstance(amount, bool) and _QUANTITY.fullmatch(str(amount))
        for name, amount in value.items()
    ):
        return None
    return f"expected a mapping such as {{cpu: 2, memory: 8Gi}}; the names are {', '.join(_RESOURCES)}"


def _tolerations(value: Any) -> str | None:
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    if listed and all(isinstance(one, Mapping) and one and set(one) <= _TOLERATION for one in value):
        return None
    return "expected a list such as [{key: builds, operator: Exists}]"


def _arguments(value: Any) -> str | None:
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    fine = listed and all(isinstance(one, str) and one.startswith("--") for one in value)
    return None if fine else "expected a list such as [--cache=true]"


def _kaniko_problems(options: Mapping[str, Any]) -> list[Problem]:
    if ("secret_name" in options) == ("secret_key" in options):
        return []
    missing = "secret_key" if "secret_name" in options else "secret_name"
    return [Problem(missing, "is needed too", "Give both, or neither where the service account has a role.")]


def _provide_kaniko(options: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(options)
    if "resources" in made:
        made["resources"] = {name: str(amount) for name, amount in made["resources"].items()}
    return {"image_builder": {"flavor": "kaniko", **made}}


_NOT_HERE = {
    "destination": "Name the registry in the stack: --container-registry.",
    "platform": "Say platform in the image; SageMaker's jobs run on linux/amd64.",
}

DOCKER = Flavor(
    "image_builder",
    "docker",
    "Builds with Docker or BuildKit.",
    (
        Option("network", "The network of the Dockerfile's RUN steps, such as host.", metavar="NETWORK"),
        Option("buildx_builder", "The instance of buildx that builds.", metavar="NAME"),
    ),
    _provide("docker"),
    refused=_NOT_HERE,
)
KANIKO = Flavor(
    "image_builder",
    "kaniko",
    "Builds in a Kubernetes cluster.",
    (
        Option("kubeconfig", "The file that tells of the cluster.", metavar="PATH"),
        Option("kubernetes_context", "The context of the kubeconfig.", metavar="CONTEXT"),
        Option("kubernetes_namespace", "Where the build's Job is made.", aliases=("namespace",), metavar="NAMESPACE"),
        Option("executor_image", "The Kaniko executor to use.", _image, aliases=("kaniko_image",), metavar="IMAGE"),
        Option("executor_args", "Further arguments of the executor.", _arguments, metavar="LIST"),
        Option("service_account_name", "The service account of the build's pod.", metavar="NAME"),
        Option("build_context_store", "Where contexts are put, in S3.", _context_store, metavar="URI"),
        Option("build_job_name", "What the Job's name begins with.", _job_name, metavar="NAME"),
        Option("build_timeout", "Seconds that a build may take.", _seconds, metavar="SECONDS"),
        Option("secret_name", "A Secret with a file of AWS credentials.", metavar="NAME"),
        Option("secret_key", "The key of that file in the Secret.", metavar="KEY"),
        Option("image_pull_secret", "A Secret to pull the executor's image with.", metavar="NAME"),
        Option("resources", "What the build asks for: {cpu: 2, memory: 8Gi}.", _resources, metavar="MAPPING"),
        Option("node_selector", "Labels of the nodes that may build.", mapping, metavar="MAPPING"),
        Option("tolerations", "Taints of nodes that builds bear.", _tolerations, metavar="LIST"),
        Option("labels", "Further labels of the Job and its pod.", mapping, metavar="MAPPING"),
        Option("annotations", "Further annotations of the pod.", mapping, metavar="MAPPING"),
    ),
    _provide_kaniko,
    _kaniko_problems,
    refused={
        **_NOT_HERE,
        "kaniko_config": "Say what is needed by its own option: resources, node_selector, tolerations, executor_args …",
    },
)
NONE = Flavor("image_builder", "none", "Builds nothing: images are used as they are.", (), _provide("none"))
