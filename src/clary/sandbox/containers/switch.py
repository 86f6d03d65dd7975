"""A private network for the hosts of one job: a switch, and a network namespace for each host plugged into it.

A *switch* process holds the bridge in a network namespace of its own, and one child for each host holds that host's
namespace until its launcher has joined it. The launchers keep the writing end of a pipe open; when the last of them is
gone the switch reads the end of the file and goes too, whatever has become of the sandbox. pyroute2 speaks netlink.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from clary.errors import SandboxError
from clary.sandbox.containers import syscalls
from clary.sandbox.containers.plan import UserNamespace
from clary.sandbox.containers.users import new_user_namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clary.sandbox.model import ContainerSpec

INTERFACE = "eth0"
_SOURCE = str(Path(__file__).resolve().parents[3])
_RUN = "import sys; sys.path.append({src!r}); from clary.sandbox.containers.switch import run; run(*sys.argv[1:])"


@dataclass(frozen=True)
class Place:
    """Where a host stands among the hosts of its job."""

    address: str
    etc_hosts: str
    process: int = 0
    """Process whose namespaces the host's launcher joins; 0 when it makes its own."""
    lifeline: int | None = None
    """Descriptor that the launcher keeps open as long as it lives."""


@dataclass
class _Switch:
    processes: Sequence[int]
    lifeline: int
    free: set[str] = field(default_factory=set)


class Switches:
    """The switches of the jobs that are being started."""

    def __init__(self, users: UserNamespace) -> None:
        self._users = users
        self._switches: dict[str, _Switch] = {}
        self._lock = threading.Lock()

    def place(self, spec: ContainerSpec) -> Place:
        """Return the host's place; the first host of several makes the switch for all."""
        hosts = sorted(spec.hosts, key=_number)
        number = hosts.index(spec.host)
        lines = ["127.0.0.1 localhost", *(f"{_address(index)} {name}" for index, name in enumerate(hosts))]
        etc_hosts = "\n".join(lines) + "\n"
        if len(hosts) == 1:
            return Place(_address(0), etc_hosts)
        with self._lock:
            switch = self._switches.get(spec.job)
            if switch is None or spec.host not in switch.free:
                self._let_go(spec.job)
                switch = self._switches[spec.job] = _start(self._users, hosts)
            switch.free.remove(spec.host)
            return Place(_address(number), etc_hosts, switch.processes[number], switch.lifeline)

    def started(self, spec: ContainerSpec) -> None:
        """Say that the host's launcher holds its lifeline; after the last one the switch is theirs alone."""
        with self._lock:
            if spec.job in self._switches and not self._switches[spec.job].free:
                self._let_go(spec.job)

    def ended(self, job: str) -> None:
        """Say that a host of the job has ended; a switch that waits for more hosts waits no longer."""
        with self._lock:
            self._let_go(job)

    def close(self) -> None:
        """Let go of every switch that is still waiting for hosts."""
        with self._lock:
            for job in list(self._switches):
                self._let_go(job)

    def _let_go(self, job: str) -> None:
        switch = self._switches.pop(job, None)
        if switch is not None:
            os.close(switch.lifeline)


def _number(host: str) -> int:
    return int(host.rpartition("-")[2])


def _address(index: int) -> str:
    return f"10.0.{(index + 1) >> 8}.{(index + 1) & 255}"


def _start(users: UserNamespace, hosts: Sequence[str]) -> _Switch:
    waiting, lifeline = os.pipe()
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-I",
        "-c",
        _RUN.format(src=_SOURCE),
        users.value,
        str(len(hosts)),
        str(waiting),
        str(writing),
    ]
    try:
        process = subprocess.Popen(
            command, cwd="/", env={}, stdin=subprocess.DEVNULL, pass_fds=[waiting, writing], start_new_session=True
        )
    finally:
        os.close(waiting)
        os.close(writing)
    # Nobody else waits for it: this thread only collects it when it goes.
    threading.Thread(target=process.wait, name=f"switch-{process.pid}", daemon=True).start()
    with os.fdopen(reading) as status:
        answer = json.loads(status.read() or '{"failed": "the switch ended at once"}')
    if "failed" in answer:
        os.close(lifeline)
        raise SandboxError(
            "sandbox.network_failed",
            f"The network between the job's hosts could not be made: {answer['failed']}",
            next_step="Use one instance, or run the sandbox where network bridges can be made.",
        )
    return _Switch(answer["processes"], lifeline, set(hosts))


def run(users: str, count: str, waiting: str, status: str) -> NoReturn:
    """Be the switch process: make the network, say who holds each host's namespace, wait for the end."""
    answer: dict[str, object]
    try:
        new_user_namespace(UserNamespace(users))
        syscalls.unshare(syscalls.CLONE_NEWNET)
        holders = [_hold() for _ in range(int(count))]
        _connect(holders)
        answer = {"processes": holders}
    except OSError as error:
        answer = {"failed": str(error)}
    os.write(int(status), json.dumps(answer).encode())
    os.close(int(status))
    if "processes" in answer:
        os.read(int(waiting), 1)
    sys.exit(0)


def _hold() -> int:
    """Start a child with a network namespace of its own; it ends with this process."""
    made, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            syscalls.end_with_parent(signal.SIGKILL)
            syscalls.unshare(syscalls.CLONE_NEWNET)
            os.write(ready, b"1")
            os.closerange(0, 1024)
            signal.pause()
        finally:
            os._exit(1)
    os.close(ready)
    ok = os.read(made, 1)
    os.close(made)
    if not ok:
        raise PermissionError("a network namespace for a host was refused")
    return child


def _connect(holders: Sequence[int]) -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as netlink:
            netlink.link("add", ifname="switch", kind="bridge", br_stp_state=0)
            bridge = netlink.link_lookup(ifname="switch")[0]
            netlink.link("set", index=bridge, state="up")
            for number, holder in enumerate(holders):
                peer = {"ifname": INTERFACE, "net_ns_pid": holder}
                netlink.link("add", ifname=f"port{number}", kind="veth", peer=peer)
                port = netlink.link_lookup(ifname=f"port{number}")[0]
                netlink.link("set", index=port, master=bridge, state="up")
    except NetlinkError as error:
        raise OSError(*error.args) from error
