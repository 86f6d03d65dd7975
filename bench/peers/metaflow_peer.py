"""Metaflow on local files: ``python metaflow_peer.py WORK COUNT FOLDER``. Its graph is static: the flow is written."""

import json
import os
import pathlib
import subprocess
import sys
import time

work, count, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
VALUE = {"values": "f'{self.total + 1:4096d}'"}.get(work, "self.total + 1")


def linear() -> str:
    lines = ["from metaflow import FlowSpec, step", "import os, signal", "class Bench(FlowSpec):"]
    names = ["start", *(f"s{number}" for number in range(count)), "end"]
    for name, after in zip(names, [*names[1:], ""], strict=True):
        lines += ["    @step", f"    def {name}(self):"]
        lines += ["        self.total = 0"] if name == "start" else []
        lines += (
            [f"        self.text = {VALUE}; self.total = int(self.text)"] if name[0] == "s" and name != "start" else []
        )
        if name == "end":
            lines += ["        if os.environ.get('DIE'): os.killpg(0, signal.SIGKILL)"]
        lines += [f"        self.next(self.{after})"] if after else []
    return "\n".join([*lines, "if __name__ == '__main__': Bench()", ""])


FAN = """
from metaflow import FlowSpec, step
class Bench(FlowSpec):
    @step
    def start(self):
        self.numbers = list(range({count}))
        self.next(self.one, foreach="numbers")
    @step
    def one(self):
        self.total = self.input + 1
        self.next(self.join)
    @step
    def join(self, inputs):
        self.total = sum(one.total for one in inputs)
        self.next(self.end)
    @step
    def end(self):
        pass
if __name__ == "__main__": Bench()
"""

(folder / "bench.py").write_text(FAN.format(count=count) if work == "fan" else linear())
environment = {**os.environ, "METAFLOW_HOME": str(folder), "USERNAME": "bench", "HOME": str(folder)}
if work == "die":
    environment["DIE"] = "1"
how = ["resume"] if work == "resume" else ["run", "--max-num-splits", "100000", "--max-workers", "8"]
started = time.perf_counter()
done = subprocess.run(
    check=False,
    args=[sys.executable, "bench.py", "--no-pylint", *how],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
    start_new_session=True,
)
took = time.perf_counter() - started
if work != "die" and done.returncode:
    sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
own = {"fan": 3, "resume": 0}.get(work, 2)  # steps that every flow has besides
print(json.dumps({"seconds": took * count / (count + own)}))
