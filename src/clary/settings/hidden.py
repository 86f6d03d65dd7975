"""Literal secrets among a job's variables: left out of what a run keeps, and put back for a further attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clary.secrets import references

if TYPE_CHECKING:
    from clary.settings.layers import Layer

_SPELLINGS = ("environment", "env")
"""What a layer may call the variables."""


def is_secret(name: str, value: Any) -> bool:
    """Tell whether a variable's text looks like a secret, by its name or its form; a reference to one is none."""
    from clary.sagemaker.findings import HIDDEN, shown

    return isinstance(value, str) and not references.has(value) and shown(value, name=name) == HIDDEN


def left_out(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables as they may be kept: those that look like secrets without their texts."""
    from clary.sagemaker.findings import HIDDEN

    return {name: HIDDEN if is_secret(name, value) else value for name, value in variables.items()}


def without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return job settings, as a layer has them, with their variables as they may be kept."""
    return _with_variables(settings, left_out)


def put_back(
    frozen: Iterable[Layer], now: Iterable[Layer], sent: Mapping[str, str], origins: Mapping[str, str]
) -> list[Layer]:
    """Return frozen layers with the texts of their variables, as far as they are known.

    A text is what the job was ``sent``, where the layer was the one that held; else what the layer's source says now;
    else what the variable ``CLARY_SETTINGS`` says now. One that nobody knows stays left out.

    Args:
        frozen: the layers, from a specification.
        now: the layers of machine, folder and process as they are now.
        sent: the variables in the request of the attempt before; empty for a local run.
        origins: of that specification: which source held, by path.
    """
    said = {layer.origin: _variables(layer.settings) for layer in now}

    def known(layer: Layer, name: str) -> Any:
        by = origins.get(f"environment.{name}", origins.get(f"request.Environment.{name}"))
        if by == layer.source and name in sent:
            return sent[name]
        return said.get(layer.origin, {}).get(name, said.get("environment", {}).get(name))

    def whole(layer: Layer) -> Layer:
        def filled(variables: Mapping[str, Any]) -> dict[str, Any]:
            found = {name: known(layer, name) for name in _unknown(variables)}
            return {**variables, **{name: text for name, text in found.items() if text is not None}}

        return replace(layer, settings=_with_variables(layer.settings, filled))

    return [whole(layer) for layer in frozen]


def unknown(layers: Iterable[Layer]) -> list[str]:
    """Return the variables that hold by these layers, the weakest first, and whose texts nobody knows."""
    held: dict[str, Any] = {}
    for layer in layers:
        held |= _variables(layer.settings)
    return sorted(_unknown(held))


def _unknown(variables: Mapping[str, Any]) -> set[str]:
    from clary.sagemaker.findings import HIDDEN

    return {name for name, value in variables.items() if value == HIDDEN}


def _variables(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def noted(variables: Mapping[str, Any]) -> Mapping[str, Any]:
        found.update(variables)
        return variables

    _with_variables(settings, noted)
    return found


def _with_variables(
    settings: Mapping[str, Any], changed: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return settings with their variables changed, wherever they stand."""
    made = dict(settings)
    for name in _SPELLINGS:
        if isinstance(made.get(name), Mapping):
            made[name] = changed(made[name])
    request = made.get("request")
    if isinstance(request, Mapping) and isinstance(request.get("Environment"), Mapping):
        made["request"] = {**request, "Environment": changed(request["Environment"])}
    return made
