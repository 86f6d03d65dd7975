"""Flows whose checkpoints run in jobs of their own."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

from clary import as_completed, checkpoint, current_run, flow, load, log, save

SMALL = {"instance_type": "ml.c5.large", "volume_size_in_gb": 5}


@checkpoint(runtime="isolated", resources=SMALL, limit=3)
def apart(number: int, pause: float = 0.0) -> dict[str, Any]:
    """Tell where it runs; leave a mark that a second run of the body would show."""
    print(f"body of apart {number}", flush=True)
    time.sleep(pause)
    return {"number": number * 10, "job": os.environ["TRAINING_JOB_NAME"], "large": "x" * 100_000}


@checkpoint
def near(number: int) -> int:
    return number + 1


@checkpoint(runtime="isolated", resources={**SMALL, "environment": {"OWN": "yes"}})
def tells(name: str) -> str:
    """Use all that a body may ask and tell."""
    save(f"kept-{name}", {"by": name})
    log(told=name, canary=len(os.environ["LAB_CANARY"]))
    run = current_run()
    return f"{load('first')} {os.environ['OWN']} {run.path} {run.attempt} {len(run.idempotency_key)} {run.rank}"


@flow
def spread(count: int = 3, pause: float = 0.0) -> dict[str, Any]:
    """A call by itself, a fan-out, and one beside them in the flow's own job."""
    first = apart(0, pause)
    beside = [future.result() for future in as_completed(apart.map(range(1, count), pause=pause))]
    return {
        "numbers": sorted(one["number"] for one in [first, *beside]),
        "jobs": sorted({one["job"] for one in [first, *beside]}),
        "own": os.environ["TRAINING_JOB_NAME"],
        "near": near(1),
    }


@flow
def tell() -> str:
    save("first", "kept")
    return tells("a")


@checkpoint(runtime="isolated", resources=SMALL)
def divide(by: int) -> float:
    return 1 / by


@checkpoint(runtime="isolated", resources=SMALL)
def nests() -> int:
    return near(1)


@flow
def divides(by: int = 0) -> str:
    try:
        return str(divide(by))
    except ZeroDivisionError as error:
        return f"caught {error}"


@flow
def nested() -> int:
    return nests()


@checkpoint(runtime="isolated", resources=SMALL, retries=1)
def killed(marker: str) -> str:
    """Be killed in the first job; the second finds the mark of the first one."""
    from pathlib import Path

    print(f"body of killed in {os.environ['TRAINING_JOB_NAME']}", flush=True)
    if not os.environ["CLARY_CALL"].endswith("/2"):
        os.kill(os.getpid(), signal.SIGKILL)
    return marker + Path("/etc/hostname").name


@flow
def survives() -> str:
    return killed("again ")


@checkpoint(runtime="isolated", resources={**SMALL, "instance_count": 2}, distribution="hosts")
def together(fail_on: int = -1) -> dict[str, Any]:
    """Meet the other host."""
    run = current_run()
    if run.rank == fail_on:
        raise ValueError(f"host {run.rank} does not want to")
    if run.rank == 0:
        with socket.create_server(("", 7000)) as server:
            peer, _ = server.accept()
            said = peer.recv(100).decode()
    else:
        said = ""
        for _ in range(100):
            try:
                with socket.create_connection((run.hosts[0], 7000)) as peer:
                    peer.sendall(f"hello from {run.hosts[run.rank]}".encode())
                break
            except OSError:
                time.sleep(0.1)
    return {"hosts": list(run.hosts), "rank": run.rank, "said": said}


@flow
def meets(fail_on: int = -1) -> dict[str, Any]:
    return together(fail_on)
