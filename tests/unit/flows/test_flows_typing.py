"""What an editor and a type checker know of flows and checkpoints: mypy reads a sample and says what it sees."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SAMPLE = """
from clary import Client, checkpoint, flow, wait, wait_async

@checkpoint
def double(value: int) -> int: return value * 2

@checkpoint(retries=2)
async def fetch(name: str) -> bytes: return b""

@flow
def plain(n: int) -> str:
    reveal_type(double(n))  # int
    reveal_type(double.submit(n).result())  # int
    reveal_type(double.map([1]).results())  # list[int]
    reveal_type(double.product([1], [2]).results())  # list[int]
    reveal_type(wait("x", bool))  # bool
    return ""

@flow(retries=2, instance_type="ml.m5.large")
async def in_a_loop(n: int) -> float:
    reveal_type(await fetch("a"))  # bytes
    reveal_type(await fetch.submit("a"))  # bytes
    reveal_type(fetch.map(["a"]).results())  # list[bytes]
    reveal_type(await wait_async("x", int))  # int
    return 1.0

reveal_type(plain(1))  # str
reveal_type(plain.run(1).result())  # str
reveal_type(plain.with_options(key="k").on("s").run(n=1).resume().result())  # str
reveal_type(in_a_loop(1))  # float
reveal_type(in_a_loop.run(1).result())  # float
reveal_type(Client().runs.get("x").status)  # str
reveal_type(plain.run(1).view().status)  # str
plain.run("x")  # error: "run" of "Flow"
plain.with_options(stak="x")  # error: Unexpected keyword argument "stak"
double("x")  # error: "__call__" of "Checkpoint"
"""


def test_types_of_calls_are_known(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text(SAMPLE)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    said: dict[int, str] = {}
    for line in done.stdout.splitlines():
        if found := re.match(r".*sample\.py:(\d+): (?:note: Revealed type is \"([^\"]+)\"|error: (.*))", line):
            number, revealed, error = found.groups()
            said[int(number)] = revealed.replace("builtins.", "") if revealed else f"error: {error}"
    assert said, done.stdout + done.stderr
    for number, line in enumerate(SAMPLE.splitlines(), start=1):
        code, _, wanted = line.partition("  # ")
        if wanted.startswith("error: "):
            assert wanted.removeprefix("error: ") in said[number], (code, said[number])
        elif wanted:
            assert said[number] == wanted, code
        else:
            assert number not in said, (code, said[number])
