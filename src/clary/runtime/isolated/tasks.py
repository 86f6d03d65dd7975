"""What one isolated call is to both sides: names, the objects between them, the request of its job. Pure.

Under the artifact store's root, for the ``n``-th job of a call::

    runs/<run>/calls/<hash of the path>/<n>/task.json     what to run; written before the job is asked for
    runs/<run>/calls/<hash of the path>/<n>/result.json   how it ended: put if absent, so the first one holds
    runs/<run>/calls/<hash of the path>/<n>/host-<k>.json how it ended on a further host
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.runtime.pointer import ATTEMPT_VARIABLE, RUN_VARIABLE

if TYPE_CHECKING:
    from clary.journal.records import Record
    from clary.objects import ObjectStore

CALL_VARIABLE = "CLARY_CALL"
"""Set in the job of a call: ``<hash of the path>/<n>``. With the run's pointer it finds the task."""
LONGEST_NAME = 63
"""Characters of TrainingJobName. Source: the service model."""
_HASHED = 16
_IN_NAME = 10
_NAMED = re.compile(rf"[0-9a-f]{{{_HASHED}}}/[1-9][0-9]*")


@dataclass(frozen=True)
class Place:
    """Where the objects of one job of a call lie."""

    run: str
    name: str
    """``<hash of the path>/<n>``, the value of the variable."""

    @classmethod
    def of(cls, run: str, path: str, number: int) -> Place:
        """Return the place of the ``number``-th job of a call."""
        return cls(run, f"{hashlib.sha256(path.encode()).hexdigest()[:_HASHED]}/{number}")

    @property
    def valid(self) -> bool:
        """Whether the name has the form of one: it comes from the environment."""
        return _NAMED.fullmatch(self.name) is not None

    @property
    def folder(self) -> str:
        """The folder of the objects."""
        return f"runs/{self.run}/calls/{self.name}"

    @property
    def task(self) -> str:
        """What to run."""
        return f"{self.folder}/task.json"

    @property
    def result(self) -> str:
        """How it ended."""
        return f"{self.folder}/result.json"

    def host(self, rank: int) -> str:
        """How it ended on a further host."""
        return f"{self.folder}/host-{rank}.json"


def job_name(flow: str, run: str, attempt: int, path: str, number: int) -> str:
    """Return the name of a call's job: ``<flow's slug>-<run>-<attempt>-<hash>``, 63 characters at most.

    ``attempt`` is the one that first meant to ask for it; with the run, path and number the name is always the same.
    """
    hashed = hashlib.sha256(f"{path}\n{number}".encode()).hexdigest()[:_IN_NAME]
    tail = f"{run.lower()}-{attempt}-{hashed}"
    plain = unicodedata.normalize("NFKD", flow.casefold()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[: LONGEST_NAME - len(tail) - 1].strip("-")
    return f"{slug}-{tail}" if slug else tail


def pointer(parent: Record, attempt: int, place: Place) -> dict[str, str]:
    """Return the variables by which the job finds its task, and by which it is known to be ours.

    ``parent`` is the request of the flow's own job, which has the run's pointer.
    """
    environment = parent["Environment"]
    return {
        RUN_VARIABLE: environment[RUN_VARIABLE],
        ATTEMPT_VARIABLE: str(attempt),
        CALL_VARIABLE: place.name,
    }


def request(template: Record, job: str, variables: dict[str, str], output: str) -> Record:
    """Return the whole CreateTrainingJob request of a call's job, from the one that was checked at submit."""
    made = dict(template)
    made["TrainingJobName"] = job
    made["Environment"] = {**template.get("Environment", {}), **variables}
    made["OutputDataConfig"] = {"S3OutputPath": output, **template.get("OutputDataConfig", {})}
    return made


def hosts_of(template: Record) -> int:
    """Return how many hosts a request asks for."""
    return int(template["ResourceConfig"].get("InstanceCount", 1))


def read(store: ObjectStore, key: str) -> Record | None:
    """Return an object of a call, or None when it is not there."""
    data = store.get(key)
    if data is None:
        return None
    found: Record = json.loads(data)
    return found


def write(store: ObjectStore, key: str, content: Record) -> None:
    """Store an object of a call, replacing it."""
    store.put(key, _bytes(content))


def settle(store: ObjectStore, key: str, content: Record) -> Record:
    """Store an object of a call if there is none, and return the one that is there then."""
    while not store.create(key, _bytes(content)):
        found = read(store, key)  # a refusal is no proof that there is one: S3 answers 409 for “try again” too
        if found is not None:
            return found
    return content


def _bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
