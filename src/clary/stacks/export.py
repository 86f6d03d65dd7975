"""A stack as a file that makes it again, just as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.stacks.model import LOCAL, SAGEMAKER

if TYPE_CHECKING:
    from clary.stacks.components import Component
    from clary.stacks.entries import Entry

_FLAVORS = {
    "orchestrator": (LOCAL, SAGEMAKER),
    "artifact_store": (LOCAL, "s3"),
    "container_registry": ("aws",),
}
"""What ``stack create`` makes of plain keys; the flavors of other kinds are keys themselves."""


def document(entry: Entry) -> dict[str, Any]:
    """Return the keys of a stack file that makes this stack.

    A stack that Clary made whole is written with the plain keys of ``stack create``; any other with its components by
    name, which are made where they are missing and shared where they are there and alike. No secret is ever in it:
    a stack holds references only.
    """
    if not entry.managed or any(part.name != entry.stack.name or not _plain(part) for part in entry.components):
        parts = {
            part.kind: {"name": part.name, "flavor": part.flavor, "options": dict(part.options)}
            for part in entry.components
        }
        return {"name": entry.stack.name, "components": parts}
    options = {part.kind: dict(part.options) for part in entry.components}
    found: dict[str, Any] = {"name": entry.stack.name, "type": entry.stack.type}
    found["artifact_store"] = options["artifact_store"].pop("path")
    if entry.stack.type == SAGEMAKER:
        if "container_registry" in options:
            found["container_registry"] = options["container_registry"].pop("uri")
        runner = options["orchestrator"]
        for key in ("region", "execution_role", "credentials", "instance_type", "image", "endpoint_url"):
            if key in runner:
                found[key] = runner.pop(key)
    for part in entry.components:
        if part.kind in ("image_builder", "secrets_manager"):
            found[part.kind] = part.flavor
    if extra := {kind: rest for kind, rest in options.items() if rest}:
        found["extra"] = extra
    return found


def _plain(part: Component) -> bool:
    """Tell whether ``stack create`` would choose the flavor of a component by itself."""
    return part.flavor in _FLAVORS.get(part.kind, (part.flavor,))


def to_yaml(entry: Entry) -> str:
    """Return the stack as YAML for ``clary stack create -f``."""
    import yaml

    if entry.stack.name == LOCAL:
        return "# The stack 'local' is always there; nothing has to be made.\n"
    head = f"# Make this stack with: clary stack create -f FILE   (exported by Clary: {entry.stack.name})\n"
    return head + str(yaml.safe_dump(document(entry), sort_keys=False, allow_unicode=True))
