"""The jobs that a run's flow asked for itself, one for each isolated call: listed from the record, stopped, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clary.errors import AwsError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.agent.place import Place
    from clary.journal.state import RunState


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


def lines(place: Place, state: RunState) -> Iterator[tuple[str, float, str]]:
    """Yield what the jobs of the calls have printed so far, as (``path host``, epoch seconds, line)."""
    from clary.sagemaker import logs

    for child in jobs_of(state):
        for line in logs.tail(place.aws, child.job, stop=lambda: True):
            yield f"{child.path} {line.host}", line.timestamp_ms / 1000, line.text
