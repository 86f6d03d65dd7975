"""IAM: users, groups, roles, policies, access keys, simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.table.common import ROLE
from clary.sandbox.iam.table.spec import Key, Need, Read, ResourceType, Rows, Tagged, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.sandbox.iam.call import Call

USER = ResourceType("iam", "user", "arn:${Partition}:iam::${Account}:user/${UserNameWithPath}")
GROUP = ResourceType("iam", "group", "arn:${Partition}:iam::${Account}:group/${GroupNameWithPath}")
POLICY = ResourceType("iam", "policy", "arn:${Partition}:iam::${Account}:policy/${PolicyNameWithPath}")
PROFILE = ResourceType(
    "iam", "instance-profile", "arn:${Partition}:iam::${Account}:instance-profile/${InstanceProfileNameWithPath}"
)


def _new(kind: ResourceType, member: str) -> Read:
    return lambda call: [kind.arn(call, (call.text("Path") or "/").lstrip("/") + call.text(member))]


def _entity(kind: ResourceType, member: str) -> Read:
    def read(call: Call) -> Iterable[str]:
        name = call.text(member)
        if call.text("Path"):  # a request of CloudFormation about what it is making
            return _new(kind, member)(call)
        if not name and kind is USER:  # left out: who asks
            name = call.facts.user_name(call.access_key)
        return [kind.arn(call, call.facts.path_of(kind.name, name, call.account))]

    return read


_user, _group, _role = _entity(USER, "UserName"), _entity(GROUP, "GroupName"), _entity(ROLE, "RoleName")
_profile = _entity(PROFILE, "InstanceProfileName")
_policy = text("PolicyArn")


def _boundary(call: Call) -> list[str]:
    """Read the boundary that is set, or that the role has."""
    found = call.text("PermissionsBoundary") or call.facts.boundary(call.text("RoleName"), call.account)
    return [found] if found else []


_BOUNDARY = Key("iam:PermissionsBoundary", _boundary)
_TAG_KEYS = Key("aws:TagKeys", texts("TagKeys"))
_ATTACHED = Key("iam:PolicyARN", _policy)


def _on(kind: ResourceType, arns: Read, *operations: str, keys: tuple[Key | Tagged, ...] = ()) -> dict[str, list[Need]]:
    return {operation: [Need(f"iam:{operation}", kind, arns, keys)] for operation in operations}


_USERS = {
    "CreateUser": [Need("iam:CreateUser", USER, _new(USER, "UserName"), (_BOUNDARY, Tagged("Tags")))],
    **_on(
        USER, _user, "CreateAccessKey", "DeleteAccessKey", "DeleteUser", "GetUser", "GetUserPolicy", "ListAccessKeys"
    ),
    **_on(USER, _user, "ListAttachedUserPolicies", "ListGroupsForUser", "ListUserPolicies", "ListUserTags"),
    **_on(USER, _user, "UpdateAccessKey", "UpdateUser"),
    **_on(USER, _user, "PutUserPolicy", "DeleteUserPolicy", keys=(_BOUNDARY,)),
    **_on(USER, _user, "AttachUserPolicy", "DetachUserPolicy", keys=(_ATTACHED, _BOUNDARY)),
    **_on(USER, _user, "TagUser", keys=(Tagged("Tags"),)),
    **_on(USER, _user, "UntagUser", keys=(_TAG_KEYS,)),
}
_GROUPS = {
    "CreateGroup": [Need("iam:CreateGroup", GROUP, _new(GROUP, "GroupName"))],
    **_on(GROUP, _group, "AddUserToGroup", "DeleteGroup", "DeleteGroupPolicy", "GetGroup", "GetGroupPolicy"),
    **_on(GROUP, _group, "ListAttachedGroupPolicies", "ListGroupPolicies", "PutGroupPolicy", "RemoveUserFromGroup"),
    **_on(GROUP, _group, "AttachGroupPolicy", "DetachGroupPolicy", keys=(_ATTACHED,)),
}
_ROLES = {
    "CreateRole": [Need("iam:CreateRole", ROLE, _new(ROLE, "RoleName"), (_BOUNDARY, Tagged("Tags")))],
    **_on(ROLE, _role, "GetRolePolicy", "ListAttachedRolePolicies", "ListInstanceProfilesForRole", "ListRolePolicies"),
    **_on(ROLE, _role, "ListRoleTags"),
    **_on(
        ROLE,
        _role,
        "DeleteRole",
        "DeleteRolePermissionsBoundary",
        "DeleteRolePolicy",
        "GetRole",
        "PutRolePermissionsBoundary",
        "PutRolePolicy",
        "UpdateAssumeRolePolicy",
        "UpdateRole",
        "UpdateRoleDescription",
        keys=(_BOUNDARY,),
    ),
    **_on(ROLE, _role, "AttachRolePolicy", "DetachRolePolicy", keys=(_ATTACHED, _BOUNDARY)),
    **_on(ROLE, _role, "TagRole", keys=(Tagged("Tags"),)),
    **_on(ROLE, _role, "UntagRole", keys=(_TAG_KEYS,)),
}
_POLICIES = {
    "CreatePolicy": [Need("iam:CreatePolicy", POLICY, _new(POLICY, "PolicyName"), (Tagged("Tags"),))],
    **_on(POLICY, _policy, "CreatePolicyVersion", "DeletePolicy", "DeletePolicyVersion", "GetPolicy"),
    **_on(POLICY, _policy, "GetPolicyVersion", "ListEntitiesForPolicy", "ListPolicyTags", "ListPolicyVersions"),
    **_on(POLICY, _policy, "SetDefaultPolicyVersion"),
    **_on(POLICY, _policy, "TagPolicy", keys=(Tagged("Tags"),)),
    **_on(POLICY, _policy, "UntagPolicy", keys=(_TAG_KEYS,)),
}
_ACCOUNT = {
    operation: [Need(f"iam:{operation}")]
    for operation in (
        "GetAccountAuthorizationDetails",
        "GetAccountSummary",
        "ListAccountAliases",
        "ListGroups",
        "ListInstanceProfiles",
        "ListPolicies",
        "ListRoles",
        "ListUsers",
        "SimulateCustomPolicy",
        "GetContextKeysForCustomPolicy",
    )
}

ROWS: Rows = {
    **_USERS,
    **_GROUPS,
    **_ROLES,
    **_POLICIES,
    **_ACCOUNT,
    "SimulatePrincipalPolicy": [Need("iam:SimulatePrincipalPolicy", ROLE, text("PolicySourceArn"))],
    "GetContextKeysForPrincipalPolicy": [Need("iam:GetContextKeysForPrincipalPolicy", ROLE, text("PolicySourceArn"))],
    **_on(PROFILE, _profile, "DeleteInstanceProfile", "GetInstanceProfile", "RemoveRoleFromInstanceProfile"),
}
