"""Amazon ECR as a container registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.stacks.flavors import Flavor, Option, Problem
from clary.stacks.forms import REGISTRY_FORM, parse_registry, repository_problem


def _registry(value: Any) -> str | None:
    if isinstance(value, str) and parse_registry(value) is not None:
        return None
    return f"expected {REGISTRY_FORM}"


def _repository(value: Any) -> str | None:
    return repository_problem(value) if isinstance(value, str) else "expected the name of a repository"


def _problems(options: Mapping[str, Any]) -> list[Problem]:
    found = parse_registry(options["uri"])
    assert found is not None  # the option's own check has passed
    default = options.get("default_repository")
    if found.repository and default and default != found.repository:
        message = f"differs from the repository in the uri, {found.repository}"
        return [Problem("default_repository", message, "Name the repository in one of the two places.")]
    return []


def _provide(options: Mapping[str, Any]) -> dict[str, Any]:
    found = parse_registry(options["uri"])
    assert found is not None
    repository = found.repository or options.get("default_repository")
    return {"container_registry": f"{found.host}/{repository}" if repository else found.host}


CONTAINER_REGISTRY = Flavor(
    "container_registry",
    "aws",
    "Amazon ECR.",
    (
        Option("uri", f"{REGISTRY_FORM}.", _registry, required=True, metavar="URI"),
        Option("default_repository", "Of images, where the uri names none.", _repository, metavar="REPOSITORY"),
    ),
    _provide,
    _problems,
)
