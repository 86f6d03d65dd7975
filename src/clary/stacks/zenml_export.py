"""Stack files that ZenML has exported, in the form of Clary's own, with notes of what is left out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MARK = "zenml_version"
"""The key that such a file has, and no other."""
_KEYS = {"stack_name": "name"}
_KINDS_WITHOUT_A_PLACE = frozenset(
    {
        "alerter",
        "annotator",
        "data_validator",
        "deployer",
        "experiment_tracker",
        "feature_store",
        "log_store",
        "model_deployer",
        "model_registry",
        "step_operator",
    }
)


def translated(document: Mapping[Any, Any]) -> tuple[dict[Any, Any], list[str]]:
    """Return the keys of a stack file, and in words what of the export is left out.

    ZenML writes a list of components for each kind, of which a stack of Clary has one. What is no export's form stays
    as it is, for whoever reads the file to refuse.
    """
    found = {_KEYS.get(key, key): value for key, value in document.items() if key != MARK}
    notes: list[str] = []
    if isinstance(found.get("components"), dict):
        found["components"] = _components(found["components"], notes)
    return found, notes


def _components(given: Mapping[Any, Any], notes: list[str]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for kind, parts in given.items():
        listed = parts if isinstance(parts, list) else [parts]
        title = str(kind).replace("_", " ")
        if kind in _KINDS_WITHOUT_A_PLACE:
            command = str(kind).replace("_", "-")
            notes.append(
                f"{title} {_names(listed)} is left out: a stack of Clary has none; `clary {command}` says what to do."
            )
            continue
        if not listed:
            continue
        first, *others = listed
        if others:
            notes.append(f"{title} {_names(others)} is left out: a stack of Clary has one, which is {_names([first])}.")
        if kind == "image_builder" and isinstance(first, dict) and first.get("flavor") == "local":
            first = _dockers(first, notes)
        found[kind] = first
    return found


def _dockers(builder: Mapping[Any, Any], notes: list[str]) -> dict[Any, Any]:
    """Return ZenML's local image builder, which builds with the Docker of this machine, as ours of that name."""
    notes.append(
        f"image builder {_names([builder])} is of the flavor docker here, as ZenML's local one builds with it."
    )
    left = sorted(str(name) for name, value in (builder.get("configuration") or {}).items() if value is not None)
    if left:
        notes.append(f"image builder {_names([builder])} is without {', '.join(left)}: Clary builds by the command.")
    return {**builder, "flavor": "docker", "configuration": {}}


def _names(parts: list[Any]) -> str:
    return ", ".join(repr(part["name"]) if isinstance(part, dict) and "name" in part else "?" for part in parts)
