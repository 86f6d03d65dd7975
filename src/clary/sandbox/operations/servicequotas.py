"""The Service Quotas API, for SageMaker's quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.sandbox.quotas import SERVICE
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clary.sandbox.operations.context import Caller, Platform

_PAGE = 100


def list_service_quotas(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """ListServiceQuotas."""
    _check_service(request)
    quotas = [
        quota
        for quota in platform.quotas.all(caller.account, caller.region)
        if quota.code == request.get("QuotaCode", quota.code)
    ]
    token = request.get("NextToken", "")
    remaining = [quota for quota in quotas if quota.name > token]
    size = request.get("MaxResults", _PAGE)
    shown = remaining[:size]
    answer: dict[str, Any] = {"Quotas": [quota.to_api(caller.account, caller.region) for quota in shown]}
    if len(remaining) > size:
        answer["NextToken"] = shown[-1].name
    return answer


def get_service_quota(platform: Platform, caller: Caller, request: Mapping[str, Any]) -> dict[str, Any]:
    """GetServiceQuota."""
    _check_service(request)
    for quota in platform.quotas.all(caller.account, caller.region):
        if quota.code == request.get("QuotaCode"):
            return {"Quota": quota.to_api(caller.account, caller.region)}
    raise ApiError("NoSuchResourceException", "The request failed because the specified quota does not exist.")


def _check_service(request: Mapping[str, Any]) -> None:
    if request.get("ServiceCode") != SERVICE:
        raise ApiError("NoSuchResourceException", "The request failed because the specified service does not exist.")
