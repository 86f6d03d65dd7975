"""What the record of an execution holds of its calls beyond what is shown of a run, read when it is first asked for."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from clary.journal import records
from clary.kitaru.errors import translated

if TYPE_CHECKING:
    from clary.journal.records import Entry, Record

SAVED_MARK, TYPE_MARK = "artifact ", "checkpoint "
"""Begin the names of facts that are Clary's own: of a saved value (its type and tags), and the type of a checkpoint."""


class Journaled:
    """The record of one execution."""

    def __init__(self, stack: Any, run: str) -> None:
        self._stack = stack
        self._run = run

    @functools.cached_property
    def _entries(self) -> list[Entry]:
        with translated():
            place = importlib.import_module("clary.agent.place").place_of(self._stack)
            with place.log(self._run) as log:
                return list(log.read())

    def of_kind(self, kind: str) -> list[tuple[Entry, Record]]:
        """Return the records of a kind, in order."""
        return [(entry, record) for entry in self._entries for record in entry["records"] if record["kind"] == kind]

    def facts(self, call: str) -> dict[str, Any]:
        """Return what a call has noted, the flow's body for an empty path; values that are all dicts become one."""
        noted: dict[str, list[Any]] = {}
        for name, value in self._noted(call):
            if not name.startswith((SAVED_MARK, TYPE_MARK)):
                noted.setdefault(name, []).append(value)
        return {name: _merged(values) for name, values in noted.items()}

    def marks(self, call: str, name: str) -> dict[str, Any]:
        """Return type and tags of a value that a call has saved."""
        plain = {"type": "output", "tags": []}
        found: dict[str, Any] = dict(self._noted(call)).get(f"{SAVED_MARK}{name}", plain)
        return found

    def type_of(self, checkpoint: str) -> str | None:
        """Return the type that a checkpoint was declared with."""
        return dict(self._noted("")).get(f"{TYPE_MARK}{checkpoint}")

    @functools.cached_property
    def savers(self) -> dict[str, str]:
        """Path of the call that has saved each value, by name; the last one's."""
        return {record["name"]: _caller(record["path"]) for _, record in self.of_kind(records.SAVED)}

    def failed_tries(self, call: str) -> list[tuple[Entry, Record]]:
        """Return the tries of a call after which another followed."""
        return [one for one in self.of_kind(records.TRY_FAILED) if one[1]["path"] == call]

    def failure(self, call: str) -> Record | None:
        """Return the error that a call has failed with last, as it is kept."""
        found = [record["error"] for _, record in self.of_kind(records.CALL_FAILED) if record["path"] == call]
        return found[-1] if found else None

    def _noted(self, call: str) -> list[tuple[str, Any]]:
        """Return names and values of facts in order; those of older records, which do not know, are the flow's."""
        return self._noted_by_call.get(call, [])

    @functools.cached_property
    def _noted_by_call(self) -> dict[str, list[tuple[str, Any]]]:
        noted: dict[str, list[tuple[str, Any]]] = {}
        for _, record in self.of_kind(records.LOGGED):
            noted.setdefault(_caller(record.get("path", "")), []).extend(record["values"].items())
        return noted


def _caller(path: str) -> str:
    return path.rpartition("/")[0]


def _merged(values: list[Any]) -> Any:
    if not all(isinstance(value, dict) for value in values):
        return values[-1]
    return {name: part for value in values for name, part in value.items()}
