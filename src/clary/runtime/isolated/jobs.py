"""Training jobs, asked for from inside a job: by name, exactly once, with the role of the flow's own job."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import AwsError, ClaryError, ConflictError, PermissionDeniedError, QuotaError, Retry, ThrottledError
from clary.runtime import awsjson
from clary.runtime.awsjson import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.journal.records import Record

OVER = frozenset({"Completed", "Failed", "Stopped"})
_QUOTA = re.compile(
    r"service limit '(?P<name>[^']+)' is (?P<limit>\d+(?:\.\d+)?)\b.*?request delta of (?P<wanted>\d+(?:\.\d+)?)\b",
    re.DOTALL,
)
_ABSENT = re.compile(r"not found|could not find|does not exist", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """What Describe says of a job."""

    status: str
    secondary: str
    reason: str | None
    instance_type: str | None
    environment: Mapping[str, str]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in OVER


class Jobs:
    """SageMaker's jobs, at the endpoint that botocore resolved when the run was submitted."""

    def __init__(self, where: Record) -> None:
        self._service = Service("sagemaker", "SageMaker", where["endpoint"], where["region"])

    def create(self, request: Record, variables: Mapping[str, str]) -> None:
        """Create the job, or adopt the one that an earlier try has created.

        Raises ConflictError ``call.job_name_taken``, QuotaError ``call.job_quota``, ThrottledError
        ``call.job_throttled``, PermissionDeniedError ``call.job_forbidden``, AwsError (``call.job_refused``;
        ``call.job_unreachable``: nobody knows whether it was created). What is worth another try says so (``retry``).
        """
        name = request["TrainingJobName"]
        try:
            self._call("CreateTrainingJob", name, request)
        except ClaryError as error:
            taken = error.details.get("service_code") == "ResourceInUse"
            if not taken and error.code != "call.job_unreachable":
                raise
            found = self.describe(name)
            if found is None:
                raise _again(error) from None
            if not variables.items() <= dict(found.environment).items():
                raise _foreign(name) from None

    def describe(self, name: str) -> Job | None:
        """Return what SageMaker says of a job, None when there is none of that name; raises as ``create``."""
        try:
            said = self._call("DescribeTrainingJob", name, {"TrainingJobName": name})
        except ClaryError as error:
            if _ABSENT.search(str(error.details.get("service_text"))):
                return None
            raise
        resources = said.get("ResourceConfig") or {}
        return Job(
            status=said["TrainingJobStatus"],
            secondary=said.get("SecondaryStatus", ""),
            reason=said.get("FailureReason"),
            instance_type=resources.get("SelectedInstanceType") or resources.get("InstanceType"),
            environment=said.get("Environment") or {},
        )

    def stop(self, name: str) -> None:
        """Ask SageMaker to stop a job; one that is over, or was never made, is left alone. Raises as ``create``."""
        try:
            self._call("StopTrainingJob", name, {"TrainingJobName": name})
        except ClaryError as error:
            text = str(error.details.get("service_text"))
            if "is in status" not in text and not _ABSENT.search(text):
                raise

    def _call(self, operation: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            return awsjson.call(self._service, operation, arguments, resource=f"the training job {name}")
        except AwsError as error:
            raise _told(error, operation) from None


def _told(error: AwsError, operation: str) -> ClaryError:
    """Return what AWS's refusal means for a call that runs in a job of its own."""
    action = f"sagemaker:{operation}"
    code, text = error.details.get("service_code"), str(error.details.get("service_text") or "")
    if isinstance(error, ThrottledError):
        return ThrottledError(
            "call.job_throttled", error.summary, next_step="Nothing need be done: it is asked again after a pause."
        )
    if isinstance(error, PermissionDeniedError):
        return PermissionDeniedError(
            "call.job_forbidden",
            f"The flow's job may not do {action}: {error.summary}",
            next_step="The execution role needs rights of its own to run isolated checkpoints: put the policy that "
            "`clary iam policy execution --isolated` prints on it, then resume the run.",
            details={"action": action, **error.details},
        )
    if code == "ResourceLimitExceeded":
        return _quota(text)
    if error.retry is Retry.LATER:
        return AwsError(
            "call.job_unreachable",
            error.summary,
            next_step="Resume the run. In a VPC without internet access, add an interface endpoint for the SageMaker "
            "API (com.amazonaws.REGION.sagemaker.api).",
            retry=Retry.LATER,
        )
    return AwsError(
        "call.job_refused",
        f"{action} was refused: {code}: {text}",
        next_step="Correct what SageMaker names in the checkpoint's resources=, then resume the run with that code.",
        details=error.details,
    )


def _quota(text: str) -> QuotaError:
    found = _QUOTA.search(text)
    never = found is not None and float(found["wanted"]) > float(found["limit"])
    return QuotaError(
        "call.job_quota",
        f"The account's quota leaves no room for the job: {text}",
        next_step="Choose another instance_type in resources=, or ask for more in the Service Quotas console; then "
        "resume the run.",
        retry=Retry.NO if never else Retry.LATER,
    )


def _again(error: ClaryError) -> ClaryError:
    """Return the error for a name that is in use without a job: one that is being made this moment."""
    return AwsError(
        "call.job_unreachable",
        error.summary,
        next_step="Nothing need be done: it is asked again after a pause.",
        retry=Retry.LATER,
    )


def _foreign(name: str) -> ConflictError:
    return ConflictError(
        "call.job_name_taken",
        f"There is a training job called {name} already, and this run did not make it.",
        next_step="Look at it in the SageMaker console; names of jobs stay taken until the job is deleted.",
        field="TrainingJobName",
    )
