"""Resource types and needs that several services share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.spec import Key, Need, Read, ResourceType, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.sandbox.iam.call import Call

ROLE = ResourceType("iam", "role", "arn:${Partition}:iam::${Account}:role/${RoleNameWithPath}")
KEY = ResourceType("kms", "key", "arn:${Partition}:kms:${Region}:${Account}:key/${KeyId}")


def has(path: str) -> Callable[[Call], bool]:
    """Tell whether a request has a member (or numbered members, or tags) of this name."""
    return lambda call: bool(call.get(path)) or bool(call.tags(path)) or bool(call.texts(path))


def pass_role(service: str, *paths: str) -> Need:
    """Return the need to pass the role that the first of these members names to a service, such as ``sagemaker``."""
    read = text(*paths)
    return Need(
        "iam:PassRole",
        ROLE,
        read,
        keys=(Key("iam:PassedToService", lambda _: [f"{service}.amazonaws.com"]),),
        when=lambda call: bool(list(read(call))),
    )


def key_arns(path: str) -> Read:
    """Read the ARN of the KMS key that a member names by id, ARN or alias."""
    return lambda call: [
        KEY.arn(call, call.facts.key_id(name, call.account, call.region)) for name in [call.text(path)] if name
    ]


def use_key(action: str, path: str, service: str) -> Need:
    """Return the need to use the key that a member names, through a service that does it on the caller's behalf."""
    return Need(
        action,
        KEY,
        key_arns(path),
        keys=(
            Key("kms:ViaService", lambda call: [f"{service}.{call.region}.amazonaws.com"]),
            Key("kms:CallerAccount", lambda call: [call.account]),
        ),
        when=has(path),
    )
