"""The log group of jobs: how long it keeps what they print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.doctor.findings import Check, Finding, ok
from clary.sagemaker.logs import TRAINING_GROUP

if TYPE_CHECKING:
    from clary.doctor.subject import Subject


def _retention(subject: Subject) -> Finding:
    """Keeping everything is AWS's default and works; it only costs more every month."""
    with subject.aws.call("logs:DescribeLogGroups", resource=TRAINING_GROUP) as logs:
        groups = logs.describe_log_groups(logGroupNamePrefix=TRAINING_GROUP)["logGroups"]
    group = next((each for each in groups if each["logGroupName"] == TRAINING_GROUP), None)
    if group is None:
        return ok(f"{TRAINING_GROUP} is made by the first job")
    days = group.get("retentionInDays")
    if days is None:
        return ok(
            f"{TRAINING_GROUP} keeps everything for ever",
            f"aws logs put-retention-policy --log-group-name {TRAINING_GROUP} --retention-in-days 90 --region "
            f"{subject.aws.region}",
        )
    return ok(f"{TRAINING_GROUP} keeps {days} days")


CHECKS = (Check("log-retention", "Log retention", _retention, ("logs:DescribeLogGroups",)),)
