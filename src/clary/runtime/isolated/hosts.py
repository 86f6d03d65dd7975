"""The hosts of a job, as SageMaker tells them, and what each must know of the others."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import ClaryError, Retry
from clary.flows.isolation import HOSTS_VARIABLE, RANK_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME_PATIENCE = 120.0
"""Seconds for which the names of the other hosts may be unknown: DNS lags behind the start of the machines."""
_PAUSE = 0.5


@dataclass(frozen=True)
class Hosts:
    """The machines of this job."""

    names: tuple[str, ...]
    """In the order of their numbers: ``algo-2`` before ``algo-10``."""
    current: str
    interface: str | None = None
    """The network interface by which they see each other."""
    instance_type: str | None = None

    @property
    def rank(self) -> int:
        """The number of this host, from 0."""
        return self.names.index(self.current)

    @property
    def leads(self) -> bool:
        """Whether this host writes the result."""
        return self.rank == 0

    def environment(self) -> dict[str, str]:
        """Return the variables that tell the hosts, on this one."""
        return {HOSTS_VARIABLE: ",".join(self.names), RANK_VARIABLE: str(self.rank)}

    @classmethod
    def read(cls, opt_ml: Path) -> Hosts:
        """Return what ``resourceconfig.json`` says; this machine alone where it says nothing."""
        try:
            config: dict[str, Any] = json.loads((opt_ml / "input" / "config" / "resourceconfig.json").read_text())
            names = sorted(config["hosts"], key=lambda name: (len(name), name))
            found = cls(
                tuple(names),
                config["current_host"],
                config.get("network_interface_name"),
                config.get("current_instance_type"),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return cls(("localhost",), "localhost")
        return found if found.current in found.names else cls(("localhost",), "localhost")


def wait_for_names(names: Sequence[str], seconds: float = NAME_PATIENCE) -> None:
    """Wait until every host's name has an address; raises ClaryError ``call.host_unknown``."""
    give_up = time.monotonic() + seconds
    for name in names:
        while not _known(name):
            if time.monotonic() > give_up:
                raise ClaryError(
                    "call.host_unknown",
                    f"The host {name} of the job has had no address for {seconds:g} seconds.",
                    next_step="Try again. In a VPC of your own, let the security group's members reach each other.",
                    retry=Retry.LATER,
                )
            time.sleep(_PAUSE)


def _known(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True
