"""What a person is shown of a run: plain data, the same for Python, the command line and (later) the API."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from clary.journal.state import SETTLED

__all__ = [
    "SETTLED",
    "STATUSES",
    "ArtifactView",
    "AttemptView",
    "CallJobView",
    "CallView",
    "FailureView",
    "Observer",
    "PhaseView",
    "ProgressView",
    "RunView",
    "TryView",
    "WaitView",
]

STATUSES = (
    "queued",
    "preparing",
    "submitted",
    "starting",
    "running",
    "stopping",
    "waiting",
    "completed",
    "failed",
    "stopped",
    "timed_out",
    "interrupted",
    "lost",
)
"""Every state of a run, in the order in which a run may go through them."""


@dataclass(frozen=True)
class PhaseView:
    """One phase of a job, as SageMaker's secondary statuses tell it. Times are epoch seconds."""

    name: str
    started: float | None
    ended: float | None
    message: str = ""


@dataclass(frozen=True)
class AttemptView:
    """One attempt: a job, or a local process."""

    number: int
    status: str
    job: str | None = None
    started: float | None = None
    ended: float | None = None
    billable_seconds: int | None = None
    phases: tuple[PhaseView, ...] = ()
    instance_type: str | None = None
    """The type that was taken; None until it is known."""
    instance_count: int | None = None
    image: str | None = None
    """That the job runs; None for a local process."""
    image_size: int | None = None
    """Bytes that a pull of it moves, where that was looked up."""


@dataclass(frozen=True)
class TryView:
    """One failed try of a call, after which another followed."""

    number: int
    """From 1."""
    error: str
    at: float
    """Epoch seconds."""


@dataclass(frozen=True)
class CallView:
    """One checkpoint call of a run."""

    path: str
    name: str
    status: str
    """``completed`` or ``failed``."""
    attempt: int
    """The attempt in which its body ran."""
    started: float
    ended: float
    artifact: str | None = None
    """Where the output lies, for outputs that are not kept inline in the record."""
    preview: str = ""
    origin: dict[str, Any] | None = None
    """Of a result that was not computed in this run: ``kind`` (``cache``, ``replay``, ``skip``, ``override``), and but
    for the last ``run``, ``path`` and ``at`` (epoch seconds) of the call that computed it."""
    tries: int = 1
    """How often its body was run for this result."""
    failed_tries: tuple[TryView, ...] = ()
    """All of them but the last."""


@dataclass(frozen=True)
class CallJobView:
    """One SageMaker job of one isolated call."""

    path: str
    """Of the call."""
    job: str
    attempt: int
    """The attempt that asked for it."""
    status: str
    """``running`` until its end is in the record; then how it ended; ``unknown`` where the run ended before."""
    instance_type: str | None = None
    instance_count: int | None = None
    seconds: float | None = None
    """For which the call's body ran there, if it left a result."""


@dataclass(frozen=True)
class ArtifactView:
    """One value that the flow kept by name."""

    name: str
    location: str
    type: str
    size: int | None = None


@dataclass(frozen=True)
class WaitView:
    """What a flow has asked."""

    path: str
    name: str
    question: str
    expected: str
    """What an answer looks like, in words."""
    asked: float
    schema: dict[str, Any] = field(default_factory=dict)
    expires: float | None = None
    """Epoch seconds after which the default is taken, or the wait fails."""
    reminder: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    outcome: str | None = None
    """``answered``, ``defaulted``, ``expired`` or ``aborted``; None while it is open."""
    answer: Any = None
    by: str = ""


@dataclass(frozen=True)
class ProgressView:
    """How far a call is, as its code told last."""

    path: str
    """Of the call; empty for the flow's body."""
    done: float
    total: float | None
    message: str
    at: float
    """Epoch seconds."""


@dataclass(frozen=True)
class FailureView:
    """Why a run did not complete."""

    cause: str
    summary: str
    next_step: str
    retry: str
    frames: tuple[str, ...] = ()
    exit_code: int | None = None


@dataclass(frozen=True)
class RunView:
    """One run."""

    id: str
    flow: str
    stack: str
    status: str
    """One of ``STATUSES``."""
    created: float
    started: float | None = None
    ended: float | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    """Previews."""
    result: str | None = None
    """Preview of the returned value."""
    failure: FailureView | None = None
    attempts: tuple[AttemptView, ...] = ()
    calls: tuple[CallView, ...] = ()
    call_jobs: tuple[CallJobView, ...] = ()
    """The jobs of isolated calls, in the order in which they were asked for."""
    artifacts: tuple[ArtifactView, ...] = ()
    key: str | None = None
    """The key that it was started under."""
    reused: bool = False
    """Whether a start under the key found this run, and began nothing."""
    progress: tuple[ProgressView, ...] = ()
    """How far it is, while it runs."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the flow noted about the run with ``log()``: plain data by name."""
    waits: tuple[WaitView, ...] = ()
    replay_of: dict[str, Any] | None = None
    """Of a replay: ``run``, the call ``at`` which it parts from that, ``tag``, and ``changes`` in words."""
    wakes: float | None = None
    """While it is ``waiting``: when it goes on in any case, in epoch seconds."""

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain data, the item of ``-o json``."""
        return asdict(self)


class Observer(Protocol):
    """Told what happens while a run is followed. Called from one thread."""

    def submitted(self, run: RunView) -> None:
        """Report that the run has been recorded and its job asked for."""

    def phase(self, attempt: int, phase: PhaseView) -> None:
        """Report that a phase of the job has begun."""

    def log(self, host: str, timestamp: float, line: str) -> None:
        """Pass on one line of the job's output; the time is in epoch seconds."""

    def call(self, call: CallView) -> None:
        """Report a checkpoint call that is in the record now."""

    def progress(self, lines: tuple[ProgressView, ...]) -> None:
        """Report how far calls are, each as it told last; of a local run from a thread of its own."""

    def note(self, text: str) -> None:
        """Say something the person should know (a code upload, a wait for capacity)."""
