"""What the parts of the sandbox say to each other: jobs, the store of jobs, the services around them, containers.

Three parts share these shapes and know nothing else of each other:

- the *front* (``server``, ``operations``) answers the SageMaker API and writes jobs into the ``JobStore``;
- the *life* of a job (``life``) moves one job through its phases, using ``Services`` and an ``Executor``;
- an *executor* (``containers``) starts processes that see ``/opt/ml`` as a SageMaker container does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class JobKind(StrEnum):
    """The two kinds of job the sandbox runs; each has a name space of its own."""

    TRAINING = "training"
    PROCESSING = "processing"


@dataclass(frozen=True)
class Job:
    """One job as the store keeps it.

    ``request`` is the Create request as received. ``describe`` holds the members that Describe adds or overrides
    (status, times, transitions, reasons, billable seconds…), in the API's own names; times are float epoch seconds.
    """

    kind: JobKind
    name: str
    arn: str
    account: str
    region: str
    request: Mapping[str, Any]
    describe: Mapping[str, Any]
    version: int
    """Grows by one with every change; a write that names an old version is refused."""

    @property
    def status(self) -> str:
        """TrainingJobStatus or ProcessingJobStatus."""
        return str(self.describe[f"{self.kind.value.capitalize()}JobStatus"])


class JobStore(Protocol):
    """SageMaker's own state, durable (SQLite). Every call is safe from any thread."""

    def get(self, kind: JobKind, name: str, *, account: str, region: str) -> Job | None:
        """Return the job, or None."""

    def update(self, job: Job, changes: Mapping[str, Any]) -> Job:
        """Merge ``changes`` into ``describe`` and return the new job.

        LastModifiedTime is set here; a changed status or secondary status also emits the EventBridge event.
        A change made by somebody else in between is merged with, not lost: the store re-reads under its lock.
        """

    def transition(self, job: Job, secondary: str, message: str, *, status: str | None = None, **changes: Any) -> Job:
        """Enter a new secondary status: closes the last SecondaryStatusTransitions entry and opens the next.

        The same secondary status again only changes the message of the open entry, as the service does. A job whose
        status is Stopping does not go back to Starting, Downloading or Training.
        For processing jobs, which have none, only ``status`` and ``changes`` are applied.
        """

    def unfinished(self) -> Sequence[Job]:
        """Return every job that is not in a terminal status, oldest first."""


class Clock(Protocol):
    """The sandbox's clock. A test can speed it up: ``seconds`` of sandbox time then pass in less real time."""

    def now(self) -> float:
        """Return epoch seconds."""

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Wait that many sandbox seconds, or until the condition holds; return whether it held."""


class ObjectAccess(Protocol):
    """S3 as the platform uses it for a job: on the job's behalf, streaming, never holding a whole object in memory."""

    def list(self, bucket: str, prefix: str) -> Sequence[tuple[str, int]]:
        """Return (key, size in bytes) of every object under the prefix; raises FileNotFoundError for no bucket.

        PermissionError, here and below, says that the job's role may not.
        """

    def download(self, bucket: str, key: str, to: Path) -> None:
        """Write the object to a new file."""

    def read(self, bucket: str, key: str) -> bytes:
        """Return a small object (manifests)."""

    def upload(self, source: Path, bucket: str, key: str) -> None:
        """Store a file; raises OSError with the service's words when it is refused."""


class LogSink(Protocol):
    """One CloudWatch stream. It does not exist until the first byte (conformance C14).

    A new sink for a stream that holds events already skips that many: after a restart of the sandbox a container's
    output is written to it again from the first byte.
    """

    def write(self, data: bytes) -> None:
        """Take output of the container; complete lines become events within a quarter of a second."""

    def close(self) -> None:
        """Flush what is left, an unfinished line included."""


class Services(Protocol):
    """What the platform has at hand for running jobs."""

    clock: Clock
    data: Path
    """The sandbox's own folder; ``data/jobs/<account>-<region>/<kind>-<name>/`` belongs to one job's life."""
    endpoint: str
    """The sandbox's URL on the host, e.g. ``http://127.0.0.1:4599``; containers reach it at the same URL."""

    def objects(self, job: Job) -> ObjectAccess:
        """Return S3 with the rights of the job's role."""

    def log_sink(self, job: Job, stream: str) -> LogSink:
        """Return the sink for a stream such as ``<job>/algo-1-1700000000``."""

    def cannot_pull(self, job: Job) -> str | None:
        """Return why the job's role may not pull its image, or None when it may."""

    def role_credentials(self, job: Job) -> Mapping[str, str]:
        """Return fresh credentials of the job's role, in the form of the container credentials endpoint.

        Keys AccessKeyId, SecretAccessKey, Token, Expiration (ISO 8601, UTC), RoleArn.
        """

    def fault(self, name: str, job: Job, instance_type: str = "") -> Mapping[str, Any] | None:
        """Take one planned fault meant for this job, if there is one (``capacity``, ``spot_interruption``…).

        ``instance_type`` is the one that is in question, for faults that are about machines.
        """


class Network(StrEnum):
    """What a container can reach."""

    SANDBOX = "sandbox"
    """The sandbox's endpoint, the credentials address, and the other hosts of the same job."""
    NONE = "none"
    """Nothing (EnableNetworkIsolation)."""


@dataclass(frozen=True)
class ContainerSpec:
    """One container to start."""

    job: str
    host: str
    """``algo-1`` … ``algo-N``; every host resolves the names of the others."""
    hosts: Sequence[str]
    image: str
    entrypoint: Sequence[str] | None
    """None: the image's own."""
    arguments: Sequence[str] | None
    """None: the image's own command."""
    environment: Mapping[str, str]
    opt_ml: Path
    """Host folder that the container sees, writable, as /opt/ml, hiding what the image has there."""
    read_only: Sequence[str] = ()
    """Paths under /opt/ml that must be read-only (FastFile channels)."""
    network: Network = Network.SANDBOX
    endpoint: str = ""
    """The sandbox's URL on the host, which answers inside at the same address; empty for none."""
    credentials: Callable[[], Mapping[str, str]] | None = None
    """Answers GET 169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; the executor sets that variable."""
    memory_bytes: int | None = None
    scratch: Path = field(default_factory=Path)
    """Folder for the executor's own use; removed by the life of the job after the end."""


class Container(Protocol):
    """A started container."""

    @property
    def pid(self) -> int:
        """The container's first process, as the host sees it."""

    def signal(self, number: int) -> None:
        """Send a signal to the container's PID 1 only; does nothing once it has ended."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code (128 + n for signal n), or None when ``timeout`` real seconds have passed."""

    def kill(self) -> None:
        """End every process of the container at once."""

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process of it for want of memory."""


class Executor(Protocol):
    """A way of running containers on this machine."""

    @property
    def name(self) -> str:
        """``namespaces``, ``docker`` or ``process``."""

    @property
    def not_honoured(self) -> Sequence[str]:
        """What this place cannot honour, one plain sentence each; said at the start of the sandbox and by its status.

        Not in the job's stream, which holds the container's output and nothing else (conformance C14).
        """

    def fetch(self, image: str) -> None:
        """Have an image ready to start; raises ImageNotFound when it is not to be had, or not to be used here."""

    def start(self, spec: ContainerSpec, output: Callable[[bytes], None]) -> Container:
        """Start it. ``output`` is called from a thread with stdout and stderr as they come, and b"" at the end.

        Raises ImageNotFound when the image is unknown here, EntrypointError when the command cannot be started
        (SageMaker shows that as exit code 126 or 127).
        """

    def adopt(self, spec: ContainerSpec, pid: int, output: Callable[[bytes], None]) -> Container | None:
        """Take up a container that outlived the sandbox's process, or ended meanwhile; None when nothing is left of it.

        ``output`` gets everything it has written since its start.
        """

    def close(self) -> None:
        """Let go of everything; containers go on and can be adopted."""


class ImageNotFound(Exception):  # noqa: N818 - the name of the service's own error
    """The image does not exist, or this executor cannot run it. The text is for a person."""


class EntrypointError(Exception):
    """The container's command could not be started; ``exit_code`` is 126 or 127, as a shell would say."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
