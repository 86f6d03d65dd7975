"""A stack in the words it is shown with: its components, every setting that holds and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from clary.stacks.flavors import KINDS, title_of
from clary.stacks.model import LOCAL, Stack

if TYPE_CHECKING:
    from clary.stacks.components import Component
    from clary.stacks.entries import Entry

DEFAULT = "default"
"""The origin of what no component sets."""

_NOT_SETTINGS = frozenset({"name", "type", "settings", "secrets", "image_builder"})


@dataclass(frozen=True)
class Shown:
    """One component as it is shown."""

    role: str
    """``runner``, ``storage``, ``image_registry``, ``image_builder`` or ``additional_component``."""
    title: str
    name: str
    backend: str
    details: dict[str, Any] = field(default_factory=dict)
    id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Setting:
    """One setting that holds for runs on a stack."""

    name: str
    value: Any
    origin: str
    """The component that sets it, such as ``orchestrator prod``, or ``default``."""


@dataclass(frozen=True)
class Difference:
    """One thing in which two stacks differ; None is what one of them does not have."""

    name: str
    left: Any
    right: Any


def components(entry: Entry) -> tuple[Shown, ...]:
    """Return the parts of a stack, runner first."""
    return tuple(_shown(component) for component in entry.components)


def _shown(component: Component) -> Shown:
    kind = KINDS[component.kind]
    details = dict(component.options)
    if component.kind == "artifact_store":
        details.pop("path", None)
        details = {"location": component.provides["artifact_store"], **details}
    elif component.kind == "container_registry":
        host, _, repository = str(component.provides["container_registry"]).partition("/")
        details = {"location": host} | ({"default_repository": repository} if repository else {})
    return Shown(kind.role, kind.title, component.name, component.flavor, details, component.id)


def settings(entry: Entry) -> list[Setting]:
    """Return every setting that holds, by name: the stack's own, then those of its jobs, defaults included."""
    own = [
        Setting(name, value, _origin(entry, name))
        for name, value in entry.stack.to_dict().items()
        if name not in _NOT_SETTINGS
    ]
    own += [
        Setting(f"{kind}.{name}", value, _origin(entry, kind) if options else DEFAULT)
        for kind, options in (("secrets", entry.stack.secrets), ("image_builder", entry.stack.image_builder))
        for name, value in (options or {"flavor": None}).items()
    ]
    if entry.stack.type == LOCAL:
        return [setting for setting in own if setting.origin != DEFAULT]
    return [setting for setting in own if setting.value not in (None, {})] + list(_of_jobs(entry))


def _of_jobs(entry: Entry) -> Iterator[Setting]:
    from clary.sagemaker.settings import resolve

    runner = entry.component("orchestrator")
    origin = DEFAULT if runner is None else f"{title_of(runner.kind)} {runner.name}"
    resolved = resolve([(origin, entry.stack.settings)], whole=False)
    values = {one.name: getattr(resolved.settings, one.name) for one in fields(resolved.settings)}
    values.pop("execution_role")
    for name, value in values.items():
        yield Setting(name, _plain(value), resolved.origins.get(name) or _within(resolved.origins, name))


def _within(origins: Mapping[str, str], name: str) -> str:
    """Return where the parts of a setting that is a mapping come from."""
    return next((origin for path, origin in origins.items() if path.startswith(f"{name}.")), DEFAULT)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else list(value)
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def _origin(entry: Entry, name: str) -> str:
    by = next((one for one in entry.components if name in one.provides), None)
    return DEFAULT if by is None else f"{title_of(by.kind)} {by.name}"


def differences(left: Entry, right: Entry) -> list[Difference]:
    """Return in what two stacks differ: settings that hold and flavors, not names and ids."""
    ours, theirs = _comparable(left), _comparable(right)
    return [
        Difference(name, ours.get(name), theirs.get(name))
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]


def _comparable(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"type": entry.stack.type}
    found |= {f"{one.kind}.flavor": one.flavor for one in entry.components}
    shown = {setting.name: setting.value for setting in settings(entry)}
    shown.pop("secrets.flavor", None)  # the component's own, above
    return found | shown


def resources(stack: Stack) -> dict[str, str]:
    """Return what a new stack stands on, by title, as ``stack create`` shows it."""
    if stack.type == LOCAL:
        return {"Provider": "local", "Artifacts": stack.artifact_store}
    types = stack.settings.get("instance_type")
    shown = {
        "Provider": "aws",
        "Region": stack.region,
        "Artifacts": stack.artifact_store,
        "Registry": stack.container_registry,
        "Image builder": stack.image_builder.get("flavor"),
        "Secrets": stack.secrets.get("flavor"),
        "Execution role": stack.execution_role,
        "Image": stack.image,
        "Endpoint": stack.endpoint_url,
        "Credentials": stack.credentials,
        "Instance type": ", ".join(types) if isinstance(types, list) else types,
    }
    return {title: value for title, value in shown.items() if value}
