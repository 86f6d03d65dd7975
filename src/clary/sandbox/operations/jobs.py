"""What training and processing jobs have in common: making, finding, stopping and listing them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from clary.sagemaker.failures import TERMINAL
from clary.sandbox.model import Job, JobKind
from clary.sandbox.operations.checks import check_role, check_storage
from clary.sandbox.quotas import QuotaExceeded, exceeded_message, quota_name
from clary.sandbox.store import NameTaken
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clary.sandbox.operations.context import Caller, Platform

NOT_FOUND = "Requested resource not found."
PAGE = 10
"""MaxResults when a List request does not say (aws-solutions/deepracer-on-aws#87)."""


def create(
    kind: JobKind, platform: Platform, caller: Caller, request: Mapping[str, Any], describe: dict[str, Any]
) -> Job:
    """Check what the service checks, store the job with its tags, and start its life."""
    name = request[f"{kind.value.capitalize()}JobName"]
    check_role(request["RoleArn"], caller, job_arn(kind, name, caller))
    check_storage(kind, request, platform, caller)
    now = platform.clock.now()
    job = Job(
        kind=kind,
        name=name,
        arn=job_arn(kind, name, caller),
        account=caller.account,
        region=caller.region,
        request={key: value for key, value in request.items() if key != "Tags"},
        describe={**describe, "CreationTime": now, "LastModifiedTime": now},
        version=1,
    )
    tags = {tag["Key"]: tag.get("Value", "") for tag in request.get("Tags", [])}
    if platform.faults.take("quota", operation=f"Create{kind.value.capitalize()}Job", name=name) is not None:
        raise ApiError("ResourceLimitExceeded", exceeded_message(quota_name(kind, request), 0, 0, 1))
    try:
        platform.store.create(
            job, tags, check=lambda: platform.quotas.check(kind, request, caller.account, caller.region)
        )
    except NameTaken as taken:
        title = f"{kind.value.capitalize()} job"
        raise ApiError(
            "ResourceInUse",
            f"{title} names must be unique within an AWS account and region, and a {title.lower()} with this name"
            f" already exists ({taken.arn})",
        ) from None
    except QuotaExceeded as exceeded:
        raise ApiError("ResourceLimitExceeded", str(exceeded)) from None
    platform.life.begin(job)
    return job


def job_arn(kind: JobKind, name: str, caller: Caller) -> str:
    """Return the ARN of a job."""
    return f"arn:{caller.partition}:sagemaker:{caller.region}:{caller.account}:{kind.value}-job/{name}"


def found(kind: JobKind, platform: Platform, caller: Caller, request: Mapping[str, Any]) -> Job:
    """Return the job that a request names, or refuse as the service does."""
    job = platform.store.get(
        kind, request[f"{kind.value.capitalize()}JobName"], account=caller.account, region=caller.region
    )
    if job is None:
        raise ApiError("ValidationException", NOT_FOUND)
    return job


def stop(kind: JobKind, platform: Platform, caller: Caller, request: Mapping[str, Any]) -> None:
    """Put a running job into Stopping and tell its life; a job that stops already is left alone."""
    job = found(kind, platform, caller, request)
    refuse_ended(job)
    if job.status != "Stopping":
        stopping = platform.store.transition(job, "Stopping", f"Stopping the {kind.value} job", status="Stopping")
        platform.life.stop(stopping)


def refuse_ended(job: Job) -> None:
    """Refuse what can only be done to a job that is under way."""
    if job.status in TERMINAL:
        # The wording is the service's (awslabs/benchmark-ai#928).
        raise ApiError(
            "ValidationException",
            f"The request was rejected because the {job.kind.value} job is in status {job.status}.",
        )


def page(kind: JobKind, platform: Platform, caller: Caller, request: Mapping[str, Any]) -> tuple[list[Job], str | None]:
    """Return one page of the jobs that meet a List request's filters, and the token of the next page.

    Filters are applied before the page is cut. The token holds the position after the last job shown, so jobs that come
    or go between two pages neither repeat nor hide others.
    """
    jobs = [job for job in platform.store.select(kind, caller.account, caller.region) if _meets(job, request)]
    backwards = request.get("SortOrder") == "Descending"
    keyed = sorted(((_sort_key(job, request), job) for job in jobs), key=lambda pair: pair[0], reverse=backwards)
    if request.get("NextToken"):
        after = _decoded(request["NextToken"])
        keyed = [pair for pair in keyed if (pair[0] < after if backwards else pair[0] > after)]
    size = request.get("MaxResults", PAGE)
    token = _encoded(keyed[size - 1][0]) if len(keyed) > size else None
    return [job for _, job in keyed[:size]], token


def _meets(job: Job, request: Mapping[str, Any]) -> bool:
    created, modified = job.describe["CreationTime"], job.describe["LastModifiedTime"]
    pool = job.describe.get("WarmPoolStatus", {}).get("Status")
    return (
        request.get("NameContains", "").lower() in job.name.lower()
        and job.status == request.get("StatusEquals", job.status)
        and created > request.get("CreationTimeAfter", float("-inf"))
        and created < request.get("CreationTimeBefore", float("inf"))
        and modified > request.get("LastModifiedTimeAfter", float("-inf"))
        and modified < request.get("LastModifiedTimeBefore", float("inf"))
        and pool == request.get("WarmPoolStatusEquals", pool)
        and "TrainingPlanArnEquals" not in request
    )


def _sort_key(job: Job, request: Mapping[str, Any]) -> list[Any]:
    by = request.get("SortBy", "CreationTime")
    first = {"Name": job.name, "Status": job.status}.get(by, job.describe["CreationTime"])
    return [first, job.name]


def _encoded(key: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _decoded(token: str) -> list[Any]:
    try:
        key = json.loads(base64.urlsafe_b64decode(token))
        if isinstance(key, list) and len(key) == 2:
            return key
    except ValueError:
        pass
    raise ApiError("ValidationException", "Invalid pagination token.")
