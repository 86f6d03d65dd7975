"""EventBridge Scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.common import pass_role
from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, Tagged, needs, text, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

SCHEDULE = ResourceType(
    "scheduler", "schedule", "arn:${Partition}:scheduler:${Region}:${Account}:schedule/${GroupName}/${ScheduleName}"
)
GROUP = ResourceType(
    "scheduler", "schedule-group", "arn:${Partition}:scheduler:${Region}:${Account}:schedule-group/${GroupName}"
)


def _schedule(call: Call) -> list[str]:
    return [SCHEDULE.arn(call, call.text("GroupName") or "default", call.text("Name"))]


def _group(call: Call) -> list[str]:
    return [GROUP.arn(call, call.text("Group"))]


_given = text("ResourceArn")

ROWS: Rows = {
    "CreateSchedule": [
        Need("scheduler:CreateSchedule", SCHEDULE, _schedule),
        pass_role("scheduler", "Target.RoleArn"),
    ],
    "UpdateSchedule": [
        Need("scheduler:UpdateSchedule", SCHEDULE, _schedule),
        pass_role("scheduler", "Target.RoleArn"),
    ],
    **needs("scheduler", SCHEDULE, _schedule, "GetSchedule", "DeleteSchedule"),
    "CreateScheduleGroup": [Need("scheduler:CreateScheduleGroup", GROUP, _group, (Tagged("Tags"),))],
    **needs("scheduler", GROUP, _group, "GetScheduleGroup", "DeleteScheduleGroup"),
    **needs("scheduler", None, None, "ListSchedules", "ListScheduleGroups"),
    "ListTagsForResource": [Need("scheduler:ListTagsForResource", GROUP, _given)],
    "TagResource": [Need("scheduler:TagResource", GROUP, _given, (Tagged("Tags"),))],
    "UntagResource": [Need("scheduler:UntagResource", GROUP, _given, (Key("aws:TagKeys", texts("TagKeys")),))],
}
