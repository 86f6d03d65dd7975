"""What every operation is given: who calls, and what the platform has at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from clary.sandbox.faults import Faults
    from clary.sandbox.gateway import Gateway
    from clary.sandbox.model import Clock, Job
    from clary.sandbox.quotas import Quotas
    from clary.sandbox.store import SqliteJobStore


class JobLife(Protocol):
    """What moves jobs through their phases (``clary.sandbox.life.Life``). Every call returns at once."""

    def begin(self, job: Job) -> None:
        """Start a new job."""

    def stop(self, job: Job) -> None:
        """Stop a job whose status is Stopping already."""

    def adopt(self, job: Job) -> None:
        """Take up an unfinished job after a restart, or let it fail as InternalServerError."""

    def interrupt(self, job: Job) -> None:
        """Take a spot job's machine away."""

    def close(self) -> None:
        """Let go of every job; containers go on and can be adopted."""


@dataclass(frozen=True)
class Caller:
    """The account and region that a request is for."""

    account: str
    region: str

    @property
    def partition(self) -> str:
        """The partition of the region, the second part of every ARN."""
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b"}
        prefixes |= {"eusc-": "aws-eusc"}
        return next((name for prefix, name in prefixes.items() if self.region.startswith(prefix)), "aws")


@dataclass(frozen=True)
class Platform:
    """The parts that operations work with."""

    store: SqliteJobStore
    life: JobLife
    gateway: Gateway
    quotas: Quotas
    faults: Faults
    clock: Clock
