"""DBOS on SQLite: ``python dbos_peer.py WORK COUNT FOLDER``. Steps in a workflow; recovery at the next launch."""

import asyncio
import json
import os
import signal
import sys
import time

from dbos import DBOS, DBOSConfig, SetWorkflowID

work, count, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
config: DBOSConfig = {
    "name": "bench",
    "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
    "log_level": "ERROR",
    "run_admin_server": False,
    "application_version": "1",
}
DBOS(config=config)
dying = False


@DBOS.step()
def add(total, number):
    return total + number


@DBOS.step()
def text(total, number):
    return f"{total + number:4096d}"


@DBOS.step()
async def add_async(number):
    return number + 1


@DBOS.workflow()
def steps(count):
    total = 0
    for number in range(count):
        total = add(total, number)
    if dying:
        os.kill(os.getpid(), signal.SIGKILL)
    return total


@DBOS.workflow()
def values(count):
    total = 0
    for number in range(count):
        total = int(text(total, number))
    return total


@DBOS.workflow()
async def fan(count):
    return sum(await asyncio.gather(*[add_async(number) for number in range(count)]))


def timed(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


DBOS.launch()
if work == "die":
    dying = True
    with SetWorkflowID("the-run"):
        steps(count)
elif work == "resume":
    assert DBOS.retrieve_workflow("the-run").get_result() == sum(range(count))
    took = 0.0
elif work == "fan":
    asyncio.run(fan(10))
    took = timed(lambda: asyncio.run(fan(count)))
else:
    body = {"steps": steps, "values": values}[work]
    body(10)
    took = timed(lambda: body(count))
print(json.dumps({"seconds": took}))
sys.stdout.flush()
os._exit(0)
