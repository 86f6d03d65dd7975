"""What every sandbox has from its first start: roles of jobs and of schedules, a bucket, a group of schedules, and
repositories with its own image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from clary.sagemaker.statements import SCHEDULE_GROUP
from clary.sandbox.containers.image import OWN_REPOSITORY
from clary.sandbox.iam import EVERYTHING
from clary.sandbox.operations.checks import find_role
from clary.sandbox.operations.context import Caller

if TYPE_CHECKING:
    from clary.sandbox.gateway import Gateway

ACCOUNT = "123456789012"
REGION = "us-east-1"
ROLES = {"execution": "sagemaker.amazonaws.com", "scheduler": "scheduler.amazonaws.com"}
"""By purpose: the service that takes the role. Execution is a job's, scheduler is what wakes suspended runs with."""
POLICY_NAME = "everything"
"""The roles' policy, which counts while IAM policies are enforced; who wants to try lesser rights makes a role."""

_REPOSITORY = "clary"
"""The repository of stacks of the sandbox."""


def role_arn(purpose: str = "execution", account: str = ACCOUNT) -> str:
    """Return the ARN of a role, by its purpose."""
    return f"arn:aws:iam::{account}:role/clary-sandbox-{purpose}"


def bucket_name(account: str = ACCOUNT) -> str:
    """Return the name of the bucket."""
    return f"clary-sandbox-{account}"


def ensure(gateway: Gateway, account: str = ACCOUNT, region: str = REGION) -> None:
    """Make what is not there: the roles (which may do everything), the bucket, the group of schedules, repositories."""
    for purpose, service in ROLES.items():
        _ensure_role(gateway, role_arn(purpose, account), service, Caller(account, region))
    if gateway.objects.bucket(bucket_name(account)) is None:
        gateway.call("s3", region, account, method="PUT", uri=f"/{bucket_name(account)}")
    gateway.call("scheduler", region, account, method="POST", uri=f"/schedule-groups/{SCHEDULE_GROUP}")
    _ensure_repositories(gateway, account, region)


def _ensure_role(gateway: Gateway, arn: str, service: str, caller: Caller) -> None:
    common = {"Version": "2010-05-08", "RoleName": arn.rpartition("/")[2]}
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if find_role(arn, caller) is None:
        form = {
            "Action": "CreateRole",
            "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            "Description": "A role of the sandbox's own",
        }
        gateway.call("iam", caller.region, caller.account, common | form)
    role = find_role(arn, caller)
    if role is not None and not role.policies and not role.managed_policies:
        form = {"Action": "PutRolePolicy", "PolicyName": POLICY_NAME, "PolicyDocument": json.dumps(EVERYTHING)}
        gateway.call("iam", caller.region, caller.account, common | form)


def _ensure_repositories(gateway: Gateway, account: str, region: str) -> None:
    """Make the repositories; that they are there already is refused, which is as good, and not recorded."""
    target = "AmazonEC2ContainerRegistry_V20150921.CreateRepository"
    for name in (_REPOSITORY, OWN_REPOSITORY):
        gateway.call("ecr", region, account, target=target, document={"repositoryName": name})
