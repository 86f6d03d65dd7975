"""Starting is quick, as a ratio to a bare interpreter on the same machine at the same time; and what is public."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import clary

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"
ROUNDS = 7
LIMITS = {"import clary": 4.0, "clary --version": 10.0, "clary stack list": 20.0}
"""Generous: twice what is measured on a quiet machine (bench/RESULTS.md), for a busy one."""


def test_start_up_is_a_small_multiple_of_a_bare_interpreter(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("clary"))
    commands = {
        "bare": [sys.executable, "-c", "pass"],
        "import clary": [sys.executable, "-c", "import clary"],
        "clary --version": [program, "--version"],
        "clary stack list": [program, "stack", "list"],
    }
    environment = {**os.environ, "CLARY_HOME": str(tmp_path)}
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(ROUNDS):  # in turn, and the best of each, so that a busy moment hits all alike
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            best[name] = min(best[name], time.perf_counter() - started)
    ratios = {name: best[name] / best["bare"] for name in LIMITS}
    assert all(ratios[name] < limit for name, limit in LIMITS.items()), ratios


def test_the_public_names_are_these_and_documented() -> None:
    assert sorted(clary.__all__) == [
        "Cache",
        "Client",
        "Image",
        "Retries",
        "Stack",
        "__version__",
        "as_completed",
        "checkpoint",
        "configure",
        "create_stack",
        "current_run",
        "current_stack",
        "delete_stack",
        "flow",
        "list_stacks",
        "load",
        "log",
        "progress",
        "save",
        "sleep",
        "sleep_async",
        "use_stack",
        "wait",
        "wait_async",
    ]
    page = PAGE.read_text()
    for name in clary.__all__:
        assert getattr(clary, name) is not None
        assert name.startswith("__") or name in page, name
    assert dir(clary) == sorted(clary.__all__)
