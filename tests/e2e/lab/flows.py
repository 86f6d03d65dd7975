"""Flows that the end-to-end tests run as jobs: some do well, the others fail in every way there is."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from pathlib import Path
from typing import Any, Literal

from clary import as_completed, checkpoint, current_run, flow, log, save, wait


@checkpoint
def work(number: int, pause: float = 0.0) -> int:
    """Leave a mark in the log, so that a second run of the body would show."""
    print(f"body of work {number} in attempt {current_run().attempt}", flush=True)
    time.sleep(pause)
    return number * 10


@checkpoint
async def later(number: int) -> int:
    await asyncio.sleep(0.01)
    return number + 1


@flow
def steps(count: int = 4, pause: float = 0.0) -> dict[str, object]:
    """Some calls one after the other, a fan-out, kept values."""
    done = [work(number, pause) for number in range(count)]
    beside = sorted(future.result() for future in as_completed(work.map(range(100, 100 + count))))
    save("report", {"done": done})
    log(count=count)
    return {"done": done, "beside": beside, "host": Path("/etc/hostname").exists()}


@flow
async def gathered(count: int = 3) -> list[int]:
    return list(await asyncio.gather(*(later(number) for number in range(count))))


@flow
def forever() -> None:
    work(1)
    while True:
        time.sleep(0.05)


@checkpoint
def divide(by: int) -> float:
    return 1 / by


@flow
def divides(by: int) -> float:
    work(1)
    return divide(by)


@flow
def crashes() -> None:
    work(1)
    ctypes.string_at(0)


@flow
def devours(mebibytes: int = 4096) -> int:
    work(1)
    held = [bytearray(os.urandom(1 << 20)) for _ in range(mebibytes)]
    return len(held)


@flow
def returns_a_lock() -> object:
    import threading

    work(1)
    return threading.Lock()


@flow
def asks(expires: float = 0.0) -> list[Any]:
    options: dict[str, Any] = {"expires": expires, "default": "nobody"} if expires else {}
    before = work(1)
    answer = wait("approve", Literal["yes", "no", "nobody"], question="Ship it?", metadata={"cost": 3}, **options)
    return [before, answer, work(2)]


@flow(retries={"count": 1, "delay": 0.2, "jitter": False})
def persists() -> int:
    return work(1)
