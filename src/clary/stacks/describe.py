"""A stack in the words it is shown with: one component for each role, with the details that matter."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from clary.stacks.model import LOCAL, Stack

ROLE_TITLES = {"runner": "Runner", "storage": "Storage", "image_registry": "Image registry"}
"""The roles of components, in the order they are shown, with their titles."""


@dataclass(frozen=True)
class Component:
    """One part of a stack."""

    role: str
    """``runner``, ``storage`` or ``image_registry``."""
    name: str
    backend: str
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain data."""
        return asdict(self)


def components(stack: Stack) -> tuple[Component, ...]:
    """Return the parts of a stack, runner first. Details that are not set are left out."""
    if stack.type == LOCAL:
        storage = Component("storage", stack.name, "local", {"location": stack.artifact_store})
        return (Component("runner", stack.name, "local"), storage)
    runner = {
        "region": stack.region,
        "execution_role": stack.execution_role,
        "image": stack.image,
        "endpoint_url": stack.endpoint_url,
        "credentials": stack.credentials,
        **stack.settings,
    }
    parts = [
        Component("runner", stack.name, stack.type, {key: value for key, value in runner.items() if value is not None}),
        Component("storage", stack.name, "s3", {"location": stack.artifact_store}),
    ]
    if stack.container_registry is not None:
        host, _, repository = stack.container_registry.partition("/")
        details = {"location": host} | ({"default_repository": repository} if repository else {})
        parts.append(Component("image_registry", stack.name, "aws", details))
    return tuple(parts)


def resources(stack: Stack) -> dict[str, str]:
    """Return what a new stack stands on, by title, as ``stack create`` shows it."""
    if stack.type == LOCAL:
        return {"Provider": "local", "Artifacts": stack.artifact_store}
    shown = {
        "Provider": "aws",
        "Region": stack.region,
        "Artifacts": stack.artifact_store,
        "Registry": stack.container_registry,
        "Execution role": stack.execution_role,
        "Image": stack.image,
        "Endpoint": stack.endpoint_url,
        "Credentials": stack.credentials,
        "Instance type": stack.settings.get("instance_type"),
    }
    return {title: value for title, value in shown.items() if value}
