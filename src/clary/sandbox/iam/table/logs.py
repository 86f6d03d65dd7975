"""CloudWatch Logs. Groups are named with what follows the colon behind their name, but for the tagging operations.

Source besides the reference: CloudWatch Logs User Guide, "Log group ARNs": policies name a group with ``:*`` behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.common import has
from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, Tagged, needs, text, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

GROUP = ResourceType("logs", "log-group", "arn:${Partition}:logs:${Region}:${Account}:log-group:${LogGroupName}")
STREAM = ResourceType(
    "logs",
    "log-stream",
    "arn:${Partition}:logs:${Region}:${Account}:log-group:${LogGroupName}:log-stream:${LogStreamName}",
)


def _name(call: Call) -> str:
    """Return the name of the group, which may be given as an ARN."""
    name = call.text("logGroupName") or call.text("logGroupIdentifier")
    return name.split(":log-group:", 1)[-1].removesuffix(":*")


def _group(call: Call) -> list[str]:
    return [STREAM.arn(call, _name(call), "")]


def _groups(call: Call) -> list[str]:
    names = [*call.texts("logGroupNames"), *call.texts("logGroupIdentifiers")]
    return [STREAM.arn(call, one.split(":log-group:", 1)[-1].removesuffix(":*"), "") for one in names] or _group(call)


def _stream(call: Call) -> list[str]:
    return [STREAM.arn(call, _name(call), call.text("logStreamName"))]


def _plain(call: Call) -> list[str]:
    return [GROUP.arn(call, _name(call))]


_given = text("resourceArn")

ROWS: Rows = {
    # AWS names the group without a name here, so that a policy for all groups is enough.
    "DescribeLogGroups": [Need("logs:DescribeLogGroups", None, lambda call: [STREAM.arn(call, "", "")])],
    "CreateLogGroup": [
        Need("logs:CreateLogGroup", GROUP, _group, (Tagged("tags"),)),
        Need("logs:TagResource", GROUP, _plain, (Tagged("tags"),), when=has("tags")),
    ],
    **needs(
        "logs",
        GROUP,
        _group,
        "DeleteLogGroup",
        "DeleteMetricFilter",
        "DeleteRetentionPolicy",
        "DeleteSubscriptionFilter",
        "DescribeLogStreams",
        "DescribeMetricFilters",
        "DescribeSubscriptionFilters",
        "FilterLogEvents",
        "GetLogGroupFields",
        "PutMetricFilter",
        "PutRetentionPolicy",
    ),
    **needs("logs", GROUP, _groups, "StartQuery", "StartLiveTail"),
    **needs("logs", STREAM, _stream, "CreateLogStream", "DeleteLogStream", "GetLogEvents", "PutLogEvents"),
    "ListTagsForResource": [Need("logs:ListTagsForResource", GROUP, _given)],
    "TagResource": [Need("logs:TagResource", GROUP, _given, (Tagged("tags"),))],
    "UntagResource": [Need("logs:UntagResource", GROUP, _given, (Key("aws:TagKeys", texts("tagKeys")),))],
    "ListTagsLogGroup": [Need("logs:ListTagsLogGroup", GROUP, _plain)],
}
"""GetQueryResults is left out: of a query's id the sandbox does not know the group."""
