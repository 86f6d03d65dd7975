"""The live view of a followed run: what happens, line by line, on a terminal and in a pipe alike."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from clary.cli import format as human
from clary.cli import output
from clary.cli.output import say
from clary.cli.progress_line import ProgressLine
from clary.cli.run_text import call_line, log_line

if TYPE_CHECKING:
    from clary.agent.views import CallView, PhaseView, ProgressView, RunView


class LiveView:
    """An ``Observer`` that prints. One object follows one run, through a stop or a second look at it."""

    def __init__(self) -> None:
        self.run: RunView | None = None
        """The run as it was submitted; None until then."""
        self._attempt = 0
        self._phase: tuple[int, PhaseView] | None = None
        """The last phase told, and its attempt."""
        self._phases: set[tuple[int, str, float | None]] = set()
        self._said: Counter[tuple[int, str]] = Counter()
        self._again: Counter[tuple[int, str]] = Counter()
        """Lines, by attempt and host, that a second look at the job tells once more."""
        self._hosts: set[str] = set()
        self._calls: set[tuple[str, int]] = set()
        self._kept: Counter[int] = Counter()
        self._progress = ProgressLine()

    def submitted(self, run: RunView) -> None:
        """Print what runs, where, and under which job."""
        first = self.run is None
        self.run = run
        latest = run.attempts[-1] if run.attempts else None
        self._attempt = latest.number if latest else 1
        if first:
            self._say(f"Run {output.style(run.id, bold=True)}: {run.flow} on {run.stack}")
        if latest is not None and latest.job:
            self._say(f"  attempt {latest.number}, job {latest.job}")
        elif self._attempt > 1:
            self._say(f"  attempt {self._attempt}")

    def phase(self, attempt: int, phase: PhaseView) -> None:
        """Print a phase that began, and how long the one before it took."""
        key = (attempt, phase.name, phase.started)
        if key in self._phases:
            return
        self._phases.add(key)
        told, self._phase = self._phase, (attempt, phase)
        before = told[1] if told is not None and told[0] == attempt else None  # an attempt ends with its last phase
        self._attempt = max(self._attempt, attempt)
        when = human.clock(phase.started) if phase.started is not None else "        "
        took = ""
        if before is not None and before.started is not None and phase.started is not None:
            took = f"  [{before.name} took {human.duration(phase.started - before.started)}]"
        message = f"  {phase.message}" if phase.message else ""
        self._say(f"  {when}  {output.style(phase.name, 'cyan')}{message}{took}")

    def log(self, host: str, timestamp: float, line: str) -> None:  # noqa: ARG002 the line is printed as it comes
        """Print a line of the job's output; the host is named once there are several."""
        key = (self._attempt, host)
        if self._again[key]:
            self._again[key] -= 1
            return
        self._said[key] += 1
        self._say_kept()
        self._say(log_line(host, line, self._hosts))

    def call(self, call: CallView) -> None:
        """Print a checkpoint call; those recorded by an earlier attempt are counted and told in one line."""
        if (call.path, call.attempt) in self._calls:
            return
        self._calls.add((call.path, call.attempt))
        if call.attempt < self._attempt and call.status == "completed":
            self._kept[call.attempt] += 1
            return
        self._say_kept()
        self._say(f"  {call_line(call)}")

    def progress(self, lines: tuple[ProgressView, ...]) -> None:
        """Print how far the call is that told last."""
        if lines:
            self._progress.show(lines[-1])

    def note(self, text: str) -> None:
        """Print something the person should know."""
        self._say(f"  {output.style('·', 'cyan')} {text}")

    def look_again(self) -> None:
        """Expect to be told once more of all that was printed: only what is new is printed then."""
        self._again = self._said.copy()

    def finish(self) -> None:
        """Print what was held back; the summary follows."""
        self._progress.clear()
        self._say_kept()

    def _say(self, text: str) -> None:
        self._progress.clear()
        say(text)

    def _say_kept(self) -> None:
        if not self._kept:
            return
        count = sum(self._kept.values())
        attempts = [str(number) for number in sorted(self._kept) if number]
        noun = "checkpoint" if count == 1 else "checkpoints"
        word = "attempt" if len(attempts) == 1 else "attempts"
        sources = ["the replayed run"] if 0 in self._kept else []  # what no attempt of this run has recorded
        sources += [f"{word} {' and '.join(attempts)}"] if attempts else []
        self._kept.clear()
        self._say(f"  {output.style('✓', 'green')} {count} {noun} kept from {' and '.join(sources)}, not run again")


class SilentView:
    """An ``Observer`` for ``-o json``: only remembers which run it is."""

    def __init__(self) -> None:
        self.run: RunView | None = None

    def submitted(self, run: RunView) -> None:
        """Remember the run."""
        self.run = run

    def phase(self, attempt: int, phase: PhaseView) -> None:
        """Print nothing."""

    def log(self, host: str, timestamp: float, line: str) -> None:
        """Print nothing."""

    def call(self, call: CallView) -> None:
        """Print nothing."""

    def progress(self, lines: tuple[ProgressView, ...]) -> None:
        """Print nothing."""

    def note(self, text: str) -> None:
        """Print nothing."""

    def look_again(self) -> None:
        """Print nothing."""

    def finish(self) -> None:
        """Print nothing."""
