"""What holds for a run: every layer in its order, each value with its origin, and the form that is frozen into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clary.settings import hidden
from clary.settings.layers import AMBIENT, SOURCES, Given, Layer
from clary.settings.options import DEFAULTS, laid_over


@dataclass(frozen=True)
class Chosen:
    """A value that holds, and why."""

    value: Any
    origin: str
    """One of ``clary.settings.layers.SOURCES``."""
    source: str
    """The origin in words that a person can act on."""


@dataclass(frozen=True)
class Effective:
    """The layers of a run, the weakest first."""

    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> Effective:
        """Return what holds by these layers, in whatever order they come; of one source a later layer wins."""
        return cls(tuple(sorted((one for one in layers if one), key=lambda one: SOURCES.index(one.origin))))

    def option(self, name: str) -> Chosen:
        """Return the value of an option; fields of ``retries`` and ``image`` are merged one by one."""
        value, origin, source = DEFAULTS[name], "default", "default"
        for layer in self.layers:
            given = layer.options.get(name)
            if given is not None:
                value = laid_over(name, value, given.value)
                origin, source = layer.origin, given.source
        return Chosen(value, origin, source)

    @property
    def settings_layers(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The job settings of every layer, with where they stand, the weakest first."""
        return [(layer.source, layer.settings) for layer in self.layers if layer.settings]

    @property
    def body(self) -> dict[str, Any]:
        """The options that the flow's body runs under."""
        return {name: self.option(name).value for name in ("retries", "cache")}

    def frozen(self, origins: Mapping[str, str]) -> dict[str, Any]:
        """Return what the specification of a run keeps of this.

        ``options`` are for the body; ``layers`` for a resume; ``origins`` for people: by name, options and the job
        settings in ``origins``, where each value comes from. Variables that look like secrets are left out.
        """
        chosen = {name: self.option(name) for name in ("image", "retries", "cache")}
        held = [layer.to_dict() for layer in self.layers if layer.origin in AMBIENT | {"run"}]
        kept = [{**layer, "settings": hidden.without_secrets(layer["settings"])} for layer in held]
        said = {name: one.source for name, one in chosen.items()} | dict(origins)
        return {"options": self.body, "image": chosen["image"].value, "layers": kept, "origins": said}


def thawed(spec: Mapping[str, Any]) -> list[Layer] | None:
    """Return the layers that a resume takes from the specification of the attempt before: those of the run itself, of
    machine, folder and process. The flow's come with its code and the stack's with the stack. None for a specification
    that keeps none, of an earlier version. What looked like a secret is missing (``hidden.put_back``).
    """
    if "layers" not in spec:
        return None
    return [Layer.of(one) for one in spec["layers"]]


def differences(frozen: Iterable[Layer], now: Iterable[Layer]) -> list[str]:
    """Return what to say where machine, folder or process say something else now than when the run was started."""
    before = Effective.of(one for one in frozen if one.origin in AMBIENT)
    after = Effective.of(one for one in now if one.origin in AMBIENT)
    notes = []
    for name in ("image", "retries", "cache"):
        was, is_now = before.option(name), after.option(name)
        if was.value != is_now.value and is_now.origin != "default":
            notes.append(f"{name} stays as the run was started; {is_now.source} says {_shown(is_now.value)} now.")
    return notes + _changed_settings(before, after)


def _changed_settings(before: Effective, after: Effective) -> list[str]:
    from clary.sagemaker.settings_layers import merge_all

    was = merge_all([values for _, values in before.settings_layers])
    notes = []
    for source, values in after.settings_layers:
        for name, value in values.items():
            if was.get(name) != value:
                notes.append(f"{name} stays as the run was started; {source} sets it now: --set {name}=… takes it.")
    return notes


def _shown(value: Any) -> str:
    return str(value["count"]) if isinstance(value, Mapping) and "count" in value else str(value)


def given(values: Mapping[str, Any], source: str) -> dict[str, Given]:
    """Return the values that are not None, each with where it stands."""
    return {name: Given(value, source) for name, value in values.items() if value is not None}
