"""The tags of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.sandbox.operations.jobs import NOT_FOUND
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.sandbox.operations.context import Caller, Platform

MAX_TAGS = 50


def add_tags(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """AddTags: new values for keys that exist, at most 50 keys in all."""
    arn = _job_arn(platform, caller, request)
    added = {tag["Key"]: tag.get("Value", "") for tag in request["Tags"]}
    if len(platform.store.tags(arn).keys() | added.keys()) > MAX_TAGS:
        raise ApiError("ResourceLimitExceeded", f"A resource can have at most {MAX_TAGS} tags.")
    platform.store.add_tags(arn, added)
    return {"Tags": _shown(platform.store.tags(arn))}


def list_tags(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """ListTags."""
    tags = _shown(platform.store.tags(_job_arn(platform, caller, request)))
    token = request.get("NextToken", "0")
    if not token.isdigit():
        raise ApiError("ValidationException", "Invalid pagination token.")
    start = int(token)
    end = start + request.get("MaxResults", MAX_TAGS)
    return {"Tags": tags[start:end], **({"NextToken": str(end)} if end < len(tags) else {})}


def delete_tags(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """DeleteTags."""
    platform.store.delete_tags(_job_arn(platform, caller, request), request["TagKeys"])
    return {}


def _job_arn(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> str:
    arn = str(request["ResourceArn"])
    job = platform.store.find(arn)
    if job is None or (job.account, job.region) != (caller.account, caller.region):
        raise ApiError("ValidationException", NOT_FOUND)
    return arn


def _shown(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
