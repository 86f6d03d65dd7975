"""The same trivial steps on other engines, each in an environment of its own that uv makes and removes.

Each program prints the seconds of one step, which is kept before the next one begins: DBOS in SQLite, Prefect with the
result persisted, Metaflow as a step of its own process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """One engine: what is installed, and the program that measures it."""

    name: str
    packages: tuple[str, ...]
    program: str


_DBOS = """
import json, os, sys, time
from dbos import DBOS, DBOSConfig
database = f"sqlite:///{sys.argv[1]}/dbos.sqlite"
config: DBOSConfig = {
    "name": "bench", "system_database_url": database, "log_level": "ERROR", "run_admin_server": False
}
DBOS(config=config)

@DBOS.step()
def add(total, number):
    return total + number

@DBOS.workflow()
def loop(count):
    total = 0
    for number in range(count):
        total = add(total, number)
    return total

DBOS.launch()
loop(10)
times = []
for _ in range(5):
    started = time.perf_counter()
    loop(200)
    times.append((time.perf_counter() - started) / 200)
print(json.dumps(sorted(times)[2]))
sys.stdout.flush()
os._exit(0)
"""
_PREFECT = """
import json, os, sys, time
os.environ |= {
    "PREFECT_HOME": sys.argv[1] + "/prefect", "PREFECT_LOGGING_LEVEL": "ERROR", "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

@task(persist_result=True, cache_policy=NO_CACHE)
def add(total, number):
    return total + number

@flow
def loop(count):
    total = 0
    started = time.perf_counter()
    for number in range(count):
        total = add(total, number)
    return (time.perf_counter() - started) / count

loop(5)
print(json.dumps(sorted(loop(100) for _ in range(3))[1]))
sys.stdout.flush()
os._exit(0)
"""
_METAFLOW = """
import json, os, subprocess, sys, time
os.environ |= {"METAFLOW_DATASTORE_SYSROOT_LOCAL": sys.argv[1], "USERNAME": "bench"}

def program(count):
    steps = "".join(
        f"    @step\\n    def s{n}(self):\\n        self.total += {n}\\n"
        f"        self.next(self.{'end' if n == count - 1 else f's{n + 1}'})\\n"
        for n in range(count)
    )
    return (
        "from metaflow import FlowSpec, step\\nclass Loop(FlowSpec):\\n"
        "    @step\\n    def start(self):\\n        self.total = 0\\n        self.next(self.s0)\\n"
        f"{steps}    @step\\n    def end(self):\\n        pass\\nif __name__ == '__main__':\\n    Loop()\\n"
    )

def seconds(count):
    with open("loop.py", "w") as file:
        file.write(program(count))
    started = time.perf_counter()
    subprocess.run([sys.executable, "loop.py", "--quiet", "run"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started

seconds(1)
print(json.dumps((seconds(11) - seconds(1)) / 10))
"""

PEERS = (
    Peer("DBOS, a step kept in SQLite", ("dbos==3.4.0",), _DBOS),
    Peer("Prefect, a task with its result persisted", ("prefect==3.8.8", "fastapi<0.145"), _PREFECT),
    Peer("Metaflow, a step", ("metaflow==2.19.39",), _METAFLOW),
)


def measure(peer: Peer) -> float:
    """Return the peer's seconds of a step."""
    from uv import find_uv_bin

    with tempfile.TemporaryDirectory() as folder:
        uv = find_uv_bin()
        subprocess.run([uv, "venv", "--quiet", f"{folder}/venv", "--python", sys.executable], check=True)
        python = f"{folder}/venv/bin/python"
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *peer.packages], check=True)
        (Path(folder) / "peer.py").write_text(peer.program)
        done = subprocess.run([python, "peer.py", folder], check=False, capture_output=True, text=True, cwd=folder)
        if done.returncode != 0:
            raise SystemExit(f"{peer.name} could not be measured:\n{done.stderr[-2000:]}")
        return float(json.loads(done.stdout.strip().splitlines()[-1]))
