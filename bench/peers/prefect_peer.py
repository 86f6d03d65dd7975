"""Prefect with results on disk: ``python prefect_peer.py WORK COUNT FOLDER``.

It does not take a run up again; what comes nearest is to run the flow once more with every task's result cached.
"""

import json
import logging
import os
import signal
import sys
import time

work, count, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.environ |= {
    "PREFECT_HOME": folder,
    "PREFECT_LOCAL_STORAGE_PATH": f"{folder}/storage",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "DO_NOT_TRACK": "1",
}

from prefect import flow, task  # noqa: E402 - it reads its settings when it is imported
from prefect.cache_policies import INPUTS  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402

logging.disable(logging.ERROR)
kept = {"persist_result": True, "cache_policy": INPUTS}


@task(**kept)
def add(total, number, salt):
    return total + number


@task(**kept)
def text(total, number, salt):
    return f"{total + number:4096d}"


@task(**kept)
def one(number, salt):
    return number + 1


spent = []


@flow
def steps(count, salt):
    started = time.perf_counter()
    total = 0
    for number in range(count):
        total = add(total, number, salt)
    spent.append(time.perf_counter() - started)
    if work == "die" and salt == "the run":
        os.kill(os.getpid(), signal.SIGKILL)
    return total


@flow
def values(count, salt):
    started = time.perf_counter()
    total = 0
    for number in range(count):
        total = int(text(total, number, salt))
    spent.append(time.perf_counter() - started)
    return total


@flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
def fan(count, salt):
    started = time.perf_counter()
    total = sum(one.map(range(count), salt=salt).result())
    spent.append(time.perf_counter() - started)
    return total


if work in ("die", "resume"):
    steps(count, "the run")
    took = spent[-1]
else:
    body = {"steps": steps, "values": values, "fan": fan}[work]
    body(5, "first")
    body(count, "second")
    took = spent[-1]  # without what each call of a flow costs besides, seconds for the server and its events
print(json.dumps({"seconds": took}))
sys.stdout.flush()
os._exit(0)
