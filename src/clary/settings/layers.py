"""The sources of options, each as one layer: who says what. None is checked against another here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary import config
from clary.errors import nearest
from clary.settings import saved
from clary.settings.options import OPTIONS, checked, from_text, settings_table

if TYPE_CHECKING:
    from clary.control.database import Database

SOURCES = ("default", "stack", "saved", "project", "environment", "configure", "flow", "run")
"""Where a value may come from, the weakest first."""
AMBIENT = frozenset({"saved", "project", "environment", "configure"})
"""Sources that belong to the machine, the folder or the process, not to the run, the flow or the stack."""
_FOREIGN = ("STACK", "CACHE", "RETRIES", "IMAGE")
_OF_THE_TESTS = ("TEST_", "FUZZ_")
"""What variables of Clary's own test suite begin with, after ``CLARY_``."""


@dataclass(frozen=True)
class Given:
    """A value, and where it stands in words that a person can act on."""

    value: Any
    source: str


@dataclass(frozen=True)
class Layer:
    """What one source says."""

    origin: str
    """One of ``SOURCES``."""
    options: Mapping[str, Given] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Job settings, as they were written."""
    source: str = ""
    """Where the settings stand, in words."""

    def __bool__(self) -> bool:
        """Tell whether the layer says anything."""
        return bool(self.options or self.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as plain data, whatever the settings hold: what is none is refused where it is used."""
        options = {name: {"value": one.value, "source": one.source} for name, one in self.options.items()}
        settings = json.loads(json.dumps(dict(self.settings), default=str))
        return {"origin": self.origin, "source": self.source, "options": options, "settings": settings}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Layer:
        """Return the layer that ``to_dict`` gave."""
        options = {name: Given(one["value"], one["source"]) for name, one in data["options"].items()}
        return cls(data["origin"], options, data["settings"], data["source"])


def ambient(*, start: Path | None = None, database: Database | None = None) -> list[Layer]:
    """Return what machine, project, environment and process say, the weakest first.

    ``start`` is the folder whose project counts; None: the current one. Raises ConfigError, naming the source that is
    wrong.
    """
    return [_saved(database), _project(start), _environment(), _configured()]


def configure(values: Mapping[str, Any]) -> None:
    """Set options of this process: names of ``OPTIONS``, or ``settings``; None takes one back.

    Raises ConfigError ``config.wrong_type``; nothing is set then.
    """
    config.configure(**{name: None if one is None else _form(name, one, "configure()") for name, one in values.items()})


def foreign_notes(start: Path | None = None) -> list[str]:
    """Return what to say about settings that are not read, Kitaru's and misspelt ones: what to write in their place."""
    notes = [
        f"KITARU_{name} is not read here: set CLARY_{name}."
        for name in _FOREIGN
        if os.environ.get(f"KITARU_{name}") and not os.environ.get(f"CLARY_{name}")
    ]
    project = config.project_file(start)
    if project is not None and "kitaru" in project.others:
        notes.append(f"[tool.kitaru] in {project.path} is not read: write its keys under [tool.clary].")
    return notes + [_unread(name) for name in sorted(os.environ) if _is_unknown(name)]


def _is_unknown(variable: str) -> bool:
    known = variable in config.ENVIRONMENT or variable in config.JOB_ENVIRONMENT
    return variable.startswith("CLARY_") and not known and not variable[len("CLARY_") :].startswith(_OF_THE_TESTS)


def _unread(variable: str) -> str:
    from clary.sagemaker import aliases

    name = variable.removeprefix("CLARY_")
    meant = nearest(name, [one.removeprefix("CLARY_") for one in config.ENVIRONMENT])
    if name.lower() in aliases.spellings():
        step = f"job settings go into CLARY_SETTINGS='{{\"{name.lower()}\": …}}'."
    elif meant is not None:
        step = f"did you mean CLARY_{meant}?"
    else:
        step = "docs/reference/settings.md lists the variables that are."
    return f"The environment variable {variable} is not read: {step}"


def _saved(database: Database | None) -> Layer:
    kept = saved.load(database)
    options = {
        name: Given(value, f"saved by `clary config set {name}`") for name, value in kept.items() if name in OPTIONS
    }
    return Layer("saved", options, kept.get("settings", {}), "the saved settings (`clary config list`)")


def _project(start: Path | None) -> Layer:
    project = config.project_file(start)
    if project is None:
        return Layer("project")
    options = {}
    for name, value in project.table.items():
        source = f"[tool.clary].{name} in {project.path}"
        if name in OPTIONS:
            options[name] = Given(checked(name, value, source), source)
    source = f"[tool.clary.settings] in {project.path}"
    return Layer("project", options, settings_table(project.table.get("settings", {}), source), source)


def _environment() -> Layer:
    options, settings = {}, {}
    for name in (*OPTIONS, "settings"):
        variable = f"CLARY_{name.upper()}"
        text = os.environ.get(variable)
        if not text:
            continue
        source = f"the environment variable {variable}"
        value = from_text(name, text, source)
        if name == "settings":
            settings = value
        else:
            options[name] = Given(value, source)
    return Layer("environment", options, settings, "the environment variable CLARY_SETTINGS")


def _configured() -> Layer:
    values = config.configured()
    source = "configure() in this process"
    options = {name: Given(value, source) for name, value in values.items() if name in OPTIONS}
    return Layer("configure", options, values.get("settings", {}), source)


def _form(name: str, value: Any, source: str) -> Any:
    return settings_table(value, source) if name == "settings" else checked(name, value, source)
