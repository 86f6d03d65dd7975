"""A job's folder on the host, and what must be remembered of a running job over a restart of the sandbox."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.files import write_whole
from clary.sandbox.trees import remove_tree

if TYPE_CHECKING:
    from clary.sandbox.model import Job


class Phase(StrEnum):
    """How far an attempt has come; decides what a restarted sandbox does with it."""

    PREPARING = "preparing"
    """No container yet: done again from the start."""
    RUNNING = "running"
    """Containers are there: they are taken up."""
    ENDED = "ended"
    """Containers have ended; what they left is still to be uploaded."""


class Ending(StrEnum):
    """Why the platform ended the containers; EXIT when they ended by themselves."""

    EXIT = "exit"
    STOP = "stop"
    MAX_RUNTIME = "max_runtime"
    MAX_WAIT = "max_wait"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Progress:
    """What is known of a job besides its description; times in sandbox seconds."""

    phase: Phase = Phase.PREPARING
    pids: dict[str, int] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    exit_codes: dict[str, int] = field(default_factory=dict)
    ending: Ending = Ending.EXIT
    started: float = 0.0
    """When the containers of this attempt started."""
    kill_at: float | None = None
    """When the grace period ends."""
    interrupt_at: float | None = None
    ran_before: float = 0.0
    """How long containers of earlier attempts ran."""
    paused_at: float | None = None
    """Since when an interrupted job has no machine."""
    paused: float = 0.0
    """How long earlier interruptions lasted."""
    internal_errors: int = 0


class JobFolder:
    """The folder of one job: one subfolder for each host, and the progress."""

    def __init__(self, data: Path, job: Job) -> None:
        self.path = data / "jobs" / f"{job.account}-{job.region}" / f"{job.kind.value}-{job.name}"
        self._progress = self.path / "progress.json"

    def opt_ml(self, host: str) -> Path:
        """Return the host's ``/opt/ml``."""
        return self.path / host / "ml"

    def scratch(self, host: str) -> Path:
        """Return the executor's folder for the host."""
        return self.path / host / "scratch"

    def spool(self) -> Path:
        """Return a folder for what is on its way between S3 and the job; made when missing."""
        path = self.path / "spool"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def read(self) -> Progress | None:
        """Return the progress written last, or None when there is none, or only that of another version."""
        try:
            data: dict[str, Any] = json.loads(self._progress.read_text())
            return Progress(**{**data, "phase": Phase(data["phase"]), "ending": Ending(data["ending"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, progress: Progress) -> None:
        """Keep the progress; a reader sees the old one or the new one."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self._progress, json.dumps(asdict(progress)))

    def clear_hosts(self) -> None:
        """Remove what earlier attempts left on their machines."""
        for path in self.path.glob("algo-*"):
            remove_tree(path)
        remove_tree(self.path / "spool")

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        remove_tree(self.path)


def changed(progress: Progress, **changes: Any) -> Progress:
    """Return the progress with some members changed."""
    return replace(progress, **changes)
