"""What the sandbox tells the launcher of one container. Standard library only: the launcher reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLAN = "plan.json"
STATE = "state.json"
EXIT = "exit.json"
OUTPUT = "output"
CREDENTIALS_SOCKET = "credentials.sock"
SANDBOX_SOCKET = "sandbox.sock"
CREDENTIALS_ADDRESS = "169.254.170.2"


class UserNamespace(StrEnum):
    """How the container's users are mapped to the host's."""

    NONE = "none"
    """No user namespace: the container's root is the host's, with fewer capabilities."""
    FULL = "full"
    """Made by root: every id is itself, but no capability reaches beyond the container."""
    SINGLE = "single"
    """Made by an ordinary user: the container's root is that user, and there is nobody else."""


@dataclass(frozen=True)
class Mount:
    """One folder or file of the host that the container sees."""

    source: str
    target: str
    """Absolute path inside; it exists in the image's root."""
    layered: bool = False
    """Whether the container may write to a layer of its own above it; otherwise it is read-only."""


@dataclass(frozen=True)
class Plan:
    """Everything the launcher needs to know, as plain data."""

    host: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    workdir: str
    user: str
    root: str
    """The image's root file system on the host; never written to."""
    mounts: Sequence[Mount]
    hidden: Sequence[str]
    """Folders inside that show nothing."""
    opt_ml: str
    read_only: Sequence[str]
    scratch: str
    sockets: str
    """Folder with the sandbox's unix sockets; empty for a container without network."""
    address: str
    """IPv4 address of this host among the hosts of the job."""
    etc_hosts: str
    user_namespace: UserNamespace
    overlay: bool
    """Whether overlay file systems work here; else image folders are read-only and the root is a copy."""
    endpoint_port: int = 0
    credentials_token: str = ""
    """Says to the sandbox whose credentials are asked for; the container never sees it."""
    memory_groups: Sequence[str] = ()
    """cgroup folders, made by the sandbox, that hold the memory limit."""
    join: int = 0
    """Process whose user and network namespaces are this host's place among several hosts; 0 for none."""
    layers: Sequence[str] = ()
    """Names of the folders beside the root that lie over it, the topmost first."""

    def write(self) -> Path:
        """Store the plan in its scratch folder; readable by the owner only, for it holds the environment."""
        path = Path(self.scratch) / PLAN
        write_whole(path, json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a stored plan."""
        data: dict[str, Any] = json.loads(path.read_text())
        data["mounts"] = [Mount(**one) for one in data["mounts"]]
        data["user_namespace"] = UserNamespace(data["user_namespace"])
        return cls(**data)
