"""The life of a run as seen from outside it: the only code here that changes a run's state.

Every step reads the log, looks at the job where that can tell more, and appends what follows, at the number behind what
it has read; somebody else's entry there is read and the step thought over. So a step can be taken twice, by several
processes at once, or be cut off anywhere, without harm. Nothing is ever concluded from ages.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from clary.agent import children, local, retries, waking
from clary.agent.planning import again, pointer_of
from clary.agent.present import run_view
from clary.errors import (
    AwsError,
    ClaryError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    ThrottledError,
    ValidationError,
)
from clary.journal import records
from clary.journal.state import WAITING, RunState, fold
from clary.journal.writer import append
from clary.runtime.pointer import RUN_VARIABLE, Pointer

if TYPE_CHECKING:
    from clary.agent.place import Place
    from clary.agent.views import Observer, RunView
    from clary.journal.log import Log
    from clary.journal.records import Record
    from clary.journal.state import Attempt
    from clary.sagemaker.failures import Failure
    from clary.sagemaker.jobs import JobView

QUOTA_PATIENCE = 60.0
"""Seconds for which a job is asked for again while the account's quota is used up by other jobs."""
_QUOTA_PAUSE = 5.0
_LOOK_SECONDS = 5.0
"""For which somebody who only looks at a run asks for its job, while AWS throttles."""
_TAIL = 60
"""Lines of the log that are looked at when a job left no reason."""
_NO_REASON = re.compile(r"\s*AlgorithmError:\s*(,\s*exit code:.*)?", re.DOTALL)


@dataclass(frozen=True)
class Seen:
    """A run after a look at it."""

    state: RunState
    view: RunView
    job: JobView | None = None
    """The latest attempt's job, where SageMaker was asked."""


def advance(place: Place, run: str, *, finish: bool = True) -> Seen:
    """Bring a run up to date and return it.

    ``finish`` also looks at the job of a run that is over until its own end is on record (its phases and its price).
    Raises NotFoundError (``run.not_found``), AwsError and its kin.
    """
    if place.local:
        state = local.mark_dead(place, run)
        return Seen(state, run_view(state, place.store))
    with place.log(run) as log:
        state = fold(log.read())
        if state.status == "absent":
            raise place.no_run(run)
        if state.settled and not finish:
            return Seen(state, run_view(state, place.store))
        return step(place, log, state)


def step(place: Place, log: Log, state: RunState, observer: Observer | None = None) -> Seen:
    """Take the next step for a run on SageMaker whose log was read up to ``state``, which is brought up to date."""
    from clary.sagemaker import jobs

    _record_ended_jobs(place, log, state)
    attempt = state.attempt
    if state.status == WAITING and not state.due(time.time()):
        return _seen(place, state, None)
    if state.status == WAITING and attempt is not None and attempt.outcome is not None:
        attempt = _claim_next(log, state)
    if attempt is None or attempt.job is None or (state.settled and attempt.job_view is not None):
        return _seen(place, state, None)
    job = jobs.describe(place.aws, attempt.job)
    if job is not None and _is_ours(job, attempt):
        if job.over:
            _record_end(place, log, state, attempt, job)
        return _seen(place, state, job)
    if state.settled:
        return _seen(place, state, None)
    _check_right_place(place, state, attempt)
    if attempt.opened_at is not None:
        _record_lost(log, state, attempt)
    elif state.stop_requested:
        _end(log, state, attempt.number, "stopped", None)
    else:
        return send(place, log, state, observer, wait=False)
    return _seen(place, state, None)


def send(place: Place, log: Log, state: RunState, observer: Observer | None = None, *, wait: bool = True) -> Seen:
    """Ask for the job of the latest attempt, by the request on record, or adopt the one that is there.

    A request that is refused for good ends the attempt on record, with the reason; so does, after a while, one that a
    used-up quota or throttling keeps out. Without ``wait``, for those who only look at the run, the latter two leave
    the claim as it is, for the next look. Raises AwsError where it is not known whether the job was made.
    """
    from clary.sagemaker import jobs

    attempt = state.attempt
    assert attempt is not None
    assert attempt.request is not None
    take_back_schedules(place, state)
    give_up = time.monotonic() + QUOTA_PATIENCE
    deadline = jobs.DEADLINE if wait else _LOOK_SECONDS
    while True:
        try:
            jobs.create(place.aws, attempt.request, pointer=pointer_of(attempt.request), deadline_seconds=deadline)
            break
        except ClaryError as error:
            if error.code in jobs.UNCERTAIN:  # whoever looks next finds the job, or sends the request again
                raise _unsure(state, error) from error
            if not wait and _may_pass(error):
                _tell(observer, error)
                break
            pause = random.uniform(0.5, 1) * _QUOTA_PAUSE
            if not isinstance(error, QuotaError) or _never_fits(error) or time.monotonic() + pause > give_up:
                _record_refusal(log, state, attempt, error)
                break
            _tell(observer, error)
            time.sleep(pause)
    return _seen(place, state, None)


def take_back_schedules(place: Place, state: RunState) -> None:
    """Delete the schedules of attempts that were to begin later, once the run goes on earlier or is over."""
    for attempt in state.attempts.values():
        if attempt.not_before is not None and attempt.opened_at is None:
            waking.unschedule(place, state.run, attempt.number)


def _claim_next(log: Log, state: RunState) -> Attempt | None:
    """Claim the attempt with which a waiting run goes on: it runs just what the one before ran."""

    def claimed(now: RunState) -> list[Record] | None:
        latest = now.attempt
        if now.status != WAITING or not now.due(time.time()) or latest is None or latest.outcome is None:
            return None  # somebody else has just done it
        assert latest.request is not None
        number = max(now.attempts) + 1
        job, request = again(latest.request, now.flow, now.run, number)
        return [records.attempt(number, job=job, request=request, spec=latest.spec, on_change=latest.on_change)]

    append(log, state, claimed)
    return state.attempt


def _record_ended_jobs(place: Place, log: Log, state: RunState) -> None:
    """Record what the jobs of earlier attempts, which have ended with a record of their own, took and cost."""
    from clary.sagemaker import jobs

    for attempt in list(state.attempts.values()):
        ended = attempt.outcome is not None and attempt.job_view is None and attempt.job is not None
        if not ended or (attempt is state.attempt and state.status != WAITING):
            continue
        job = jobs.describe(place.aws, str(attempt.job))
        if job is not None and job.over and _is_ours(job, attempt):
            _record_end(place, log, state, attempt, job)


def request_stop(place: Place, run: str) -> Seen:
    """Ask a run to stop: at once where its job was never made, else it is stopping until the job is gone."""
    if place.local:
        state = local.stop(place, run)
        return Seen(state, run_view(state, place.store))
    from clary.sagemaker import jobs

    with place.log(run) as log:
        state = fold(log.read())
        if state.status == "absent":
            raise place.no_run(run)
        append(log, state, local.stop_records)
        attempt = state.attempt
        if not state.settled and attempt is not None and attempt.job is not None:
            try:
                jobs.stop(place.aws, attempt.job)
            except NotFoundError:
                pass  # it was never made: the next step ends the run
        take_back_schedules(place, state)
        children.stop_left(place, state)
        return step(place, log, state)


def job_record(job: JobView) -> Record:
    """Return what is kept of a job, as plain data."""
    count = job.instance_count or 1
    return {
        "name": job.name,
        "arn": job.arn,
        "status": job.status,
        "secondary": job.secondary,
        "reason": job.failure_reason,
        "instance_type": job.instance_type,
        "instance_count": count,
        "billable_seconds": None if job.billable_seconds is None else job.billable_seconds * count,
        "phases": [asdict(phase) for phase in job.phases],
    }


def _seen(place: Place, state: RunState, job: JobView | None) -> Seen:
    known = {} if job is None or state.attempt is None else {state.attempt.number: job_record(job)}
    return Seen(state, run_view(state, place.store, known), job)


def _is_ours(job: JobView, attempt: Attempt) -> bool:
    return attempt.request is None or pointer_of(attempt.request).items() <= dict(job.environment).items()


def _check_right_place(place: Place, state: RunState, attempt: Attempt) -> None:
    """Refuse to conclude anything from a job's absence where it cannot be: in another account or region.

    A job's role is always of the job's own account, so the request tells which one that is.
    """
    assert attempt.request is not None
    account = attempt.request["RoleArn"].split(":")[4]
    region = Pointer.parse(attempt.request["Environment"][RUN_VARIABLE]).region
    here = place.aws.caller_account(), place.aws.region
    if here != (account, region):
        raise ConflictError(
            "run.elsewhere",
            f"Run {state.run} belongs to the account {account} in {region}; these credentials are of {here[0]} in "
            f"{here[1]}.",
            next_step="Use a stack and credentials of that account and region; what is recorded can be read from here.",
            field="run",
        )


def _record_end(place: Place, log: Log, state: RunState, attempt: Attempt, job: JobView) -> None:
    """Record the end of a job. What the run itself wrote at its end outranks what is seen from outside."""

    def ended(now: RunState) -> list[Record] | None:
        latest = now.attempts[attempt.number]
        if latest.job_view is not None:
            return None
        if latest.outcome is not None:
            return [records.attempt_ended(attempt.number, latest.outcome, None, job_record(job))]
        failure = _explained(place, job, stop_requested=now.stop_requested)
        seen = records.attempt_ended(attempt.number, failure.outcome, _failure(failure), job_record(job))
        return [seen, *retries.after(place, now, attempt, failure)]

    append(log, state, ended)


def _explained(place: Place, job: JobView, *, stop_requested: bool) -> Failure:
    from clary.sagemaker import failures, logs

    lines: list[str] = []
    if job.status == "Failed" and _NO_REASON.fullmatch(job.failure_reason or ""):
        try:
            lines = [line.text for line in logs.last_lines(place.aws, job.name, _TAIL)]
        except AwsError:
            lines = []  # without the right to read logs there is still the exit code
    found = failures.explain(
        job.status, job.secondary, job.failure_reason, job.exit_code, lines, stop_requested=stop_requested
    )
    return _without_result() if found.outcome == "completed" else found


def _without_result() -> Failure:
    from clary.errors import Retry
    from clary.sagemaker.failures import Failure

    return Failure(
        outcome="failed",
        cause="internal",
        summary="The job completed, but recorded no result.",
        next_step="Check that the image starts what its request says, and look at the logs; then resume the run.",
        retry=Retry.NO,
        exit_code=0,
    )


def _failure(found: Failure) -> Record:
    return {**asdict(found), "retry": str(found.retry), "frames": list(found.frames)}


def _record_lost(log: Log, state: RunState, attempt: Attempt) -> None:
    from clary.sagemaker import failures

    found = failures.explain(None)
    _end(log, state, attempt.number, found.outcome, _failure(found))


def _end(log: Log, state: RunState, number: int, outcome: str, failure: Record | None) -> None:
    def ended(now: RunState) -> list[Record] | None:
        if now.settled or number != max(now.attempts):
            return None
        return [records.attempt_ended(number, outcome, failure)]

    append(log, state, ended)


def _record_refusal(log: Log, state: RunState, attempt: Attempt, error: ClaryError) -> None:
    failure = {
        "cause": _cause(error),
        "summary": error.summary,
        "next_step": error.next_step,
        "retry": str(error.retry),
        "code": error.code,
    }
    _end(log, state, attempt.number, "failed", failure)


def _cause(error: ClaryError) -> str:
    if isinstance(error, QuotaError):
        return "quota"
    if isinstance(error, ThrottledError):
        return "throttled"
    if isinstance(error, PermissionDeniedError):
        return "permission"
    return "invalid_request" if isinstance(error, ValidationError) else "internal"


def _tell(observer: Observer | None, error: ClaryError) -> None:
    if observer is not None:
        observer.note(f"Waiting for {'quota' if isinstance(error, QuotaError) else 'AWS'}. {error.summary}")


def _may_pass(error: ClaryError) -> bool:
    """Tell whether the same request may be taken later; a name in use without a job is a job that is being made."""
    if isinstance(error, QuotaError):
        return not _never_fits(error)
    return isinstance(error, ThrottledError) or error.code == "aws.conflict"


def _never_fits(error: QuotaError) -> bool:
    """Tell whether the quota is smaller than what one job wants: then no waiting helps."""
    limit, wanted = error.details.get("limit"), error.details.get("wanted")
    return limit is not None and wanted is not None and wanted > limit


def _unsure(state: RunState, error: ClaryError) -> ClaryError:
    return AwsError(
        error.code,
        f"{error.summary.rstrip('.')}; whether the job of run {state.run} was made is not known.",
        next_step=f"Run `clary runs show {state.run}` when AWS answers again, which settles it; to give the run up, "
        f"`clary runs stop {state.run}`.",
        retry=error.retry,
        details={**error.details, "run": state.run},
    )
