"""Systems Manager's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.common import has, use_key
from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, Tagged, flag, needs, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

PARAMETER = ResourceType(
    "ssm", "parameter", "arn:${Partition}:ssm:${Region}:${Account}:parameter/${ParameterNameWithoutLeadingSlash}"
)


def _arn(call: Call, name: str) -> str:
    """Return the ARN of a parameter by its name (with a version or label behind a colon) or its ARN."""
    plain = name.split(":parameter", 1)[1] if name.startswith("arn:") else name
    return PARAMETER.arn(call, plain.lstrip("/").partition(":")[0])


def _parameter(call: Call) -> list[str]:
    return [_arn(call, call.text("Name"))]


def _parameters(call: Call) -> list[str]:
    return [_arn(call, name) for name in call.texts("Names")]


def _path(call: Call) -> list[str]:
    return [_arn(call, call.text("Path").rstrip("/"))]


def _tagged(call: Call) -> list[str]:
    return [_arn(call, call.text("ResourceId"))]


ROWS: Rows = {
    "PutParameter": [
        Need("ssm:PutParameter", PARAMETER, _parameter, (Key("ssm:Overwrite", flag("Overwrite")), Tagged("Tags"))),
        Need("ssm:AddTagsToResource", PARAMETER, _parameter, (Tagged("Tags"),), when=has("Tags")),
        use_key("kms:Encrypt", "KeyId", "ssm"),
    ],
    **needs("ssm", PARAMETER, _parameter, "GetParameter", "GetParameterHistory", "DeleteParameter"),
    **needs("ssm", PARAMETER, _parameter, "LabelParameterVersion"),
    **needs("ssm", PARAMETER, _parameters, "GetParameters", "DeleteParameters"),
    "GetParametersByPath": [
        Need("ssm:GetParametersByPath", PARAMETER, _path, (Key("ssm:Recursive", flag("Recursive")),))
    ],
    **needs("ssm", None, None, "DescribeParameters"),
    "AddTagsToResource": [Need("ssm:AddTagsToResource", PARAMETER, _tagged, (Tagged("Tags"),))],
    "RemoveTagsFromResource": [
        Need("ssm:RemoveTagsFromResource", PARAMETER, _tagged, (Key("aws:TagKeys", texts("TagKeys")),))
    ],
    "ListTagsForResource": [Need("ssm:ListTagsForResource", PARAMETER, _tagged)],
}
