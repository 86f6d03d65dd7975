"""Flows whose checkpoints run in jobs of their own."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from clary import as_completed, checkpoint, current_run, flow, load, log, save

SMALL = {"instance_type": "ml.c5.large", "volume_size_in_gb": 5}
HERE = Path(__file__).parent
TOOLS = {"PATH": "/opt/ml/code/tools:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"}


@checkpoint(runtime="isolated", resources=SMALL, limit=3)
def apart(number: int, pause: float = 0.0) -> dict[str, Any]:
    """Tell where it runs; leave a mark that a second run of the body would show."""
    print(f"body of apart {number}", flush=True)
    time.sleep(pause)
    return {"number": number * 10, "job": os.environ["TRAINING_JOB_NAME"], "large": "x" * 100_000}


@checkpoint
def near(number: int) -> int:
    return number + 1


@flow
def spread(count: int = 3, pause: float = 0.0) -> dict[str, Any]:
    """Calls beside each other, and one in the flow's own job."""
    beside = [future.result() for future in as_completed(apart.map(range(count), pause=pause))]
    return {
        "numbers": sorted(one["number"] for one in beside),
        "jobs": sorted({one["job"] for one in beside}),
        "own": os.environ["TRAINING_JOB_NAME"],
        "near": near(1),
    }


enduring = flow(name="enduring")(spread.function)
held = flow(name="held")(spread.function)


@checkpoint(runtime="isolated", resources={**SMALL, "environment": {"OWN": "yes"}})
def tells(name: str) -> str:
    """Use all that a body may ask and tell."""
    save(f"kept-{name}", {"by": name})
    log(told=name, canary=len(os.environ["LAB_CANARY"]))
    run = current_run()
    return f"{load('first')} {os.environ['OWN']} {run.path} {run.attempt} {len(run.idempotency_key)} {run.rank}"


@checkpoint(runtime="isolated", resources=SMALL)
def divide(by: int) -> float:
    return 1 / by


@checkpoint(runtime="isolated", resources=SMALL)
def nests() -> int:
    return near(1)


@checkpoint(runtime="isolated", resources=SMALL, retries=1)
def killed(word: str) -> str:
    """Be killed in the first job."""
    if not os.environ["CLARY_CALL"].endswith("/2"):
        os.kill(os.getpid(), signal.SIGKILL)
    return word


@flow
def odds() -> dict[str, Any]:
    """What may be asked in a body, what is refused there, and what becomes of failures."""
    save("first", "kept")
    calls = {"told": tells.submit("a"), "divided": divide.submit(0), "nested": nests.submit()}
    calls["killed"] = killed.submit("again")
    failures = {name: call.exception() for name, call in calls.items()}
    return {
        name: f"{type(error).__name__}: {error}" if (error := failures[name]) is not None else call.result()
        for name, call in calls.items()
    }


@checkpoint(runtime="isolated", resources={**SMALL, "instance_count": 2}, distribution="hosts")
def together(fail_on: int = -1) -> dict[str, Any]:
    """Meet the other host."""
    run = current_run()
    if run.rank == fail_on:
        raise ValueError(f"host {run.rank} does not want to")
    said = ""
    if run.rank == 0:
        with socket.create_server(("", 7000)) as server:
            peer, _ = server.accept()
            said = peer.recv(100).decode()
    else:
        _say(run.hosts[0], f"hello from {run.hosts[run.rank]}")
    return {"hosts": list(run.hosts), "rank": run.rank, "said": said}


def _say(host: str, text: str) -> None:
    for _ in range(100):
        try:
            with socket.create_connection((host, 7000)) as peer:
                peer.sendall(text.encode())
            return
        except OSError:
            time.sleep(0.1)


@flow
def meets(fail_on: int = -1) -> dict[str, Any]:
    return together(fail_on)


_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
_MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")


@checkpoint(runtime="isolated", resources={**SMALL, "instance_count": 2}, distribution={"torchrun": 2})
def torched(fail_on: int = -1) -> dict[str, Any]:
    """Tell the variables that torchrun's workers have, and by what they were started."""
    if int(os.environ["RANK"]) == fail_on:
        raise ValueError(f"rank {fail_on} does not want to")
    print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], "runs", flush=True)
    told = {name: os.environ[name] for name in _LAUNCHED}
    return {**told, "launcher": os.environ.get("STAND_IN", "none"), "host": current_run().rank}


@checkpoint(
    runtime="isolated",
    resources={**SMALL, "instance_count": 2, "environment": TOOLS},
    distribution={"mpi": 2},
)
def passed(fail_on: int = -1) -> dict[str, Any]:
    """Add up a number of each process, and tell the variables that mpirun's processes have."""
    rank, size, total = _added_up(10)
    if rank == fail_on:
        raise ValueError(f"rank {fail_on} does not want to")
    print("rank", rank, "on host", current_run().rank, flush=True)
    told = {name: os.environ[name] for name in _MPI}
    return {**told, "host": current_run().rank, "rank": rank, "size": size, "total": total}


def _added_up(number: int) -> tuple[int, int, int]:
    """Ask Open MPI's own library for this process's rank, how many there are, and the sum over all of them."""
    mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)

    def named(name: str) -> ctypes.c_void_p:
        return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, name)))

    world = named("ompi_mpi_comm_world")
    mpi.MPI_Init(None, None)
    rank, size, mine, total = (ctypes.c_int() for _ in range(4))
    mpi.MPI_Comm_rank(world, ctypes.byref(rank))
    mpi.MPI_Comm_size(world, ctypes.byref(size))
    mine.value = number * (rank.value + 1)
    kind, operation = named("ompi_mpi_int"), named("ompi_mpi_op_sum")
    mpi.MPI_Allreduce(ctypes.byref(mine), ctypes.byref(total), 1, kind, operation, world)
    mpi.MPI_Finalize()
    return rank.value, size.value, total.value


@checkpoint(
    runtime="isolated",
    resources={**SMALL, "instance_count": 2, "environment": {"PATH": "/opt/venv/bin"}},
    distribution="mpi",
)
def toolless() -> None:
    """Be started where no mpirun is found."""


@flow
def launched() -> dict[str, Any]:
    """Both launchers, at once; and an image without MPI."""
    calls = {
        "torch": torched.submit(),
        "torch_failed": torched.submit(3),
        "mpi": passed.submit(),
        "mpi_failed": passed.submit(3),
        "toolless": toolless.submit(),
    }
    failures = {name: call.exception() for name, call in calls.items()}
    return {
        name: f"{type(error).__name__}: {error}" if (error := failures[name]) is not None else call.result()
        for name, call in calls.items()
    }
