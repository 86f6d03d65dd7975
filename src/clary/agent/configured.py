"""What holds for a run, shown: by name, each value as it may be seen, with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clary.agent import configuration
from clary.agent.targets import load_target
from clary.engine.retry import Retries
from clary.stacks import service as stacks

if TYPE_CHECKING:
    from clary.journal.records import Record
    from clary.settings.effective import Effective

_UNSET: tuple[Any, ...] = (None, False, {}, [], ())
OPTIONS = ("image", "cache", "retries", "on_change")


@dataclass(frozen=True)
class Value:
    """One value that holds."""

    name: str
    """Of an option, or the path of a job setting."""
    value: Any
    """As it may be shown: no secrets."""
    origin: str
    """One of ``clary.settings.layers.SOURCES``."""
    source: str
    """The origin in words."""

    @property
    def told(self) -> bool:
        """Whether it is worth a line: an option, or a setting that has a value."""
        return self.name in ("stack", *OPTIONS) or self.value not in _UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def values(target: str | None, stack_name: str | None) -> list[Value]:
    """Return every option and job setting as it would hold for a run now.

    ``target`` names a flow (``path/file.py:flow``), ``stack_name`` a stack. Raises what a submission raises for them.
    """
    flow = None if target is None else load_target(target)
    entry, choice = stacks.current(stack_name, None if flow is None else flow.flow.options.stack)
    stack = entry.stack
    effective = configuration.of_stack_alone(stack) if flow is None else configuration.of(flow, stack)
    found = [Value("stack", choice.value, choice.origin, choice.source)]
    for name in OPTIONS:
        chosen = effective.option(name)
        found.append(Value(name, _brief(name, chosen.value), chosen.origin, chosen.source))
    return found + list(_settings(effective))


def of_run(spec: Record) -> list[Value]:
    """Return what the specification of a run has frozen."""
    origins: Mapping[str, str] = spec.get("origins", {})
    tree = {"image": spec.get("image"), **spec.get("options", {}), **spec["settings"]}
    if spec["environment"]:
        tree["environment"] = spec["environment"]
    return [
        Value(path, safe(path, value), "run", _by(origins, path))
        for name, below in tree.items()
        for path, value in _leaves(name, below)
        if value not in _UNSET or path in origins
    ]


def safe(name: str, value: Any) -> Any:
    """Return a value as it may be shown: a text that looks like a secret, by its name or its form, is left out."""
    from clary.sagemaker.findings import HIDDEN, shown
    from clary.secrets import references

    if isinstance(value, Mapping):
        return {key: safe(f"{name}.{key}", below) for key, below in value.items()}
    if not isinstance(value, str) or (references.has(value) and not references.filled(value, lambda _: "").strip()):
        return value
    return HIDDEN if shown(value, name=name.rpartition(".")[2]) == HIDDEN else value


def _brief(name: str, value: Any) -> Any:
    """Return a policy of retries as its count, where the rest is as ever."""
    if name != "retries":
        return value
    usual = asdict(Retries(0))
    told = {field: one for field, one in value.items() if one != usual[field]}
    return value["count"] if set(told) <= {"count"} else told


def _settings(effective: Effective) -> Iterator[Value]:
    from clary.sagemaker import settings

    resolved = settings.resolve(effective.settings_layers, whole=False)
    by_source = {layer.source: layer.origin for layer in effective.layers}
    for name, below in resolved.settings.to_dict().items():
        for path, value in _leaves(name, below):
            source = _by(resolved.origins, path)
            yield Value(path, safe(path, value), by_source.get(source, "default"), source)


def _by(origins: Mapping[str, str], path: str) -> str:
    """Return who set the value at a path, or what holds it."""
    while path not in origins and "." in path:
        path = path.rpartition(".")[0]
    return origins.get(path, "default")


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value and not path.startswith("request"):
        for key, below in value.items():
            yield from _leaves(f"{path}.{key}", below)
    else:
        yield path, value
