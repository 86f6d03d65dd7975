"""From the record of a run, and what SageMaker says of its job, to what a person is shown."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clary.agent.views import (
    ArtifactView,
    AttemptView,
    CallJobView,
    CallView,
    FailureView,
    PhaseView,
    RunView,
    TryView,
    WaitView,
)
from clary.artifacts import preview
from clary.journal import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.journal.records import Record
    from clary.journal.state import Attempt, RunState
    from clary.objects import ObjectStore

_NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_RETRY = {"out_of_memory": "no", "user_code": "no", "permission": "no", "image": "no", "time_limit": "no"}


def run_view(state: RunState, store: ObjectStore, jobs: Mapping[int, Record] | None = None) -> RunView:
    """Return the view of a run.

    Args:
        state: the folded log.
        store: where its values lie.
        jobs: what was just seen of the attempts' jobs (``job_record``), newer than what the log holds.
    """
    jobs = jobs or {}
    return RunView(
        id=state.run,
        flow=state.flow,
        stack=state.stack,
        status=_status(state, jobs),
        created=state.created_at,
        started=state.started_at,
        ended=state.ended_at,
        inputs={name: preview(value) for name, value in state.inputs.items()},
        result=None if state.output is None else preview(state.output),
        failure=_failure_of(state),
        attempts=tuple(_attempt_view(attempt, jobs.get(number)) for number, attempt in sorted(state.attempts.items())),
        calls=tuple(call_view(record, store, state) for record in state.calls.values()),
        call_jobs=_call_jobs(state),
        artifacts=tuple(_artifact_view(record, store) for record in state.saved.values()),
        facts=dict(state.logged),
        key=state.key,
        replay_of=None if state.replay_of is None else _replay_of(state),
        waits=tuple(_wait_view(asked, state.answers.get(path)) for path, asked in state.waits.items()),
        wakes=None if state.suspension is None else state.suspension["until"],
    )


def _wait_view(asked: Record, answer: Record | None) -> WaitView:
    from clary.agent.answers import expected

    return WaitView(
        path=asked["path"],
        name=asked["name"],
        question=asked["question"],
        expected=expected(asked["schema"]),
        asked=asked["asked_at"],
        schema=asked["schema"],
        expires=asked["expires_at"],
        reminder=asked.get("reminder"),
        metadata=asked.get("metadata") or {},
        outcome=None if answer is None else answer["how"],
        answer=None if answer is None else answer["value"],
        by="" if answer is None else answer["by"],
    )


def call_view(record: Record, store: ObjectStore, state: RunState, *, attempt: int | None = None) -> CallView:
    """Return the view of a recorded call of a run; ``attempt`` for one that comes straight from the engine."""
    before = state.failed_tries.get(record["path"], ())
    failed = record["kind"] == records.CALL_FAILED
    output: Record = record.get("output", {})
    return CallView(
        path=record["path"],
        name=record["name"],
        status="failed" if failed else "completed",
        attempt=record["attempt"] if attempt is None else attempt,
        started=record["started"],
        ended=record["ended"],
        artifact=store.url(output["at"]) if "at" in output else None,
        preview=f"{record['error']['type']}: {record['error']['message']}" if failed else preview(output),
        origin=record.get("origin"),
        tries=len(before) + 1,
        failed_tries=tuple(TryView(one["n"], f"{one['type']}: {one['message']}", one["at"]) for one in before),
    )


def note_of(record: Record, at: float) -> str | None:
    """Return what to tell of a record that is neither a call nor an end; None for nothing."""
    kind = record["kind"]
    if kind in (records.TRY_FAILED, records.FLOW_RETRIED):
        what = record.get("path", "The flow")
        error = record["error"]
        pause = max(0.0, record["next_at"] - at)
        return f"{what}: try {record['n']} failed ({error['type']}: {error['message']}); again in {pause:.0f} s."
    if kind == records.SUSPENDED and record.get("retry"):
        return f"The platform ended the attempt; another one follows in {max(0.0, record['until'] - at):.0f} s."
    if kind == records.WAIT:
        return f"Waiting for an answer to {record['name']!r}: {record['question']}"
    if kind == records.ANSWER:
        return f"{record['path'].removeprefix('~wait:')}: {record['how']}" + (
            f" by {record['by']}." if record["by"] else "."
        )
    return None


def _replay_of(state: RunState) -> Record:
    replay: Record = state.replay_of or {}
    overrides = replay["overrides"]
    changes = [f"{name}={preview(state.inputs[name])}" for name in overrides["flow"]]
    for call, given in overrides["inputs"].items():
        changes += [f"{call}: {name}={preview(value)}" for name, value in given.items()]
    changes += [f"{call} = {preview(value)}" for call, value in overrides["outputs"].items()]
    changes += [f"{call} kept" for call in overrides["skip"]]
    return {"run": replay["run"], "at": replay["at"], "tag": replay["tag"], "changes": changes}


def failure_view(run: str, failure: Record) -> FailureView:
    """Return the view of a failure: the flow's own record of it, or what an observer made of a job's end."""
    cause = failure.get("cause", "internal")
    if "error" in failure:
        error = failure["error"]
        return FailureView(
            cause=cause,
            summary=f"{error['type']}: {error['message']}",
            next_step=error.get("next_step")
            or f"Mend the code, then go on with `clary runs resume {run}`. Recorded checkpoints do not run again.",
            retry=_RETRY.get(cause, "yes"),
            frames=tuple(error.get("frames", ())),
        )
    return FailureView(
        cause=cause,
        summary=failure.get("summary", "The run ended without saying why."),
        next_step=failure.get("next_step", f"Go on where it was with `clary runs resume {run}`."),
        retry=str(failure.get("retry", _RETRY.get(cause, "yes"))),
        frames=tuple(failure.get("frames", ())),
        exit_code=failure.get("exit_code"),
    )


def _failure_of(state: RunState) -> FailureView | None:
    if state.failure is None or not state.settled:
        return None
    shown = failure_view(state.run, state.failure)
    missing = _NO_MODULE.match(shown.summary)
    if missing is None or state.attempt is None:
        return shown
    return replace(shown, next_step=_missing_step(state.run, missing[1], as_job=state.attempt.job is not None))


def _missing_step(run: str, module: str, *, as_job: bool) -> str:
    """Return what to do about a module that was not there: in a job it can be missing in two places."""
    then = f"then go on with `clary runs resume {run}`."
    if not as_job:
        return f"Install what has the module {module} in the environment that runs clary, {then}"
    return (
        f"If {module} is a package, it is missing in the job's image: use one that has it (@flow(image=…), or --image "
        "of a stack). If it is a file of the project, it was not sent: see that git does not ignore it. Mend that, "
        f"{then}"
    )


def phase_views(job: Record) -> tuple[PhaseView, ...]:
    """Return the phases of a job's record."""
    return tuple(PhaseView(**phase) for phase in job.get("phases", ()))


def _status(state: RunState, jobs: Mapping[int, Record]) -> str:
    """Return the run's status; before the job has opened the log, what SageMaker does for it tells more."""
    attempt = state.attempt
    job = jobs.get(attempt.number) if attempt is not None else None
    if state.status == "submitted" and job is not None and job.get("status") == "InProgress":
        return "starting"
    return state.status


def _attempt_view(attempt: Attempt, job: Record | None) -> AttemptView:
    job = job or attempt.job_view or {}
    if attempt.outcome is not None:
        status = attempt.outcome
    elif attempt.opened_at is not None:
        status = "running"
    else:
        status = "starting" if job.get("status") == "InProgress" else "submitted"
    seconds: Any = job.get("billable_seconds")
    return AttemptView(
        number=attempt.number,
        status=status,
        job=attempt.job,
        instance_type=job.get("instance_type"),
        instance_count=job.get("instance_count") if job.get("instance_type") else None,
        started=attempt.opened_at or attempt.claimed_at,
        ended=attempt.ended_at,
        billable_seconds=seconds,
        phases=phase_views(job),
        image=(attempt.request or {}).get("AlgorithmSpecification", {}).get("TrainingImage"),
        image_size=attempt.spec.get("image_size"),
    )


def _call_jobs(state: RunState) -> tuple[CallJobView, ...]:
    every = [job for jobs in state.call_jobs.values() for job in jobs]
    return tuple(_call_job(job, settled=state.settled) for job in sorted(every, key=lambda job: float(job["at"])))


def _call_job(job: Record, *, settled: bool) -> CallJobView:
    end: Record = job["end"] or {}
    return CallJobView(
        path=job["path"],
        job=job["job"],
        attempt=job["attempt"],
        status=end.get("outcome") or ("unknown" if settled or job["taken"] else "running"),
        instance_type=end.get("instance_type"),
        instance_count=end.get("instance_count"),
        seconds=end.get("seconds"),
    )


def _artifact_view(record: Record, store: ObjectStore) -> ArtifactView:
    value: Record = record["value"]
    return ArtifactView(name=record["name"], location=store.url(value["at"]), type=value["t"], size=value.get("n"))
