"""The demonstration behind scripts/demo: everything goes through the command line, as a person would type it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

CLARY = str(Path(sys.executable).with_name("clary"))
STACK = "clary-demo"
FLOW = "examples/digits.py:digits"
REQUIREMENTS = ("scikit-learn",)


def main() -> int:
    """Run the demonstration and return its exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, default=8, help="models to train")
    options.add_argument("--pause", type=float, default=1.0, help="seconds that each training takes on top")
    chosen = options.parse_args()

    step("1. The sandbox: SageMaker on this machine, at a loopback address")
    if sandbox() is None:
        clary("sandbox", "start", "--detach", *[part for name in REQUIREMENTS for part in ("--with", name)])
    step("2. A stack: a SageMaker stack that points at it")
    if any(stack["name"] == STACK for stack in ask("stack", "list")["items"]):
        ask("stack", "delete", STACK, "--force")  # of an earlier demonstration; its sandbox may have had another port
    clary("stack", "create", STACK, "--type", "sandbox", "--no-activate")
    step(f"3. The flow: {chosen.models} models trained in one SageMaker job, which is killed (SIGKILL) half-way")
    run = killed_run(chosen.models, chosen.pause)
    step("4. The same run again: what was finished does not run again")
    clary("runs", "resume", run)
    return epilogue(run)


def killed_run(models: int, pause: float) -> str:
    """Start the flow, kill its container when half of the models are recorded, and return the run's id."""
    before = {run["id"] for run in ask("runs", "list", "--stack", STACK)["items"]}
    print(f"(a thread of this script kills the job's container when {models // 2} models are recorded)", flush=True)
    killer = threading.Thread(target=kill_half_way, args=(before, models), daemon=True)
    killer.start()
    inputs = ["--input", f"models={models}", "--input", f"pause={pause}"]
    clary("run", FLOW, "--stack", STACK, *inputs, may_fail=True)
    killer.join(timeout=30)
    return newest(before)


def kill_half_way(before: set[str], models: int) -> None:
    """Watch the run from outside, as anybody may who can read the bucket, and kill the container's first process."""
    from clary.agent import service
    from clary.stacks.service import resolve

    stack = resolve(STACK)
    while True:
        time.sleep(0.1)
        found = next((run for run in service.list_runs(stack, limit=1) if run.id not in before), None)
        if found is None:
            continue
        run = service.get_run(stack, found.id)
        trained = [call for call in run.calls if call.name == "train"]
        if len(trained) >= models // 2:
            pid = container_of(str(run.attempts[-1].job))
            os.kill(pid, signal.SIGKILL)
            print(
                f"\n>>> kill -9 {pid}   (the job's container; {len(trained)} of {models} models are recorded)\n",
                flush=True,
            )
            return
        if run.status in {"completed", "failed", "stopped"}:
            return


def container_of(job: str) -> int:
    """Return the process, as this machine sees it, that is the first one of the job's container."""
    mark = f"TRAINING_JOB_NAME={job}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            inner = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("NSpid:"))
            if inner.split()[-1] == "1" and mark in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except (OSError, StopIteration):
            continue
    raise SystemExit(f"No container of {job} runs here.")


def epilogue(run: str) -> int:
    """Show what came of it, and three commands to try next."""
    view = ask("runs", "show", run)["item"]
    kept = [call for call in view["calls"] if call["attempt"] < len(view["attempts"])]
    step("5. What came of it")
    print(f"Run {run} is {view['status']}: {view['result']}")
    attempts, calls = len(view["attempts"]), len(view["calls"])
    print(f"{attempts} attempts; {len(kept)} of its {calls} calls were done before the kill, and ran once.")
    for artifact in view["artifacts"]:
        print(f"Artifact {artifact['name']:<10} {artifact['location']}")
    command = "clary" if shutil_which("clary") == CLARY else os.path.relpath(CLARY)
    print("\nTry next:")
    print(f"  {command} runs show {run}")
    print(f"  {command} runs logs {run}")
    print(f"  {command} run {FLOW} --stack {STACK} --input models=4")
    print(f"The sandbox goes on until: {command} sandbox stop")
    return 0 if view["status"] == "completed" else 1


def shutil_which(name: str) -> str | None:
    """Return where the shell that started this finds a command, leaving out the project's own environment."""
    import shutil

    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ.get("PATH", "").split(os.pathsep) if part != own)
    return shutil.which(name, path=path)


def newest(before: set[str]) -> str:
    """Return the id of the run that was started here."""
    runs = ask("runs", "list", "--stack", STACK)["items"]
    return next(str(run["id"]) for run in runs if run["id"] not in before)


def sandbox() -> dict[str, Any] | None:
    """Return the state of the running sandbox, None when none runs."""
    answer = subprocess.run([CLARY, "sandbox", "status", "-o", "json"], capture_output=True, text=True, check=False)
    return json.loads(answer.stdout)["item"] if answer.returncode == 0 else None


def clary(*arguments: str, may_fail: bool = False) -> None:
    """Run a command before the person's eyes."""
    print(f"$ clary {' '.join(arguments)}", flush=True)
    done = subprocess.run([CLARY, *arguments], check=False)
    if done.returncode and not may_fail:
        raise SystemExit(done.returncode)


def ask(*arguments: str) -> Any:
    """Return the answer of a command as data."""
    return json.loads(subprocess.run([CLARY, *arguments, "-o", "json"], capture_output=True, check=True).stdout)


def step(title: str) -> None:
    """Print a heading."""
    print(f"\n=== {title}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
