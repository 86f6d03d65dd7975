"""Keys of runs: the same key starts a run of a flow once on a stack, whoever asks, and however often.

``keys/<digest>.json`` under the artifact store's root names the run. It is put if absent, just before the run's first
record: a start that is refused leaves no key, and one that is cut off between the two is completed by the next.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
import time
from typing import TYPE_CHECKING, Any

from clary.artifacts import digest
from clary.errors import ConflictError, JournalError, NotFoundError, Retry
from clary.ids import new_id
from clary.secrets.redaction import mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.agent.place import Place
    from clary.journal.records import Record

_SHOWN = 60
"""Characters of an input that a difference shows."""


class Once:
    """One start under a key."""

    def __init__(self, place: Place, flow: str, key: str, inputs: Mapping[str, Any]) -> None:
        """Look for the key; raises ConflictError (``run.key_taken``) where it stands for other inputs."""
        self.key = key
        self._place = place
        self._flow = flow
        self._inputs = {name: {"digest": digest(value), "shown": _shown(value)} for name, value in inputs.items()}
        named = hashlib.sha256(json.dumps([flow, key]).encode()).hexdigest()
        self._object = f"keys/{named}.json"
        known = self._read()
        self.run = new_id() if known is None else self._same(known)
        """The run that the key stands for, or will."""

    def begun(self) -> bool:
        """Tell whether the run has a record."""
        try:
            self._place.read(self.run)
        except NotFoundError:
            return False
        return True

    def claim(self) -> bool:
        """Let the key stand for this run; False where it has come to stand for another meanwhile, ``run`` then."""
        record = {
            "v": 1,
            "flow": self._flow,
            "key": self.key,
            "run": self.run,
            "at": time.time(),
            "inputs": self._inputs,
        }
        if self._place.store.create(self._object, json.dumps(record).encode()):
            return True
        known = self._read()
        if known is None:  # refused, and yet not there: the store had two writers at once, and will take it now
            return self.claim()
        ours, self.run = self.run, self._same(known)
        return self.run == ours

    def _read(self) -> Record | None:
        data = self._place.store.get(self._object)
        if data is None:
            return None
        try:
            record: Record = json.loads(data)
            return {"run": str(record["run"]), "inputs": dict(record["inputs"])}
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(
                "journal.unreadable",
                f"The key at {self._place.store.url(self._object)} cannot be read: {error}.",
                next_step="If a newer Clary wrote it, use that version; else delete the object, and look with "
                "`clary runs list` whether the run is there.",
                retry=Retry.NO,
            ) from error

    def _same(self, known: Record) -> str:
        """Return the run that the key stands for, if it is one with these inputs."""
        before: Mapping[str, Any] = known["inputs"]
        nothing = {"digest": "", "shown": "nothing"}
        lines = []
        for name in sorted({*before, *self._inputs}):
            was, is_now = before.get(name, nothing), self._inputs.get(name, nothing)
            if was["digest"] != is_now["digest"]:
                lines.append(f"{name} was {was['shown']}, and is {is_now['shown']}")
        if not lines:
            return str(known["run"])
        raise ConflictError(
            "run.key_taken",
            f"The key “{self.key}” stands for run {known['run']}, with other inputs: {'; '.join(lines)}.",
            next_step=f"Give the same inputs, or another key; `clary runs show {known['run']}` shows that run.",
            field="key",
            details={"run": known["run"]},
        )


def _shown(value: Any) -> str:
    return textwrap.shorten(mask(repr(value)), _SHOWN, placeholder="…")
