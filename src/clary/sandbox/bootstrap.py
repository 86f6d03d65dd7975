"""What every sandbox has from its first start: an execution role, a bucket, and repositories with its own image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from clary.sandbox.containers.image import OWN_REPOSITORY
from clary.sandbox.iam import EVERYTHING
from clary.sandbox.operations.checks import find_role
from clary.sandbox.operations.context import Caller

if TYPE_CHECKING:
    from clary.sandbox.gateway import Gateway

ACCOUNT = "123456789012"
REGION = "us-east-1"
ROLE_NAME = "clary-sandbox-execution"
POLICY_NAME = "everything"
"""The role's policy, which counts while IAM policies are enforced; who wants to try lesser rights makes a role."""

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


_REPOSITORY = "clary"
"""The repository of stacks of the sandbox."""


def role_arn(account: str = ACCOUNT) -> str:
    """Return the ARN of the execution role."""
    return f"arn:aws:iam::{account}:role/{ROLE_NAME}"


def bucket_name(account: str = ACCOUNT) -> str:
    """Return the name of the bucket."""
    return f"clary-sandbox-{account}"


def ensure(gateway: Gateway, account: str = ACCOUNT, region: str = REGION) -> None:
    """Make the role (which may do everything), the bucket and the repositories if they are not there."""
    if find_role(role_arn(account), Caller(account, region)) is None:
        form = {
            "Action": "CreateRole",
            "Version": "2010-05-08",
            "RoleName": ROLE_NAME,
            "AssumeRolePolicyDocument": json.dumps(_TRUST),
            "Description": "Execution role of jobs in the sandbox",
        }
        gateway.call("iam", region, account, form)
    role = find_role(role_arn(account), Caller(account, region))
    if role is not None and not role.policies and not role.managed_policies:
        form = {"Action": "PutRolePolicy", "Version": "2010-05-08", "RoleName": ROLE_NAME}
        form |= {"PolicyName": POLICY_NAME, "PolicyDocument": json.dumps(EVERYTHING)}
        gateway.call("iam", region, account, form)
    if gateway.objects.bucket(bucket_name(account)) is None:
        gateway.call("s3", region, account, method="PUT", uri=f"/{bucket_name(account)}")
    _ensure_repositories(gateway, account, region)


def _ensure_repositories(gateway: Gateway, account: str, region: str) -> None:
    """Make the repositories; that they are there already is refused, which is as good, and not recorded."""
    target = "AmazonEC2ContainerRegistry_V20150921.CreateRepository"
    for name in (_REPOSITORY, OWN_REPOSITORY):
        gateway.call("ecr", region, account, target=target, document={"repositoryName": name})
