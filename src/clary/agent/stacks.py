"""What ``clary.create_stack`` and its kin do: the way from Python into the services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.errors import NotFoundError
from clary.settings import layers
from clary.stacks import forms, service
from clary.stacks.draft import wish
from clary.stacks.model import SANDBOX, Stack
from clary.stacks.rules import Place

if TYPE_CHECKING:
    from collections.abc import Mapping


def create(name: str, options: Mapping[str, Any], *, activate: bool, verify: bool) -> Stack:
    """Make a stack; ``options`` have the keys of a stack file. Raises as ``service.create``."""
    wished = wish(name, options)
    from clary.agent.verified import verify as look

    place = _place() if wished.draft.type == SANDBOX else None
    return service.create(wished.draft, activate=activate, verify=look if verify else None, place=place).entry.stack


def every() -> list[Stack]:
    """Return every stack."""
    return [entry.stack for entry in service.listing().entries]


def current() -> Stack:
    """Return the stack that a run would use now."""
    return service.resolve()


def use(name: str) -> Stack:
    """Make a stack the saved current one."""
    return service.use(name)[0].stack


def delete(name: str, *, recursive: bool, force: bool) -> None:
    """Forget a stack."""
    service.delete(name, recursive=recursive, force=force)


def configure(values: Mapping[str, Any]) -> None:
    """Set defaults of this process."""
    layers.configure(values)


def _place() -> Place | None:
    """Return where the stack ``sandbox`` points, which whoever starts the sandbox keeps up to date."""
    try:
        stack = service.find(SANDBOX).stack
    except NotFoundError:
        return None
    registry = forms.parse_registry(stack.container_registry or "")
    assert stack.endpoint_url
    assert stack.execution_role
    assert stack.region
    assert registry
    return Place(
        endpoint_url=stack.endpoint_url,
        bucket=forms.bucket_of(stack.artifact_store),
        execution_role=stack.execution_role,
        account=registry.account,
        region=stack.region,
        scheduler_role=stack.scheduler_role,
        credentials=stack.credentials,
        image=stack.image,
    )
