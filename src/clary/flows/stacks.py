"""Stacks from Python. Each function opens its service by name when it is called: a module that makes its stack and
holds a flow is imported in the job as well, where there are no stacks to make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.errors import UsageError
from clary.flows import outside

if TYPE_CHECKING:
    from clary.stacks.model import Stack

_DOOR = "clary.agent.stacks"
_SAME: Any = object()
"""Stands for an option that is left as it is."""


def create_stack(
    name: str,
    *,
    type: str = "local",  # noqa: A002 the word of the command line and of the file
    artifact_store: str | None = None,
    container_registry: str | None = None,
    region: str | None = None,
    execution_role: str | None = None,
    credentials: str | None = None,
    instance_type: str | list[str] | None = None,
    image: str | None = None,
    endpoint_url: str | None = None,
    image_builder: str | None = None,
    secrets_manager: str | None = None,
    extra: Mapping[str, Mapping[str, Any]] | None = None,
    run_async: bool = False,
    activate: bool = True,
    verify: bool = True,
) -> Stack:
    """Make a stack, as ``clary stack create`` does, and return it.

    Args:
        name: of the stack.
        type: ``local``, ``sagemaker``, or ``sandbox`` (one on the sandbox that ``clary sandbox start`` has started).
        artifact_store: ``s3://BUCKET/PREFIX``; for a local stack a folder.
        container_registry: ECR: host, host with repository, or the repository's ARN.
        region: of AWS.
        execution_role: ARN of the role that jobs run under.
        credentials: such as ``aws-profile:NAME``; None is the AWS chain.
        instance_type: of jobs that name none; a list is tried in order.
        image: of flows that name none.
        endpoint_url: an endpoint in place of AWS's public ones.
        image_builder: a flavor.
        secrets_manager: a flavor.
        extra: further options of a component: ``{"orchestrator": {"volume_size_in_gb": 100}}``.
        run_async: ``clary run`` returns at once.
        activate: make it the current stack.
        verify: look whether the bucket and the role are there, and may be used.

    Raises UsageError and ValidationError with every problem, ConflictError ``stack.name_taken``, NotFoundError for a
    bucket or role that is not there; nothing is stored then.
    """
    options = {
        "type": type,
        "artifact_store": artifact_store,
        "container_registry": container_registry,
        "region": region,
        "execution_role": execution_role,
        "credentials": credentials,
        "instance_type": instance_type,
        "image": image,
        "endpoint_url": endpoint_url,
        "image_builder": image_builder,
        "secrets_manager": secrets_manager,
        "extra": extra,
        "async": run_async or None,
    }
    made: Stack = _door("create_stack()").create(name, options, activate=activate, verify=verify)
    return made


def list_stacks() -> list[Stack]:
    """Return every stack of this machine, ``local`` first."""
    found: list[Stack] = _door("list_stacks()").every()
    return found


def current_stack() -> Stack:
    """Return the stack that a run would use now; raises NotFoundError ``stack.not_found`` if it is gone."""
    found: Stack = _door("current_stack()").current()
    return found


def use_stack(name: str) -> Stack:
    """Make a stack the saved current one and return it; raises NotFoundError ``stack.not_found``."""
    found: Stack = _door("use_stack()").use(name)
    return found


def delete_stack(name: str, *, recursive: bool = False, force: bool = False) -> None:
    """Forget a stack, with ``recursive`` its components too; nothing in AWS is touched.

    Raises NotFoundError ``stack.not_found``, ConflictError ``stack.is_current`` without ``force``.
    """
    _door("delete_stack()").delete(name, recursive=recursive, force=force)


def configure(
    *,
    stack: str | None = _SAME,
    image: str | None = _SAME,
    cache: bool | None = _SAME,
    retries: int | dict[str, Any] | None = _SAME,
    on_change: str | None = _SAME,
    settings: Mapping[str, Any] | None = _SAME,
) -> None:
    """Set options of this process, for runs and flows that say nothing; None takes one back, ``configure()`` all.

    They outrank ``CLARY_*``, the project file and what is saved. In a job this does nothing: what holds there was
    settled when the run was started.

    Args:
        stack: where runs go.
        image: of jobs.
        cache: whether checkpoints that say nothing of it take results of other runs.
        retries: of a flow's body: a count, or fields of ``Retries`` but for ``on``.
        on_change: what a resume does about a recorded call whose code changed: ``error``, ``rerun`` or ``accept``.
        settings: of jobs, such as ``instance_type``.

    Raises ConfigError ``config.wrong_type``; nothing is set then.
    """
    said = {
        "stack": stack,
        "image": image,
        "cache": cache,
        "retries": retries,
        "on_change": on_change,
        "settings": settings,
    }
    values = {name: value for name, value in said.items() if value is not _SAME}
    door = outside.door(_DOOR)
    if door is not None:
        door.configure(values)


def _door(what: str) -> Any:
    door = outside.door(_DOOR)
    if door is not None:
        return door
    raise UsageError(
        "stack.in_job",
        f"A job has no stacks, so {what} can do nothing in it.",
        next_step='Use it outside, under if __name__ == "__main__"; what holds for a run is settled at its start.',
    )
