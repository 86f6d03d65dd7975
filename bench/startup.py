"""How long starting takes over a bare interpreter: ``python bench/startup.py [--write]``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import report, table

ROUNDS = 15
CLARY = str(Path(sys.executable).with_name("clary"))
COMMANDS = {
    "bare interpreter": [sys.executable, "-c", "pass"],
    "import clary": [sys.executable, "-c", "import clary"],
    "from clary import flow": [sys.executable, "-c", "from clary import flow"],
    "clary --version": [CLARY, "--version"],
    "clary --help": [CLARY, "--help"],
    "clary stack list": [CLARY, "stack", "list"],
}
BARS = {"import clary": 50, "clary --version": 90, "clary stack list": 300}
"""Milliseconds over a bare interpreter (DESIGN §11)."""


def main() -> None:
    """Time every command in turn, several rounds, and report medians."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "CLARY_HOME": home}
        for round_number in range(ROUNDS + 1):
            for name, command in COMMANDS.items():
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environment)
                if round_number:  # the first round only warms up
                    times[name].append((time.perf_counter() - started) * 1000)
    bare = statistics.median(times["bare interpreter"])
    rows = []
    for name, measured in times.items():
        median = statistics.median(measured)
        bar = f"{BARS[name]} ms" if name in BARS else ""
        rows.append([name, f"{median:.0f} ms", f"{median - bare:.0f} ms", f"{median / bare:.1f}", bar])
    body = table(["command", "median", "over bare", "ratio to bare", "bar"], rows)
    report("startup", "python bench/startup.py --write", body)


if __name__ == "__main__":
    main()
