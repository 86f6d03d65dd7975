"""EventBridge: rules, targets, events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from clary.sandbox.iam.table.common import ROLE, pass_role
from clary.sandbox.iam.table.spec import Key, Need, Read, ResourceType, Rows, Tagged, needs, text, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

BUS = ResourceType("events", "event-bus", "arn:${Partition}:events:${Region}:${Account}:event-bus/${EventBusName}")
RULE = ResourceType(
    "events", "rule-on-default-event-bus", "arn:${Partition}:events:${Region}:${Account}:rule/${RuleName}"
)


def _rule(call: Call) -> list[str]:
    name = call.text("Name") or call.text("Rule")
    bus = call.text("EventBusName").rpartition("/")[2]
    return [RULE.arn(call, name if bus in ("", "default") else f"{bus}/{name}")]


def _bus(call: Call) -> list[str]:
    return [BUS.arn(call, (call.text("Name") or "default").rpartition("/")[2])]


def _of_entries(call: Call) -> list[str]:
    names = {str(entry.get("EventBusName") or "default").rpartition("/")[2] for entry in call.get("Entries") or []}
    return [BUS.arn(call, name) for name in sorted(names)]


def _entries(member: str) -> Read:
    return lambda call: [str(entry[member]) for entry in call.get("Entries") or [] if member in entry]


def _pattern(member: str) -> Read:
    """Read plain texts out of the pattern of a rule."""

    def read(call: Call) -> list[str]:
        try:
            pattern: dict[str, Any] = json.loads(call.text("EventPattern") or "{}")
        except ValueError:
            return []
        found = pattern.get(member, [])
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    return read


def _targets(member: str) -> Read:
    return lambda call: [str(one[member]) for one in call.get("Targets") or [] if one.get(member)]


_given = text("ResourceARN")
_PATTERN = (
    Tagged("Tags"),
    Key("events:source", _pattern("source")),
    Key("events:detail-type", _pattern("detail-type")),
)

ROWS: Rows = {
    "PutRule": [Need("events:PutRule", RULE, _rule, _PATTERN), pass_role("events", "RoleArn")],
    "PutTargets": [
        Need("events:PutTargets", RULE, _rule, (Key("events:TargetArn", _targets("Arn")),)),
        Need(
            "iam:PassRole",
            ROLE,
            _targets("RoleArn"),
            (Key("iam:PassedToService", lambda _: ["events.amazonaws.com"]),),
        ),
    ],
    **needs(
        "events",
        RULE,
        _rule,
        "DeleteRule",
        "DescribeRule",
        "DisableRule",
        "EnableRule",
        "ListTargetsByRule",
        "RemoveTargets",
    ),
    **needs("events", None, None, "ListRules", "ListRuleNamesByTarget", "ListEventBuses", "TestEventPattern"),
    **needs("events", BUS, _bus, "CreateEventBus", "DeleteEventBus", "DescribeEventBus"),
    "PutEvents": [
        Need(
            "events:PutEvents",
            BUS,
            _of_entries,
            (Key("events:source", _entries("Source")), Key("events:detail-type", _entries("DetailType"))),
        )
    ],
    "ListTagsForResource": [Need("events:ListTagsForResource", RULE, _given)],
    "TagResource": [Need("events:TagResource", RULE, _given, (Tagged("Tags"),))],
    "UntagResource": [Need("events:UntagResource", RULE, _given, (Key("aws:TagKeys", texts("TagKeys")),))],
}
