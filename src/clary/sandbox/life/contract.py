"""What a kind of job promises its containers; the training and processing contracts fill it in."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from clary.sandbox.life.instances import memory_of
from clary.sandbox.life.outputs import Sync, Uploads
from clary.sandbox.machines import Machines, machines_of
from clary.sandbox.model import ContainerSpec, Job, Network, Services

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from clary.sandbox.life.folder import JobFolder, Progress
    from clary.sandbox.life.inputs import Downloads
    from clary.sandbox.life.pipes import Feeder


class Contract(ABC):
    """One job's containers: what they find, what they are told, what is taken from them."""

    def __init__(self, job: Job, services: Services, folder: JobFolder) -> None:
        self.job = job
        self.request: Mapping[str, Any] = job.request
        self.services = services
        self.folder = folder
        self.objects = services.objects(job)
        self.uploads = Uploads(self.objects, services.clock)

    @property
    def machines(self) -> Sequence[Machines]:
        """The job's machines; a list of preferences is settled before the containers start."""
        return machines_of(self.job)

    @property
    def hosts(self) -> Sequence[str]:
        """The names of the job's machines, in the order of the service's own file: as text."""
        return sorted(f"algo-{number + 1}" for number in range(sum(group.count for group in self.machines)))

    @property
    def roots(self) -> list[Path]:
        """The hosts' ``/opt/ml``, in the order of ``hosts``."""
        return [self.folder.opt_ml(host) for host in self.hosts]

    @property
    @abstractmethod
    def isolated(self) -> bool:
        """Whether network isolation was asked for."""

    @property
    @abstractmethod
    def max_runtime(self) -> float:
        """Seconds that containers may run, all attempts together."""

    @property
    def spot(self) -> bool:
        """Whether the job runs on machines that can be taken away."""
        return False

    @property
    def max_wait(self) -> float | None:
        """Seconds from creation after which a spot job is given up."""
        return None

    @property
    def retries(self) -> int:
        """How often the job starts again after an internal error."""
        return 0

    @property
    def can_be_adopted(self) -> bool:
        """Whether containers can go on after a restart of the sandbox."""
        return True

    @abstractmethod
    def bring(self, downloads: Downloads) -> None:
        """Lay out every host's ``/opt/ml``."""

    @abstractmethod
    def spec(self, host: str) -> ContainerSpec:
        """Return what to start on a host."""

    @abstractmethod
    def syncs(self, *, stored: bool) -> list[Sync]:
        """Begin to keep in step what the request asks for; ``stored``: what is there now is in S3 already."""

    def feeders(self) -> list[Feeder]:
        """Begin to feed what is read through pipes."""
        return []

    @abstractmethod
    def take(self) -> Mapping[str, Any]:
        """Upload what the containers left; returns members of the description. Raises JobFailed."""

    @abstractmethod
    def failure(self, exit_codes: Mapping[str, int]) -> str | None:
        """Return the FailureReason of containers that ended by themselves, or None when they did well."""

    @abstractmethod
    def begun(self, now: float) -> Mapping[str, Any]:
        """Return the members that say when work began."""

    @abstractmethod
    def over(self, now: float, progress: Progress) -> Mapping[str, Any]:
        """Return the members that say when work ended and how long it took."""

    # -- for the contracts

    def make_spec(
        self,
        host: str,
        image: str,
        entrypoint: Sequence[str] | None,
        arguments: Sequence[str] | None,
        environment: Mapping[str, str],
        read_only: Sequence[str] = (),
    ) -> ContainerSpec:
        """Return the specification with what both kinds of job have in common."""
        reach = {} if self.isolated else {"AWS_ENDPOINT_URL": self.services.endpoint}
        return ContainerSpec(
            job=f"{self.job.kind.value}/{self.job.account}/{self.job.region}/{self.job.name}",
            host=host,
            hosts=self.hosts,
            image=image,
            entrypoint=entrypoint,
            arguments=arguments,
            environment={**reach, "AWS_REGION": self.job.region, **environment},
            opt_ml=self.folder.opt_ml(host),
            read_only=read_only,
            network=Network.NONE if self.isolated else Network.SANDBOX,
            endpoint="" if self.isolated else self.services.endpoint,
            credentials=None if self.isolated else lambda: self.services.role_credentials(self.job),
            memory_bytes=memory_of(self.machines[0].instance_type),
            scratch=self.folder.scratch(host),
        )


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write one of the contract's configuration files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1))
