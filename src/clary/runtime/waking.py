"""Who wakes a run that is suspended in a job: a one-time EventBridge schedule that makes the job of the next attempt.

The next attempt is claimed in the log first, with its whole request; the schedule carries that request. Whoever sends
it first, the schedule or somebody who looks at the run, makes the one job of that name.

Sources: the API reference of EventBridge Scheduler (CreateSchedule) and its user guide ("Using universal targets").
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from clary.errors import (
    AwsError,
    ClaryError,
    ConfigError,
    ConflictError,
    PermissionDeniedError,
    Retry,
    ThrottledError,
    ValidationError,
)
from clary.journal import records
from clary.runtime import awsjson
from clary.runtime.pointer import WOKEN_VARIABLE, renumbered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.journal.records import Record
    from clary.journal.writer import Journal

LONGEST_INPUT = 256 * 1024
"""Bytes of a target's Input. Source: EventBridge Scheduler quotas, payload size."""
MOST_VARIABLES = 100
"""Environment variables of a training job. Source: CreateTrainingJob."""
SOONEST = 10.0
"""Seconds from now for which a schedule is made at least: one for a time that has gone when the request arrives has no
documented meaning."""
PATIENCE = 300.0
"""Seconds for which a schedule is asked for again through throttling and outages, as long as the record is."""
_LONGEST_PAUSE = 10.0
_LONGEST_JOB_NAME = 63
_RETRY_POLICY = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
"""The most that there is: a throttled CreateTrainingJob is tried again for a day."""


def schedule_name(run: str, attempt: int) -> str:
    """Return the name of the schedule that wakes a run by an attempt; at most 64 characters."""
    return f"{run}-{attempt}"


def schedule_path(group: str, name: str) -> str:
    """Return the path, with its query, under which a schedule is looked at and deleted."""
    return f"/schedules/{quote(name, safe='')}?groupName={quote(group, safe='')}"


class JobWaker:
    """Wakes the run of a job (``clary.engine.suspension.Waker``), once it has the journal and the spec."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._journal: Journal | None = None
        self._spec: Mapping[str, Any] = {}
        self._ahead = max(0.0, _woken_at() - time.time())

    def attach(self, journal: Journal) -> None:
        """Take the journal, once it is open."""
        self._journal = journal

    def read(self, spec: Mapping[str, Any]) -> None:
        """Take what the attempt's spec says of waking."""
        self._spec = spec

    def now(self) -> float:
        """Return the time in epoch seconds; it is never before the moment for which a schedule made this job.

        A machine whose clock is behind would otherwise find its time not come, and suspend the run over and over.
        """
        return time.time() + self._ahead

    def check(self) -> None:
        """Refuse where no schedule can be made: ConfigError ``wake.no_role``."""
        if "waking" not in self._spec:
            raise ConfigError(
                "wake.no_role",
                "Nobody could wake this run: its stack has no scheduler role.",
                next_step="`clary bootstrap` makes one; name it by `clary stack update NAME --extra "
                "orchestrator.scheduler_role=ARN`, and resume the run. Or keep the machine: sleep(…, suspend=False), "
                "a wait without an expiry.",
                field="scheduler_role",
            )

    def wake_at(self, moment: float) -> None:
        """Claim the next attempt, and have it started at ``moment`` (epoch seconds), or as soon after as can be.

        Raises ConfigError ``wake.no_role``, ValidationError ``wake.too_large``, PermissionDeniedError
        ``wake.forbidden``, ThrottledError ``wake.throttled``, AwsError ``wake.unreachable`` or ``wake.refused``,
        ConflictError ``wake.name_taken``; what the journal raises.
        """
        self.check()
        self.stay()  # of a container that was started anew
        journal = self._opened()
        at = math.ceil(max(moment, self.now() + SOONEST))
        claim = self._claim(journal, at)
        wanted = self._schedule(claim, at)
        journal.write(claim)
        self._create(schedule_name(journal.state.run, claim["n"]), wanted)

    def stay(self) -> None:
        """Take back the schedule of the attempt that this one has reserved, if it can be reached.

        What is left of it does no harm: the log refuses to be opened by an attempt that was taken back.
        """
        state = self._opened().state
        for one in state.attempts.values():
            if one.void and one.reserved_by == self._attempt:
                try:
                    self._ask("DeleteSchedule", "DELETE", schedule_name(state.run, one.number))
                except ClaryError:
                    pass

    def _opened(self) -> Journal:
        assert self._journal is not None  # it is attached before the flow's body runs
        return self._journal

    def _claim(self, journal: Journal, at: float) -> Record:
        state = journal.state
        mine = state.attempts[self._attempt]
        assert mine.job is not None
        assert mine.request is not None
        number = max(state.attempts) + 1
        job = _next_name(mine.job, state.run, number)
        request = renumbered(mine.request, job, number)
        return records.attempt(
            number, job=job, request=request, spec=mine.spec, on_change=mine.on_change, not_before=at
        )

    def _schedule(self, claim: Record, at: int) -> dict[str, Any]:
        """Return the request for the schedule, without its name."""
        where = self._spec["waking"]
        partition = where["role"].split(":")[1]
        target = {
            "Arn": f"arn:{partition}:scheduler:::aws-sdk:sagemaker:createTrainingJob",
            "RoleArn": where["role"],
            "Input": _input(claim["request"], at),
            "RetryPolicy": _RETRY_POLICY,
        }
        return {
            "GroupName": where["group"],
            "Description": f"Wakes run {self._opened().state.run}",
            "ScheduleExpression": f"at({datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S})",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": target,
        }

    def _create(self, name: str, wanted: dict[str, Any]) -> None:
        give_up, pause = time.monotonic() + PATIENCE, 0.5
        while True:
            try:
                self._ask("CreateSchedule", "POST", name, {**wanted, "ClientToken": name})
                return
            except AwsError as error:
                if error.details.get("service_code") == "ConflictException":
                    self._check_same(name, wanted)  # the reply to an earlier request was lost
                    return
                if error.retry is not Retry.LATER or time.monotonic() + pause > give_up:
                    raise self._told(error) from None
            time.sleep(random.uniform(0.5, 1) * pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _check_same(self, name: str, wanted: dict[str, Any]) -> None:
        """See that the schedule that has the name already is the one that is wanted."""
        try:
            found = self._ask("GetSchedule", "GET", name)
        except AwsError as error:
            if error.details.get("service_code") == "ResourceNotFoundException":
                return  # it has done its work since, and is gone
            raise self._told(error) from None
        if _gist(found) != _gist(wanted):
            raise ConflictError(
                "wake.name_taken",
                f"The schedule group {wanted['GroupName']} holds another schedule called {name}.",
                next_step=f"Delete it: aws scheduler delete-schedule --group-name {wanted['GroupName']} --name {name}; "
                "then resume the run.",
                details={"schedule": name},
            )

    def _ask(self, operation: str, method: str, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        where = self._spec["waking"]
        service = awsjson.Service("scheduler", "", where["endpoint"], where["region"])
        path = f"/schedules/{name}" if method == "POST" else schedule_path(where["group"], name)
        resource = f"schedule/{where['group']}/{name}"
        return awsjson.call_rest(service, operation, method, path, arguments, resource=resource)

    def _told(self, error: AwsError) -> ClaryError:
        """Return what went wrong in the words of who wants to be woken."""
        where = self._spec["waking"]
        said = error.details.get("service_text") or error.summary
        if isinstance(error, PermissionDeniedError):
            action, resource = _lacking(error, where)
            return PermissionDeniedError(
                "wake.forbidden",
                f"The job's role may not do {action} on {resource}, so nothing could wake the run: {said}",
                next_step=f"Allow {action} on {resource} in a policy of the execution role: `clary bootstrap` brings "
                "its roles up to date, `clary iam policy execution` prints what others need. Then resume the run.",
                details={"action": action, "resource": resource},
            )
        if isinstance(error, ThrottledError):
            return ThrottledError(
                "wake.throttled",
                "EventBridge Scheduler took no schedule for five minutes, so nothing could wake the run.",
                next_step="Resume the run in a few minutes.",
            )
        if error.retry is Retry.LATER:
            return AwsError(
                "wake.unreachable",
                f"EventBridge Scheduler could not be reached, so nothing could wake the run: {error.summary}",
                next_step="Resume the run; in a VPC without internet access, add an interface endpoint for "
                f"com.amazonaws.{where['region']}.scheduler.",
                retry=Retry.LATER,
            )
        return AwsError(
            "wake.refused",
            f"EventBridge Scheduler refused the schedule that wakes the run: {said}",
            next_step=f"Check that the schedule group {where['group']!r} exists in {where['region']} and that the role "
            f"{where['role']} trusts scheduler.amazonaws.com; `clary bootstrap` makes both. Then resume the run.",
            details=error.details,
        )


def _woken_at() -> float:
    try:
        return float(os.environ.get(WOKEN_VARIABLE) or 0)
    except ValueError:
        return 0.0


def _next_name(job: str, run: str, number: int) -> str:
    """Return the name of the job of another attempt, as ``clary.sagemaker.requests.job_name`` makes it."""
    tail = f"{run.lower()}-{number}"
    slug = job.rpartition(run.lower())[0].strip("-")[: _LONGEST_JOB_NAME - len(tail) - 1].strip("-")
    return f"{slug}-{tail}" if slug else tail


def _input(request: Record, at: int) -> str:
    """Return the target's input: the request, which tells the job when it was woken where there is room for that.

    "<" is escaped, so that no text of the request is taken for a context attribute (``<aws.scheduler.…>``).
    """
    environment = request["Environment"]
    if len(environment.keys() | {WOKEN_VARIABLE}) <= MOST_VARIABLES:
        environment = {**environment, WOKEN_VARIABLE: str(at)}
    text = json.dumps({**request, "Environment": environment}, separators=(",", ":")).replace("<", "\\u003c")
    if len(text) > LONGEST_INPUT:
        raise ValidationError(
            "wake.too_large",
            f"The request of the next job has {len(text)} bytes; a schedule carries {LONGEST_INPUT}.",
            next_step="Set fewer or shorter variables and hyperparameters; large values belong in the flow's inputs.",
            field="environment",
        )
    return text


def _gist(schedule: Mapping[str, Any]) -> tuple[Any, ...]:
    target = schedule["Target"]
    return schedule["ScheduleExpression"], target["Arn"], target["RoleArn"], target.get("Input")


def _lacking(error: PermissionDeniedError, where: Mapping[str, Any]) -> tuple[str, str]:
    """Return the action and the resource that are not allowed: to make a schedule, its role must be passed too."""
    if "iam:PassRole" in str(error.details.get("service_text")):
        return "iam:PassRole", str(where["role"])
    return str(error.details.get("action", "scheduler:CreateSchedule")), str(error.details.get("resource", ""))
