"""The values that an execution has kept, in Kitaru's shape: each belongs to the call that has made it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from clary.kitaru.errors import translated
from clary.kitaru.journaled import Journaled
from clary.kitaru.names import call_name, checkpoint_name

_KINDS = {"llm_call": "response", "tool_call": "output"}
"""Of outputs, by the type of their checkpoint."""


@dataclass(frozen=True)
class ArtifactRef:
    """One kept value."""

    artifact_id: str
    name: str
    kind: str | None
    save_type: str
    producing_call: str | None
    """Name of the call; None for what the flow's body has saved."""
    metadata: dict[str, Any]
    _stack: Any = field(repr=False, compare=False)
    _run: str = field(repr=False, compare=False)
    direction: Literal["output"] = "output"
    input_type: None = None

    def load(self) -> Any:
        """Return the value. One that was pickled runs code: you trust whoever may write to the artifact store."""
        with translated():
            return _artifacts().get(self._stack, self._run, self.artifact_id.partition(":")[2], trust=True)


class Kept:
    """What one execution has kept, and what its record tells of its calls. Read when it is asked for."""

    def __init__(self, stack: Any, run: str, flow: str) -> None:
        self.stack = stack
        self.record = Journaled(stack, run)
        self._run = run
        self._flow = flow

    def artifacts(self, call: str | None = None) -> list[ArtifactRef]:
        """Return outputs of checkpoints and saved values, those of each call together; ``call`` leaves those of one."""
        with translated():
            found = [one for one in _artifacts().list_artifacts(self.stack, self._run) if one.kind != "result"]
        outputs = [one.name for one in found if one.kind != "saved"]
        places = {path: place for place, path in enumerate(outputs)}
        found.sort(key=lambda one: (places.get(self._maker(one), len(places)), one.kind == "saved"))
        return [self._ref(one) for one in found if call in (None, self._maker(one))]

    def artifact(self, name: str) -> ArtifactRef:
        """Return a value by its name, or the path of its call; raises KitaruRuntimeError ``artifact.not_found``."""
        with translated():
            return self._ref(_artifacts().describe(self.stack, self._run, name))

    def _maker(self, found: Any) -> str:
        """Return the path of the call that has made a value, an empty one for the flow's body."""
        return str(self.record.savers.get(found.name, "") if found.kind == "saved" else found.name)

    def _ref(self, found: Any) -> ArtifactRef:
        maker = self._maker(found)
        producer = call_name(maker) if maker else None
        if found.kind == "saved":
            marks = self.record.marks(maker, found.name)
            name, kind, way, tags = found.name, marks["type"], "manual", marks["tags"]
        else:
            kind = _KINDS.get(self.record.type_of(checkpoint_name(maker)) or "")
            name, way, tags = f"{self._flow}::{producer}::output", "step_output", []
        return ArtifactRef(
            artifact_id=f"{self._run}:{found.name}",
            name=name,
            kind=kind,
            save_type=way,
            producing_call=producer,
            metadata={"type": found.type, "size": found.size, "preview": found.preview, "tags": tags},
            _stack=self.stack,
            _run=self._run,
        )


def moment(seconds: float | None) -> datetime | None:
    """Return a time of the record (epoch seconds) as Kitaru gives it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _artifacts() -> Any:
    return importlib.import_module("clary.agent.artifacts")
