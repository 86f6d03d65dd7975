"""The jobs that a run's flow asked for itself, one for each isolated call: listed from the record, stopped, read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clary.errors import AwsError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.agent.place import Place
    from clary.journal.state import RunState
    from clary.sagemaker.logs import Tail

JOBS_AT_ONCE = 4
"""Jobs whose output is looked at in one second: two requests each, of 25 that CloudWatch takes from an account."""


@dataclass(frozen=True)
class ChildJob:
    """One job of one isolated call."""

    path: str
    """Of the call."""
    job: str
    number: int
    """The how-manieth job of the call it is, from 1."""
    attempt: int
    """The run's attempt that asked for it."""
    ended: bool
    """Whether its end is in the record."""


def jobs_of(state: RunState) -> list[ChildJob]:
    """Return the jobs of a run's isolated calls, in the order in which they were asked for."""
    every = [job for jobs in state.call_jobs.values() for job in jobs]
    return [
        ChildJob(job["path"], job["job"], job["n"], job["attempt"], job["taken"] or job["end"] is not None)
        for job in sorted(every, key=lambda job: float(job["at"]))
    ]


def stop_left(place: Place, state: RunState) -> None:
    """Stop every job of an isolated call that may be under way: the flow's own process may be dead.

    Raises AwsError for what could not be stopped, once all the others have been asked to.
    """
    from clary.sagemaker import jobs

    trouble: AwsError | None = None
    for child in jobs_of(state):
        if child.ended:
            continue
        try:
            jobs.stop(place.aws, child.job)
        except NotFoundError:
            pass  # it was never made, and now nobody makes it
        except AwsError as error:
            trouble = error
    if trouble is not None:
        raise trouble


class Output:
    """What the jobs of a run's calls print, as (``path host``, epoch seconds, line): a few of them read in turn."""

    def __init__(self, place: Place, besides: frozenset[str] = frozenset()) -> None:
        """Read the jobs of this place, but for those that are named."""
        self._place = place
        self._over = set(besides)
        self._besides = besides
        self._tails: dict[str, Tail] = {}
        self._read: dict[str, float] = {}
        """When a job's output was looked at last."""

    def new_lines(self, state: RunState) -> Iterator[tuple[str, float, str]]:
        """Yield what has come from those jobs under way that were not looked at for the longest time."""
        going = [child for child in jobs_of(state) if child.job not in self._over and self._is_going(child)]
        for child in sorted(going, key=lambda child: self._read.get(child.job, 0.0))[:JOBS_AT_ONCE]:
            self._read[child.job] = time.monotonic()
            yield from self._lines(child)
            if child.ended:
                self._over.add(child.job)

    def rest(self, state: RunState) -> Iterator[tuple[str, float, str]]:
        """Yield all that has not been read, of all jobs: CloudWatch may have the last lines late."""
        for child in jobs_of(state):
            if child.job not in self._besides:
                yield from self._lines(child)

    def _is_going(self, child: ChildJob) -> bool:
        return not child.ended or child.job in self._tails

    def _lines(self, child: ChildJob) -> Iterator[tuple[str, float, str]]:
        from clary.sagemaker.logs import Tail

        tail = self._tails.setdefault(child.job, Tail(self._place.aws, child.job))
        for line in tail.new_lines():
            yield f"{child.path} {line.host}", line.timestamp_ms / 1000, line.text
