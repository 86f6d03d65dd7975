"""KMS. Key policies decide: without one that lets the account decide, identity-based policies count for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.common import KEY, has, key_arns
from clary.sandbox.iam.table.spec import Key, Need, ResourceType, Rows, Tagged, text, texts

if TYPE_CHECKING:
    from clary.sandbox.iam.call import Call

ALIAS = ResourceType("kms", "alias", "arn:${Partition}:kms:${Region}:${Account}:alias/${Alias}")
_CALLER = Key("kms:CallerAccount", lambda call: [call.account])


def _alias(call: Call) -> list[str]:
    return [ALIAS.arn(call, call.text("AliasName").removeprefix("alias/"))]


def _target(call: Call) -> list[str]:
    """Name the key that an alias points at."""
    name = call.text("TargetKeyId") or call.text("AliasName")
    return [KEY.arn(call, call.facts.key_id(name, call.account, call.region))]


def _sealed(call: Call) -> list[str]:
    """Name the key of a Decrypt: the one it names, else the one that encrypted."""
    name = call.text("KeyId") or call.text("CiphertextBlob")
    return [KEY.arn(call, call.facts.key_id(name, call.account, call.region))]


def _request_alias(call: Call) -> list[str]:
    name = call.text("KeyId").rpartition(":")[2]
    return [name] if name.startswith("alias/") else []


_key = key_arns("KeyId")
_USE = (
    _CALLER,
    Key("kms:RequestAlias", _request_alias),
    Key("kms:EncryptionAlgorithm", text("EncryptionAlgorithm")),
    Key("kms:EncryptionContextKeys", lambda call: list(call.get("EncryptionContext") or {})),
)
_GRANT = (
    _CALLER,
    Key("kms:GranteePrincipal", text("GranteePrincipal")),
    Key("kms:GrantOperations", texts("Operations")),
    Key("kms:GrantIsForAWSResource", lambda _: ["false"]),
)


def _on_key(*operations: str) -> dict[str, list[Need]]:
    return {operation: [Need(f"kms:{operation}", KEY, _key, (_CALLER,))] for operation in operations}


def _with_key(*operations: str) -> dict[str, list[Need]]:
    return {operation: [Need(f"kms:{operation}", KEY, _key, _USE)] for operation in operations}


def _on_alias(operation: str) -> list[Need]:
    return [
        Need(f"kms:{operation}", ALIAS, _alias, (_CALLER,)),
        Need(f"kms:{operation}", KEY, _target, (_CALLER,)),
    ]


ROWS: Rows = {
    "CreateKey": [
        Need("kms:CreateKey", keys=(_CALLER, Tagged("Tags"))),
        Need("kms:TagResource", KEY, lambda call: [KEY.arn(call, "*")], (_CALLER, Tagged("Tags")), when=has("Tags")),
    ],
    "CreateAlias": _on_alias("CreateAlias"),
    "DeleteAlias": _on_alias("DeleteAlias"),
    "UpdateAlias": _on_alias("UpdateAlias"),
    "CreateGrant": [Need("kms:CreateGrant", KEY, _key, _GRANT)],
    "Decrypt": [Need("kms:Decrypt", KEY, _sealed, _USE)],
    **_with_key("Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"),
    **_on_key(
        "CancelKeyDeletion",
        "DescribeKey",
        "DisableKey",
        "DisableKeyRotation",
        "EnableKey",
        "EnableKeyRotation",
        "GetKeyPolicy",
        "GetKeyRotationStatus",
        "ListGrants",
        "ListKeyPolicies",
        "ListResourceTags",
        "PutKeyPolicy",
        "RevokeGrant",
        "ScheduleKeyDeletion",
        "UpdateKeyDescription",
    ),
    "ListKeys": [Need("kms:ListKeys")],
    "ListAliases": [Need("kms:ListAliases")],
    "TagResource": [Need("kms:TagResource", KEY, _key, (_CALLER, Tagged("Tags")))],
    "UntagResource": [Need("kms:UntagResource", KEY, _key, (_CALLER, Key("aws:TagKeys", texts("TagKeys"))))],
}
