"""Stacks, secrets and defaults in Kitaru's shape."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary import flows
from clary.kitaru.checkpoints import refuse
from clary.kitaru.errors import translated
from clary.kitaru.images import ImageInput, dumped, image_of

if TYPE_CHECKING:
    from clary.stacks.model import Stack

_UNSET: Any = object()
_configured: dict[str, Any] = {}
"""What was given to ``configure()``, as it was given."""


@dataclass(frozen=True)
class StackInfo:
    """One stack."""

    id: str
    name: str
    is_active: bool

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return it as plain data; the options are pydantic's ``include``, ``exclude``, ``exclude_none``, ``mode``."""
        return dumped(self, options)


@dataclass(frozen=True)
class SecretSummary:
    """One secret, without what it holds."""

    name: str
    id: str
    private: bool
    keys: list[str]
    has_missing_values: bool = False


@dataclass(frozen=True, repr=False)
class Secret:
    """One secret, with what it holds."""

    name: str
    id: str
    values: dict[str, str]
    private: bool | None = None

    def get(self, key: str, default: str | None = None) -> str | None:
        """Return the value of a key."""
        return self.values.get(key, default)

    def __repr__(self) -> str:
        return f"<secret {self.name}: {', '.join(sorted(self.values))}>"


@dataclass(frozen=True)
class KitaruConfig:
    """What ``configure()`` has set in this process."""

    stack: str | None = None
    image: ImageInput | None = None
    cache: bool | None = None
    retries: int | None = None


def configure(
    *,
    stack: str | None = _UNSET,
    image: ImageInput | None = _UNSET,
    cache: bool | None = _UNSET,
    retries: int | None = _UNSET,
    llm_estimated_costs: str | None = None,
    project: str | None = None,
) -> KitaruConfig:
    """Set defaults of this process; None takes one back. ``project`` and costs of models have no meaning here."""
    if project is not None:
        refuse("configure(project=)", "Clary has no projects.", "Keep apart by stacks: each has its own runs.")
    if llm_estimated_costs not in (None, "off"):
        refuse("configure(llm_estimated_costs=)", "Clary calls no models.", "Leave it out.")
    given_here = {"stack": stack, "image": image, "cache": cache, "retries": retries}
    said: dict[str, Any] = {"stack": stack, "cache": cache, "retries": retries}
    if image is not _UNSET:
        said["image"], settings = image_of(image)
        if settings:
            said["settings"] = settings
    given = {name: value for name, value in said.items() if value is not _UNSET}
    with translated():
        if given:
            flows.configure(**given)
    _configured.update({name: value for name, value in given_here.items() if value is not _UNSET})
    return KitaruConfig(**_configured)


def connect(server_url: str, **_options: Any) -> None:
    """Not here: raises KitaruFeatureNotAvailableError."""
    refuse(
        f"connect({server_url!r})",
        "flows need no server: a stack's bucket is enough, and whoever may read it sees its runs.",
        "Take the call out, and make a stack: clary stack create NAME --type sagemaker ….",
    )


def list_stacks() -> list[StackInfo]:
    """Return every stack of this machine."""
    with translated():
        active = flows.current_stack().name
        return [_info(stack, active) for stack in flows.list_stacks()]


def current_stack() -> StackInfo:
    """Return the stack that an execution would use now."""
    with translated():
        stack = flows.current_stack()
    return _info(stack, stack.name)


def use_stack(name_or_id: str) -> StackInfo:
    """Make a stack the saved current one."""
    with translated():
        stack = flows.use_stack(name_or_id)
    return _info(stack, stack.name)


def create_stack(name: str, *, activate: bool = True, labels: dict[str, str] | None = None) -> StackInfo:
    """Make a local stack, as Kitaru's does; ``clary.create_stack`` makes those of every type."""
    if labels:
        refuse("create_stack(labels=)", "stacks have no labels.", "Leave them out.")
    with translated():
        stack = flows.create_stack(name, activate=activate)
        return _info(stack, flows.current_stack().name)


def delete_stack(name_or_id: str, *, recursive: bool = False, force: bool = False) -> None:
    """Forget a stack; nothing in AWS is touched."""
    with translated():
        flows.delete_stack(name_or_id, recursive=recursive, force=force)


def create_secret(name: str, values: Mapping[str, Any], *, private: bool = False) -> SecretSummary:
    """Make a secret where the current stack keeps them; ``private`` marks it as yours."""
    with translated():
        stack = flows.current_stack()
        owner = _agent_secrets().maker(stack, None) if private else None
        held = {key: str(value) for key, value in values.items()}
        importlib.import_module("clary.secrets.changes").create(_secrets(), name, held, private_to=owner)
    return SecretSummary(name, name, private, sorted(held))


def get_secret(name_or_id: str) -> Secret:
    """Return a secret with what it holds."""
    with translated():
        return Secret(name_or_id, name_or_id, dict(_secrets().read(name_or_id)))


def list_secrets() -> list[SecretSummary]:
    """Return every secret of the current stack, with its keys."""
    with translated():
        store = _secrets()
        return [
            SecretSummary(one.name, one.name, one.private_to is not None, sorted(store.read(one.name)))
            for one in store.entries()
        ]


def delete_secret(name_or_id: str) -> SecretSummary:
    """Delete a secret; AWS keeps it for a while, in which it can be brought back."""
    with translated():
        store = _secrets()
        keys = sorted(store.read(name_or_id))
        store.delete(name_or_id)
    return SecretSummary(name_or_id, name_or_id, private=False, keys=keys)


def _info(stack: Stack, active: str) -> StackInfo:
    return StackInfo(stack.name, stack.name, stack.name == active)


def _agent_secrets() -> Any:
    return importlib.import_module("clary.agent.secrets")


def _secrets() -> Any:
    return _agent_secrets().open_secrets(flows.current_stack(), None)
