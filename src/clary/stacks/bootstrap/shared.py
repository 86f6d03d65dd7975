"""What an account and region have once, for all stacks and for jobs that Clary knows nothing of.

CloudFormation would fail where it is there already, and would delete it with the stack that made it first; so it is
made by the API, only where it is missing, and never deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.errors import ConflictError, NotFoundError
from clary.sagemaker.logs import PROCESSING_GROUP, TRAINING_GROUP
from clary.sagemaker.statements import SCHEDULE_GROUP

if TYPE_CHECKING:
    from clary.sagemaker.session import Aws

LOG_GROUPS = (TRAINING_GROUP, PROCESSING_GROUP)
LOG_DAYS = 90
"""Days for which a log group that is made here keeps its lines; SageMaker's own groups keep them for ever."""


def ensure(aws: Aws) -> list[str]:
    """Make the log groups and the schedule group where they are missing; return a line about each.

    The retention of a group that is there is left alone, for shortening it would delete lines of jobs that were there
    before Clary.
    """
    return [*(_log_group(aws, group) for group in LOG_GROUPS), _schedule_group(aws)]


def _log_group(aws: Aws, group: str) -> str:
    with aws.call("logs:DescribeLogGroups", resource=group) as logs:
        described = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    there = next((one for one in described if one["logGroupName"] == group), None)
    if there is not None:
        days = there.get("retentionInDays")
        if days:
            return f"Log group {group}: there already, keeps lines for {days} days."
        command = f"aws logs put-retention-policy --log-group-name {group} --retention-in-days {LOG_DAYS}"
        return f"Log group {group}: there already, keeps lines for ever. To change that: `{command}`."
    try:
        with aws.call("logs:CreateLogGroup", resource=group) as logs:
            logs.create_log_group(logGroupName=group)
    except ConflictError:  # made by a job this very moment
        return f"Log group {group}: there already."
    with aws.call("logs:PutRetentionPolicy", resource=group) as logs:
        logs.put_retention_policy(logGroupName=group, retentionInDays=LOG_DAYS)
    return f"Log group {group}: made, keeps lines for {LOG_DAYS} days."


def _schedule_group(aws: Aws) -> str:
    try:
        with aws.call("scheduler:GetScheduleGroup", resource=SCHEDULE_GROUP) as scheduler:
            scheduler.get_schedule_group(Name=SCHEDULE_GROUP)
        return f"Schedule group {SCHEDULE_GROUP}: there already."
    except NotFoundError:
        pass
    try:
        with aws.call("scheduler:CreateScheduleGroup", resource=SCHEDULE_GROUP) as scheduler:
            scheduler.create_schedule_group(Name=SCHEDULE_GROUP)
    except ConflictError:  # made by somebody else this very moment
        return f"Schedule group {SCHEDULE_GROUP}: there already."
    return f"Schedule group {SCHEDULE_GROUP}: made."
