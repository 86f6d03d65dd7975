"""The operations on training jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.sagemaker.failures import TERMINAL
from clary.sagemaker.training_rules import SERVICE_RUNTIME
from clary.sandbox.model import JobKind
from clary.sandbox.operations import jobs
from clary.sandbox.operations.shapes import projected
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.sandbox.operations.context import Caller, Platform

_KIND = JobKind.TRAINING
_DEFAULTS = {
    "EnableNetworkIsolation": False,
    "EnableInterContainerTrafficEncryption": False,
    "EnableManagedSpotTraining": False,
    "StoppingCondition": {"MaxRuntimeInSeconds": SERVICE_RUNTIME},
}
"""What Describe shows of a job that did not ask for anything else."""


def create_training_job(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """CreateTrainingJob."""
    describe = {
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": platform.clock.now(), "StatusMessage": "Starting the training job"}
        ],
    }
    return {"TrainingJobArn": jobs.create(_KIND, platform, caller, request, describe).arn}


def describe_training_job(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeTrainingJob."""
    job = jobs.found(_KIND, platform, caller, request)
    return projected("DescribeTrainingJob", {**_DEFAULTS, **job.request, **job.describe, "TrainingJobArn": job.arn})


def list_training_jobs(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """ListTrainingJobs."""
    found, token = jobs.page(_KIND, platform, caller, request)
    shown = [{**job.request, **job.describe, "TrainingJobArn": job.arn} for job in found]
    answer = {"TrainingJobSummaries": shown, **({"NextToken": token} if token else {})}
    return projected("ListTrainingJobs", answer)


def stop_training_job(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """StopTrainingJob."""
    jobs.stop(_KIND, platform, caller, request)
    return {}


def update_training_job(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """UpdateTrainingJob: profiler and remote debugging of a running job, the retention of a warm pool."""
    job = jobs.found(_KIND, platform, caller, request)
    if "ResourceConfig" in request and job.describe.get("WarmPoolStatus", {}).get("Status") != "Available":
        raise ApiError(
            "ValidationException",
            "Warm pool retention can only be updated when the warm pool status is Available;"
            f" training job {job.name} has no such warm pool.",
        )
    changes = {
        member: {**job.request.get(member, {}), **job.describe.get(member, {}), **request[member]}
        for member in ("ProfilerConfig", "RemoteDebugConfig", "ResourceConfig")
        if member in request
    }
    if "ProfilerRuleConfigurations" in request:
        changes["ProfilerRuleConfigurations"] = request["ProfilerRuleConfigurations"]
    if changes.keys() - {"ResourceConfig"}:
        jobs.refuse_ended(job)
    platform.store.update(job, changes)
    return {"TrainingJobArn": job.arn}


def delete_training_job(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """DeleteTrainingJob: a finished job is forgotten, its name is free again."""
    job = jobs.found(_KIND, platform, caller, request)
    if job.status not in TERMINAL:
        raise ApiError("ResourceInUse", f"Training job {job.name} is in status {job.status} and cannot be deleted.")
    platform.store.delete(job)
    return {}
