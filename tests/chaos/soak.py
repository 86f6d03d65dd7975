"""Many seeded runs that die, pause and are disturbed at random: ``scripts/soak [--runs N] [--seed S] [--write]``.

Each run goes through up to six attempts that are killed at a random point, paused there and overtaken, or told to stop
by SIGTERM, over either log, with random timing in its bodies; flows that wait are answered and woken in between. In the
end the record must hold every call once, nothing that was recorded may have run again, and the result must be right.
A failing seed is printed: ``--seed S --runs 1`` plays it again.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import crashing
from clary.runtime import stopping
from durable import KINDS, open_log

RESULTS = Path(__file__).parents[2] / "docs" / "internals" / "soak-results.md"
ATTEMPTS = 6
FENCED = 76
STOPPED = 143


def one_run(seed: int, folder: Path, seen: Counter[str]) -> None:
    """Take one run through its deaths to its end, and check it."""
    chance = random.Random(seed)
    kind, flow = chance.choice(KINDS), chance.choice(list(crashing.FLOWS))
    crashing.start(kind, folder)
    paused: list[int] = []
    number = 0
    try:
        while not crashing.is_completed(kind, folder):
            number += 1
            if number > 1:
                crashing.take_over(kind, folder, number)
            death = _death(chance) if number < ATTEMPTS else crashing.Death()
            child = _begin(kind, folder, flow, number, death, seed + number)
            status = os.waitpid(child, os.WUNTRACED)[1]
            if os.WIFSTOPPED(status):
                paused.append(child)
            seen[_told(status)] += 1
            if len(paused) > 1 and chance.random() < 0.5:
                _wake(paused.pop(0))
        while paused:
            _wake(paused.pop())
    finally:
        for child in paused:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    crashing.check(kind, folder, flow)
    seen["attempts"] += number


def _begin(kind: str, folder: Path, flow: str, number: int, death: crashing.Death, seed: int) -> int:
    def act() -> int:
        stopping.obey_sigterm()  # as a job does
        log, store = open_log(kind, folder)
        return crashing.run_attempt(log, store, folder, flow, number, death, seed)

    return crashing.fork(act)


def _death(chance: random.Random) -> crashing.Death:
    (by,) = chance.choices([signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM], [5, 3, 2])
    return crashing.Death(chance.choice(crashing.POINTS), chance.randint(1, 14), by)


def _told(status: int) -> str:
    if os.WIFSTOPPED(status):
        return "paused"
    if crashing.is_killed(status):
        return "killed"
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, FENCED, STOPPED), f"exit code {code}"
    return "stopped" if code == STOPPED else "ended"


def _wake(child: int) -> None:
    os.kill(child, signal.SIGCONT)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (FENCED, 0), f"a woken attempt ended with {code}"  # 0: it was paused behind its last write


def main() -> int:
    """Run the soak and report; 1 when a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--write", action="store_true", help="keep the result in docs/internals/soak-results.md")
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    failed: list[int] = []
    started = time.monotonic()
    for number in range(options.runs):
        seed = options.seed + number * 1000
        with tempfile.TemporaryDirectory() as folder:
            try:
                one_run(seed, Path(folder), seen)
            except AssertionError as error:
                failed.append(seed)
                print(f"seed {seed}: {error!r}", file=sys.stderr)
    text = _report(options.runs, options.seed, seen, failed, time.monotonic() - started)
    print(text)
    if options.write:
        RESULTS.write_text(text)
    return bool(failed)


def _report(runs: int, seed: int, seen: Counter[str], failed: list[int], seconds: float) -> str:
    outcome = f"{len(failed)} failed: seeds {failed[:10]}" if failed else "all right"
    return (
        "# Last soak\n\n"
        f"`scripts/soak --runs {runs} --seed {seed} --write`, {datetime.now(UTC):%Y-%m-%d}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {seconds:.0f} s.\n\n"
        f"{runs} runs, {outcome}: {seen['attempts']} attempts, of which {seen['killed']} were killed, "
        f"{seen['paused']} paused and overtaken, {seen['stopped']} told to stop, {seen['ended']} ended by themselves.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
