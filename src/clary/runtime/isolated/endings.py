"""How the job of an isolated call ended: by its result, or by what SageMaker says of a job that left none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.errors import ClaryError, RunFailedError
from clary.journal import records
from clary.runtime.isolated import tasks
from clary.sagemaker import failures

if TYPE_CHECKING:
    from clary.journal.records import Record
    from clary.objects import ObjectStore
    from clary.runtime.isolated.dispatch import Ticket
    from clary.runtime.isolated.jobs import Job


def of_result(ticket: Ticket, result: Record, template: Record) -> Record:
    """Return the record of the end of a job that has left a result."""
    outcome = "failed" if "error" in result else "completed"
    return records.call_job_ended(
        ticket.call.path,
        ticket.number,
        outcome,
        instance_type=result.get("instance_type") or _instance_type(template),
        instance_count=tasks.hosts_of(template),
        seconds=result.get("seconds"),
    )


def of_dead_job(
    ticket: Ticket, job: Job | None, template: Record, store: ObjectStore
) -> tuple[Record | None, ClaryError | None, Record]:
    """Return what a job left that ended without a result: a host's failure or an error, and the record of its end."""
    found = failures.explain(None) if job is None else failures.explain(job.status, job.secondary, job.reason)
    end = records.call_job_ended(
        ticket.call.path,
        ticket.number,
        "failed" if found.outcome == "completed" else found.outcome,
        instance_type=(job.instance_type if job else None) or _instance_type(template),
        instance_count=tasks.hosts_of(template),
    )
    for rank in range(1, tasks.hosts_of(template)):
        told = tasks.read(store, ticket.place.host(rank))
        if told is not None and "error" in told:
            return told, None, end
    if found.outcome == "completed":
        return None, _without_result(ticket), end
    error = RunFailedError(
        "call.job_failed",
        f"The job {ticket.job} of {ticket.call.path} ended without a result: {found.summary}",
        next_step=found.next_step,
        retry=found.retry,
        details={"cause": found.cause, "job": ticket.job, "frames": list(found.frames)},
    )
    return None, error, end


def _without_result(ticket: Ticket) -> RunFailedError:
    return RunFailedError(
        "call.job_failed",
        f"The job {ticket.job} of {ticket.call.path} completed, but left no result.",
        next_step="Check that the image starts what its request says, and look at the job's logs; then resume the run.",
        details={"cause": "internal", "job": ticket.job},
    )


def _instance_type(template: Record) -> str | None:
    found: str | None = template["ResourceConfig"].get("InstanceType")
    return found
