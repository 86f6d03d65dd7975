"""The operations on processing jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.sagemaker.training_rules import SERVICE_RUNTIME
from clary.sandbox.model import JobKind
from clary.sandbox.operations import jobs
from clary.sandbox.operations.shapes import projected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.sandbox.operations.context import Caller, Platform

_KIND = JobKind.PROCESSING
_DEFAULTS = {"StoppingCondition": {"MaxRuntimeInSeconds": SERVICE_RUNTIME}}


def create_processing_job(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """CreateProcessingJob."""
    job = jobs.create(_KIND, platform, caller, request, {"ProcessingJobStatus": "InProgress"})
    return {"ProcessingJobArn": job.arn}


def describe_processing_job(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """DescribeProcessingJob."""
    job = jobs.found(_KIND, platform, caller, request)
    return projected("DescribeProcessingJob", {**_DEFAULTS, **job.request, **job.describe, "ProcessingJobArn": job.arn})


def list_processing_jobs(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """ListProcessingJobs."""
    found, token = jobs.page(_KIND, platform, caller, request)
    shown = [{**job.request, **job.describe, "ProcessingJobArn": job.arn} for job in found]
    answer = {"ProcessingJobSummaries": shown, **({"NextToken": token} if token else {})}
    return projected("ListProcessingJobs", answer)


def stop_processing_job(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """StopProcessingJob."""
    jobs.stop(_KIND, platform, caller, request)
    return {}
