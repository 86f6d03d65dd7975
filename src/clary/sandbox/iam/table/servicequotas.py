"""Service Quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, needs, text

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

QUOTA = ResourceType(
    "servicequotas", "quota", "arn:${Partition}:servicequotas:${Region}:${Account}:${ServiceCode}/${QuotaCode}"
)


def _quota(call: Call) -> list[str]:
    return [QUOTA.arn(call, call.text("ServiceCode"), call.text("QuotaCode"))]


_SERVICE = (Key("servicequotas:service", text("ServiceCode")),)

ROWS: Rows = {
    "GetServiceQuota": [Need("servicequotas:GetServiceQuota", QUOTA, _quota, _SERVICE)],
    "RequestServiceQuotaIncrease": [Need("servicequotas:RequestServiceQuotaIncrease", QUOTA, _quota, _SERVICE)],
    **needs("servicequotas", None, None, "ListServiceQuotas", "ListServices", "GetAWSDefaultServiceQuota"),
    **needs("servicequotas", None, None, "ListAWSDefaultServiceQuotas"),
}
