"""Starting the processes of a distributed call on one host: torchrun and mpirun, with what each of them expects.

Sources: "torchrun (Elastic Launch)" in PyTorch's documentation (the variables of a worker); the man page of Open MPI's
mpirun; the SageMaker training toolkit (sshd on every host, mpirun on the first, the others wait for its end).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from clary.engine import failure
from clary.errors import ClaryError, ConfigError, Retry
from clary.flows import isolation
from clary.runtime import memory
from clary.runtime.isolated import tasks
from clary.runtime.isolated.hosts import NAME_PATIENCE, wait_for_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clary.journal.records import Record
    from clary.runtime.isolated.entry import Assignment

OUTCOMES_VARIABLE = "CLARY_OUTCOMES"
"""The folder of this host in which its processes leave how they ended."""
OPT_ML_VARIABLE, CODE_VARIABLE = "CLARY_OPT_ML", "CLARY_CODE"
MASTER_PORT = 29500
"""The port of PyTorch's own default."""
WORDLESS = "call.launcher_failed"
"""The code of a failure of which no process has left a word on this host."""
_WORKER = "clary.runtime.isolated.worker"
_TREE = Path(__file__).resolve().parents[3]
_GRACE = 10.0
_PAUSE = 0.5
_OWN_FILE = Path(tempfile.gettempdir()) / "clary-host.json"
"""Variables of this host for the processes that another host's mpirun starts here."""
_OWN_PREFIX = "AWS_CONTAINER_"
"""Of the variables by which each host has credentials of its own."""
_OWN_TO_A_HOST = frozenset({"HOSTNAME", "HOME", "PWD", "OLDPWD", "SHLVL", "_", isolation.RANK_VARIABLE})


def launch(launcher: str, assignment: Assignment, root: Path) -> Record:
    """Run the processes of a call on this host to their end; return how it ended, the call's result on the first host.

    Raises ClaryError ``call.host_unknown``, ConfigError (``call.no_mpirun``, ``call.no_sshd``).
    """
    sys.path.insert(0, str(root))
    kills_before = memory.kills()
    with tempfile.TemporaryDirectory(prefix="clary-outcomes-") as folder:
        environment = _environment(assignment, Path(folder), root)
        if launcher == isolation.MPI:
            code = _mpi(assignment, environment)
        else:
            wait_for_names(assignment.hosts.names)
            code = _torchrun(assignment, environment)
        outcomes = [json.loads(file.read_text()) for file in sorted(Path(folder).glob("*.json"), key=_written)]
    if (first := next((one for one in outcomes if "error" in one), None)) is not None:
        return dict(first)
    if code == 0 and (outcomes or not assignment.hosts.leads):
        return {"v": 1, "output": None, "records": [], **(outcomes[0] if outcomes else {})}
    return _without_outcome(launcher, assignment, code, kills_before)


def take_own_variables() -> None:
    """Set what is this host's own, in a process that another host has started here."""
    if _OWN_FILE.exists():
        os.environ.update(json.loads(_OWN_FILE.read_text()))


def processes_of(assignment: Assignment) -> int:
    """Return how many processes start on each host: as told, else one for each accelerator, else one."""
    told = assignment.planned["processes"]
    if told is not None:
        return int(told)
    return len(list(Path("/dev").glob("nvidia[0-9]*"))) or 1


def _written(file: Path) -> int:
    return file.stat().st_mtime_ns


def _environment(assignment: Assignment, folder: Path, root: Path) -> dict[str, str]:
    hosts = assignment.hosts
    found = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_TREE), os.environ.get("PYTHONPATH")])),
        OUTCOMES_VARIABLE: str(folder),
        OPT_ML_VARIABLE: str(assignment.opt_ml),
        CODE_VARIABLE: str(root),
        "MASTER_ADDR": hosts.names[0],
        "MASTER_PORT": str(MASTER_PORT),
    }
    if hosts.interface:
        for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
            found.setdefault(name, hosts.interface)
    return found


# -- torchrun


def _torchrun(assignment: Assignment, environment: dict[str, str]) -> int:
    hosts, processes = assignment.hosts, processes_of(assignment)
    if importlib.util.find_spec("torch") is None:
        print("clary: there is no torch in the image; its variables are set, and the processes are started plainly.")
        return _plain_workers(assignment, environment, processes)
    command = [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(len(hosts.names)), "--node_rank", str(hosts.rank), "--nproc_per_node", str(processes)),
        *("--master_addr", hosts.names[0], "--master_port", str(MASTER_PORT)),
        *("--module", _WORKER),
    ]
    return _run([(command, environment)])


def _plain_workers(assignment: Assignment, environment: dict[str, str], processes: int) -> int:
    """Start the workers as torchrun would, for frameworks that read the same variables."""
    hosts = assignment.hosts
    started = []
    for local in range(processes):
        own = {
            "RANK": hosts.rank * processes + local,
            "WORLD_SIZE": len(hosts.names) * processes,
            "LOCAL_RANK": local,
            "LOCAL_WORLD_SIZE": processes,
            "NODE_RANK": hosts.rank,
            "GROUP_RANK": hosts.rank,
        }
        variables = {name: str(value) for name, value in own.items()}
        started.append(([sys.executable, "-m", _WORKER], {**environment, **variables}))
    return _run(started)


# -- MPI


def _mpi(assignment: Assignment, environment: dict[str, str]) -> int:
    """Run mpirun on the first host; let the others be reached until the call has its result."""
    hosts = assignment.hosts
    mpirun = _program("mpirun", "call.no_mpirun", "Use an image with Open MPI.")
    if len(hosts.names) == 1:
        return _run([(_mpirun(mpirun, assignment, environment), environment)])
    sshd = _program(
        "sshd",
        "call.no_sshd",
        "mpirun reaches the other hosts by ssh: use an image with openssh-server and openssh-client, host keys, and a "
        "key of root's that root accepts without a password.",
    )
    wait_for_names(hosts.names)
    Path("/run/sshd").mkdir(parents=True, exist_ok=True)  # sshd's own folder, which Debian's does not make
    if hosts.leads:
        _wait_for_ssh(hosts.names[1:])
        return _run([(_mpirun(mpirun, assignment, environment), environment)])
    own = {name: value for name, value in environment.items() if name.startswith(_OWN_PREFIX)}
    _OWN_FILE.touch(mode=0o600)
    _OWN_FILE.write_text(json.dumps({**own, OUTCOMES_VARIABLE: environment[OUTCOMES_VARIABLE]}))
    daemon = subprocess.Popen([sshd, "-D", "-e"], env=environment)
    try:
        return _until_the_end(assignment, daemon)
    finally:
        daemon.terminate()
        daemon.wait()


def _mpirun(mpirun: str, assignment: Assignment, environment: dict[str, str]) -> list[str]:
    """Return the command line, in Open MPI's words. ``-x`` passes variables by name, so no value is seen in it."""
    hosts, processes = assignment.hosts, processes_of(assignment)
    hostfile = Path(environment[OUTCOMES_VARIABLE]) / "hosts"
    hostfile.write_text("".join(f"{name} slots={processes}\n" for name in hosts.names))
    interface = ["--mca", "btl_tcp_if_include", hosts.interface, "--mca", "oob_tcp_if_include", hosts.interface]
    # The hosts were made for this job, and so were their keys: there is nobody to have known them before.
    agent = ["--mca", "plm_rsh_args", "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"]
    passed = sorted(name for name in environment if name not in _OWN_TO_A_HOST and not name.startswith(_OWN_PREFIX))
    return [
        *(mpirun, "--allow-run-as-root", "--tag-output", "-np", str(len(hosts.names) * processes)),
        *("--hostfile", str(hostfile), "--wdir", str(Path.cwd())),
        *(part for part in (interface if hosts.interface and len(hosts.names) > 1 else []) if part),
        *(agent if len(hosts.names) > 1 else []),
        *(part for name in passed for part in ("-x", name)),
        *(sys.executable, "-m", _WORKER),
    ]


def _program(name: str, code: str, next_step: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if found is None:
        raise ConfigError(code, f"The image has no {name}, which distribution=“mpi” needs.", next_step=next_step)
    return found


def _wait_for_ssh(names: Sequence[str]) -> None:
    """Wait until the other hosts listen: they do once they have the code."""
    give_up = time.monotonic() + NAME_PATIENCE
    for name in names:
        while True:
            try:
                socket.create_connection((name, 22), timeout=5).close()
                break
            except OSError as error:
                if time.monotonic() > give_up:
                    raise ClaryError(
                        "call.host_unknown",
                        f"The host {name} of the job does not listen for ssh after {NAME_PATIENCE:g} seconds: {error}.",
                        next_step="See that host's output in the job's logs; sshd says there why it does not start.",
                        retry=Retry.LATER,
                    ) from None
                time.sleep(_PAUSE)


def _until_the_end(assignment: Assignment, daemon: subprocess.Popen[bytes]) -> int:
    """Wait for the call's result, which the first host writes; an sshd that ends before is a failure."""
    while tasks.read(assignment.store, assignment.place.result) is None:
        try:
            return daemon.wait(_PAUSE * 2) or 1
        except subprocess.TimeoutExpired:
            continue
    return 0


# -- processes


def _run(commands: Sequence[tuple[list[str], dict[str, str]]]) -> int:
    """Run commands side by side; the first failure ends the others. Return its exit code, or 0."""
    running = [subprocess.Popen(command, env=env, start_new_session=True) for command, env in commands]
    try:
        while running:
            for process in list(running):
                code = process.poll()
                if code:
                    return code
                if code == 0:
                    running.remove(process)
            time.sleep(0.05)
        return 0
    finally:
        _end(running)


def _end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, number)
        give_up = time.monotonic() + _GRACE
        while any(process.poll() is None for process in running) and time.monotonic() < give_up:
            time.sleep(0.05)


def _without_outcome(launcher: str, assignment: Assignment, code: int, kills_before: int | None) -> Record:
    """Return the failure of a host whose processes have left no word."""
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    kills = memory.kills()
    starved = kills is not None and kills_before is not None and kills > kills_before
    error = ClaryError(
        WORDLESS,
        f"The processes that {launcher} started on {assignment.hosts.current} ended without a result ({how})"
        + (": one was killed for want of memory." if starved else "."),
        next_step="Choose an instance type with more memory, or hold less at once."
        if starved
        else "See that host's output in the job's logs.",
    )
    cause = "out_of_memory" if starved else "user_code"
    return {"v": 1, "error": failure.describe(error, assignment.store), "cause": cause, "records": []}
