"""The same durable work by Clary, DBOS, Prefect and Metaflow, side by side: ``python bench/engines.py [--write]``.

Every peer runs in an environment of its own, made by uv with the versions below and kept in ``--environments``
(default: a temporary folder).
``--steps`` and ``--fan`` scale the work down for a try. Rounds of all are interleaved, so that a
busy moment hits each alike.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from results import report, table

PEERS = Path(__file__).with_name("peers")


@dataclass(frozen=True)
class Contender:
    """One that does the work."""

    name: str
    script: str
    promise: str
    """What a finished step survives, and how it is kept."""
    packages: tuple[str, ...] = ()
    """Pinned; none: the environment that runs this."""
    arguments: tuple[str, ...] = ()
    share: float = 1.0
    """Of the work that is given to it: per item it is the same, and nobody waits for hours."""
    resumes_by: str = "the same run goes on"


CONTENDERS = (
    Contender("Clary", "clary_peer.py", "kill -9: SQLite, WAL, synchronous NORMAL"),
    Contender("Clary, full sync", "clary_peer.py", "loss of power: SQLite, WAL, FULL", arguments=("full",)),
    Contender("DBOS 3.4.0", "dbos_peer.py", "", ("dbos==3.4.0",), resumes_by="at the next launch"),
    Contender(
        "Prefect 3.8.8",
        "prefect_peer.py",
        "kill -9: results as files, states sent later",
        ("prefect==3.8.8", "fastapi<0.145"),
        share=0.1,
        resumes_by="a new run, every task cached",
    ),
    Contender(
        "Metaflow 2.19.39",
        "metaflow_peer.py",
        "kill -9: files, a process for each step",
        ("metaflow==2.19.39", "setuptools<81"),
        share=0.01,
        resumes_by="a new run by `resume`",
    ),
)


def environment_for(contender: Contender, folder: Path) -> str:
    """Return the interpreter of the contender's environment, making it if it is not there."""
    if not contender.packages:
        return sys.executable
    from uv import find_uv_bin

    place = folder / "-".join(contender.packages).replace("<", "-below-").replace("=", "-")
    python = place / "bin" / "python"
    if not (place / "made").exists():
        subprocess.run([find_uv_bin(), "venv", "--quiet", "--clear", place, "--python", sys.executable], check=True)
        install = [find_uv_bin(), "pip", "install", "--quiet", "--python", str(python), *contender.packages]
        subprocess.run(install, check=True)
        (place / "made").touch()
    return str(python)


def perform(contender: Contender, python: str, work: str, count: int, folder: str) -> tuple[float, float]:
    """Let it do the work; return the seconds that it tells, and those from the start of the process to its end."""
    command = [python, str(PEERS / contender.script), work, str(count), folder, *contender.arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "DBOS", "METAFLOW"))}
    clean["NO_PROXY"] = "127.0.0.1"
    # Prefect leaves a server behind, all the more when it is killed: it would hold pipes open, and burden the next one.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=folder, env=clean, start_new_session=True)
        code = process.wait()
        took = time.perf_counter() - started
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        errors.seek(0)
        printed, complained = output.read(), errors.read()
    if work == "die":
        assert code in (0, -signal.SIGKILL), complained[-2000:]
        return 0.0, took
    if code:
        sys.exit(f"{contender.name} could not do “{work}”:\n{printed[-1000:]}{complained[-3000:]}")
    return float(json.loads(printed.strip().splitlines()[-1])["seconds"]), took


def per_item(contender: Contender, python: str, work: str, count: int) -> float:
    """Return the seconds of one item of the work."""
    items = max(5, int(count * contender.share))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return perform(contender, python, work, items, folder)[0] / items


def resume(contender: Contender, python: str, count: int) -> float:
    """Return the seconds from the start of a process to the result of a run that was killed behind its last step."""
    items = max(5, int(count * contender.share))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        perform(contender, python, "die", items, folder)
        return perform(contender, python, "resume", items, folder)[1]


def sync_of_dbos(python: str) -> str:
    """Return how DBOS keeps its SQLite file, as the file itself says after a run."""
    contender = next(one for one in CONTENDERS if one.script.startswith("dbos"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        perform(contender, python, "steps", 5, folder)
        import sqlite3

        connection = sqlite3.connect(Path(folder) / "dbos.sqlite")
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        connection.close()
    return f"loss of power: SQLite, {mode.upper()}, synchronous as SQLite has it (FULL)"


def measure(contenders: dict[Contender, str], steps: int, fan: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of each kind of work by contender."""
    seen: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        for contender, python in contenders.items():
            found = {
                "steps": per_item(contender, python, "steps", steps),
                "values": per_item(contender, python, "values", steps),
                "resume": resume(contender, python, steps),
            }
            if number == 0 or contender.share == 1:
                found["fan"] = per_item(contender, python, "fan", fan)
            for work, seconds in found.items():
                seen.setdefault(contender.name, {}).setdefault(work, []).append(seconds)
            print(f"round {number + 1}, {contender.name}: {found}", file=sys.stderr)
    return {name: {work: statistics.median(every) for work, every in of.items()} for name, of in seen.items()}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--fan", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environments", type=Path)
    parser.add_argument("--write", action="store_true", help="keep the result in RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.environments or Path(temporary)
        contenders = {one: environment_for(one, place.resolve()) for one in CONTENDERS}
        found = measure(contenders, options.steps, options.fan, options.rounds)
        dbos = sync_of_dbos(next(python for one, python in contenders.items() if one.script.startswith("dbos")))
    report("durable", "python bench/engines.py --write", _body(found, dbos, options.steps, options.fan))


def _body(found: dict[str, dict[str, float]], dbos: str, steps: int, fan: int) -> str:
    base, full = found["Clary"], found["Clary, full sync"]

    def cell(name: str, work: str, unit: float, sign: str) -> str:
        seconds = found[name][work]
        times = "" if name.startswith("Clary") else f" ({seconds / base[work]:.0f} / {seconds / full[work]:.0f} times)"
        return f"{seconds * unit:.2f} {sign}{times}"

    rows = []
    for one in CONTENDERS:
        count = max(5, int(steps * one.share))
        rows.append(
            [
                one.name,
                one.promise or dbos,
                cell(one.name, "steps", 1000, "ms"),
                cell(one.name, "values", 1000, "ms"),
                cell(one.name, "fan", 1000, "ms"),
                f"{found[one.name]['resume']:.2f} s of {count} steps, {one.resumes_by}",
            ]
        )
    header = ["what", "a finished step survives", "a trivial step", "with 4 KB", f"of {fan:,} at once", "after kill -9"]
    shares = ", ".join(f"{one.name} {one.share:.0%}" for one in CONTENDERS if one.share < 1)
    note = (
        "In brackets: times Clary's, with kill -9 survived / with loss of power survived. "
        f"{steps:,} steps in a row; of all work the following did a part, and the cost of one item is shown: {shares}. "
        "“After kill -9” is from the start of a new process to the result."
    )
    return table(header, rows) + "\n\n" + note


if __name__ == "__main__":
    main()
