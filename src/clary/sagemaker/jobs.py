"""Training jobs: create one exactly once, look at it, stop it. By name; never a List, never botocore's waiters.

CreateTrainingJob takes no token, so the name is what makes it happen once: it is the same for every try of one attempt,
and a job of that name is ours when its Environment holds our pointer (Describe returns no tags).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import AwsError, ClaryError, ConflictError, NotFoundError, ThrottledError, ValidationError
from clary.sagemaker.failures import TERMINAL, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from clary.sagemaker.session import Aws

DEADLINE = 120.0
"""Seconds for which ``create`` goes on trying while AWS throttles or loses its replies."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 20.0
UNCERTAIN = frozenset({"aws.unreachable", "aws.no_reply", "aws.service_error"})
"""Codes of errors after which a request may have been carried out all the same."""


@dataclass(frozen=True)
class Phase:
    """One secondary status of a job. Times are epoch seconds."""

    name: str
    started: float | None
    ended: float | None
    message: str = ""


@dataclass(frozen=True)
class JobView:
    """What Describe says of a training job. Times are epoch seconds."""

    name: str
    arn: str
    status: str
    secondary: str
    """SecondaryStatus; AWS adds values, so one that is not known here means: still under way."""
    failure_reason: str | None
    exit_code: int | None
    """Of the container, where the failure reason tells it."""
    phases: tuple[Phase, ...]
    created: float | None
    started: float | None
    ended: float | None
    training_seconds: int | None
    """For each instance; None until the end."""
    billable_seconds: int | None
    """For each instance: the bill is this times ``instance_count``."""
    instance_type: str | None
    """The one that was got, where the request left a choice."""
    instance_count: int | None
    model_artifact: str | None
    output: str | None
    environment: Mapping[str, str]

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.status in TERMINAL


def create(
    aws: Aws,
    request: Mapping[str, Any],
    *,
    pointer: Mapping[str, str],
    deadline_seconds: float = DEADLINE,
    pause: Callable[[float], object] = time.sleep,
) -> str:
    """Create the training job, or adopt the one that an earlier try created; return its ARN.

    Args:
        aws: where.
        request: the whole CreateTrainingJob request; the same for every try.
        pointer: the variables of its Environment that mark the job as ours.
        deadline_seconds: how long to go on after throttling and lost replies.
        pause: sleeps for that many seconds.

    Raises ConflictError ``sagemaker.name_taken`` when the name belongs to a job that is not ours, QuotaError,
    ThrottledError and other AwsErrors as they come; ValueError when the request does not hold the pointer.
    """
    if not pointer or not pointer.items() <= dict(request.get("Environment") or {}).items():
        raise ValueError("the request's Environment does not hold the pointer")
    name = request["TrainingJobName"]
    give_up = time.monotonic() + deadline_seconds
    tries = 0
    while True:
        try:
            with aws.call("CreateTrainingJob", resource=f"the training job {name}") as client:
                return str(client.create_training_job(**request)["TrainingJobArn"])
        except (ConflictError, AwsError) as error:
            if isinstance(error, ConflictError) or error.code in UNCERTAIN:
                found = _look(aws, name, error)
                if found is not None:
                    return _adopted(found, pointer)
            elif not isinstance(error, ThrottledError):
                raise
            wait = random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tries))
            if time.monotonic() + wait > give_up:
                raise
        tries += 1
        pause(wait)


def _look(aws: Aws, name: str, error: ClaryError) -> JobView | None:
    """Find out what became of a request whose answer was ``error``; raises that error when nobody can tell."""
    try:
        return describe(aws, name)
    except ThrottledError:
        return None
    except AwsError:
        raise error from None


def _adopted(found: JobView, pointer: Mapping[str, str]) -> str:
    if pointer.items() <= dict(found.environment).items():
        return found.arn
    raise ConflictError(
        "sagemaker.name_taken",
        f"There is a training job called {found.name} already, and this run did not make it.",
        next_step="Look at it in the SageMaker console; names of jobs stay taken until the job is deleted.",
        field="TrainingJobName",
        details={"arn": found.arn},
    )


def describe(aws: Aws, name: str) -> JobView | None:
    """Return what SageMaker says of the job, or None when there is none of that name."""
    try:
        with aws.call("DescribeTrainingJob", resource=f"the training job {name}") as client:
            return view(client.describe_training_job(TrainingJobName=name))
    except NotFoundError:
        return None


def stop(aws: Aws, name: str) -> bool:
    """Ask SageMaker to stop the job; return False when it is over already. Asking twice does no harm.

    SageMaker sends SIGTERM and, 120 s later, SIGKILL. Raises NotFoundError when there is no such job.
    """
    try:
        with aws.call("StopTrainingJob", resource=f"the training job {name}") as client:
            client.stop_training_job(TrainingJobName=name)
    except ValidationError as error:
        if "is in status" not in error.details.get("service_text", ""):
            raise
        return False
    return True


def view(described: Mapping[str, Any]) -> JobView:
    """Return a DescribeTrainingJob answer as a ``JobView``. Pure."""
    resources = described.get("ResourceConfig") or {}
    reason = described.get("FailureReason")
    return JobView(
        name=described["TrainingJobName"],
        arn=described["TrainingJobArn"],
        status=described["TrainingJobStatus"],
        secondary=described.get("SecondaryStatus", ""),
        failure_reason=reason,
        exit_code=exit_code_of(reason),
        phases=tuple(_phase(entry) for entry in described.get("SecondaryStatusTransitions") or ()),
        created=_seconds(described.get("CreationTime")),
        started=_seconds(described.get("TrainingStartTime")),
        ended=_seconds(described.get("TrainingEndTime")),
        training_seconds=described.get("TrainingTimeInSeconds"),
        billable_seconds=described.get("BillableTimeInSeconds"),
        instance_type=resources.get("SelectedInstanceType") or resources.get("InstanceType"),
        instance_count=resources.get("SelectedInstanceCount") or resources.get("InstanceCount"),
        model_artifact=(described.get("ModelArtifacts") or {}).get("S3ModelArtifacts"),
        output=(described.get("OutputDataConfig") or {}).get("S3OutputPath"),
        environment=dict(described.get("Environment") or {}),
    )


def _phase(entry: Mapping[str, Any]) -> Phase:
    started, ended = _seconds(entry.get("StartTime")), _seconds(entry.get("EndTime"))
    return Phase(entry.get("Status", ""), started, ended, entry.get("StatusMessage") or "")


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
