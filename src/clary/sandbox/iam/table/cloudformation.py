"""CloudFormation itself; what a stack makes is weighed by ``stacks``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.common import pass_role
from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, Tagged, needs, text, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

STACK = ResourceType(
    "cloudformation", "stack", "arn:${Partition}:cloudformation:${Region}:${Account}:stack/${StackName}/${Id}"
)


def _stack(call: Call) -> list[str]:
    """Name the stack, also where only its change set is named by an ARN: then any."""
    name = call.text("StackName") or "*"
    known = call.facts.stack_id(name, call.account, call.region)
    stack, _, number = known.partition("/")
    return [STACK.arn(call, stack, number or "*")]


_TEMPLATE = (
    Key("cloudformation:RoleArn", text("RoleARN")),
    Key("cloudformation:TemplateUrl", text("TemplateURL")),
    Key("cloudformation:StackPolicyUrl", text("StackPolicyURL")),
    Key("cloudformation:ResourceTypes", texts("ResourceTypes")),
)
_CHANGE_SET = Key("cloudformation:ChangeSetName", text("ChangeSetName"))
_PASS = pass_role("cloudformation", "RoleARN")

ROWS: Rows = {
    "CreateStack": [Need("cloudformation:CreateStack", STACK, _stack, (*_TEMPLATE, Tagged("Tags"))), _PASS],
    "UpdateStack": [Need("cloudformation:UpdateStack", STACK, _stack, (*_TEMPLATE, Tagged("Tags"))), _PASS],
    "DeleteStack": [
        Need("cloudformation:DeleteStack", STACK, _stack, (Key("cloudformation:RoleArn", text("RoleARN")),)),
        _PASS,
    ],
    "CreateChangeSet": [
        Need("cloudformation:CreateChangeSet", STACK, _stack, (*_TEMPLATE, _CHANGE_SET, Tagged("Tags"))),
        _PASS,
    ],
    **{
        operation: [Need(f"cloudformation:{operation}", STACK, _stack, (_CHANGE_SET,))]
        for operation in ("DescribeChangeSet", "ExecuteChangeSet", "DeleteChangeSet")
    },
    **needs(
        "cloudformation",
        STACK,
        _stack,
        "CancelUpdateStack",
        "DescribeStackEvents",
        "DescribeStackResource",
        "DescribeStackResources",
        "DescribeStacks",
        "GetStackPolicy",
        "GetTemplate",
        "GetTemplateSummary",
        "ListChangeSets",
        "ListStackResources",
        "SetStackPolicy",
        "UpdateTerminationProtection",
    ),
    **needs("cloudformation", None, None, "ListStacks", "ListExports", "ListImports"),
    "ValidateTemplate": [Need("cloudformation:ValidateTemplate", keys=(_TEMPLATE[1],))],
}
