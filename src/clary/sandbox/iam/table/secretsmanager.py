"""Secrets Manager. A key of one's own for a secret is used on the caller's behalf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.common import has, use_key
from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, Tagged, text, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

SECRET = ResourceType(
    "secretsmanager", "Secret", "arn:${Partition}:secretsmanager:${Region}:${Account}:secret:${SecretId}"
)


def _new(call: Call) -> list[str]:
    return [SECRET.arn(call, call.facts.secret_name(call.text("Name"), call.account, call.region))]


def _secret(call: Call) -> list[str]:
    return [SECRET.arn(call, call.facts.secret_name(call.text("SecretId"), call.account, call.region))]


_ID = Key("secretsmanager:SecretId", _secret)
_NAME = (
    Key("secretsmanager:Name", text("Name")),
    Key("secretsmanager:Description", text("Description")),
    Key("secretsmanager:KmsKeyId", text("KmsKeyId")),
    Tagged("Tags"),
)
_DELETION = (
    _ID,
    Key("secretsmanager:ForceDeleteWithoutRecovery", text("ForceDeleteWithoutRecovery")),
    Key("secretsmanager:RecoveryWindowInDays", text("RecoveryWindowInDays")),
)
_VALUE = (
    _ID,
    Key("secretsmanager:VersionId", text("VersionId")),
    Key("secretsmanager:VersionStage", text("VersionStage")),
)


def _on_secret(*operations: str) -> dict[str, list[Need]]:
    return {operation: [Need(f"secretsmanager:{operation}", SECRET, _secret, (_ID,))] for operation in operations}


ROWS: Rows = {
    "CreateSecret": [
        Need("secretsmanager:CreateSecret", SECRET, _new, _NAME),
        Need("secretsmanager:TagResource", SECRET, _new, (Tagged("Tags"),), when=has("Tags")),
        use_key("kms:GenerateDataKey", "KmsKeyId", "secretsmanager"),
        use_key("kms:Decrypt", "KmsKeyId", "secretsmanager"),
    ],
    "GetSecretValue": [Need("secretsmanager:GetSecretValue", SECRET, _secret, _VALUE)],
    "BatchGetSecretValue": [
        Need("secretsmanager:BatchGetSecretValue"),
        Need(
            "secretsmanager:GetSecretValue",
            SECRET,
            lambda call: [
                SECRET.arn(call, call.facts.secret_name(name, call.account, call.region))
                for name in call.texts("SecretIdList")
            ],
        ),
    ],
    "DeleteSecret": [Need("secretsmanager:DeleteSecret", SECRET, _secret, _DELETION)],
    **_on_secret(
        "DeleteResourcePolicy",
        "DescribeSecret",
        "GetResourcePolicy",
        "ListSecretVersionIds",
        "PutResourcePolicy",
        "PutSecretValue",
        "RestoreSecret",
        "UpdateSecretVersionStage",
    ),
    "UpdateSecret": [
        Need(
            "secretsmanager:UpdateSecret",
            SECRET,
            _secret,
            (
                _ID,
                Key("secretsmanager:KmsKeyId", text("KmsKeyId")),
                Key("secretsmanager:Description", text("Description")),
            ),
        )
    ],
    "ListSecrets": [Need("secretsmanager:ListSecrets")],
    "GetRandomPassword": [Need("secretsmanager:GetRandomPassword")],
    "TagResource": [Need("secretsmanager:TagResource", SECRET, _secret, (_ID, Tagged("Tags")))],
    "UntagResource": [
        Need("secretsmanager:UntagResource", SECRET, _secret, (_ID, Key("aws:TagKeys", texts("TagKeys"))))
    ],
}
