"""What every sandbox has from its first start: an execution role and a bucket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from clary.sandbox.operations.checks import find_role
from clary.sandbox.operations.context import Caller

if TYPE_CHECKING:
    from clary.sandbox.gateway import Gateway

ACCOUNT = "123456789012"
REGION = "us-east-1"
ROLE_NAME = "clary-sandbox-execution"

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


def role_arn(account: str = ACCOUNT) -> str:
    """Return the ARN of the execution role."""
    return f"arn:aws:iam::{account}:role/{ROLE_NAME}"


def bucket_name(account: str = ACCOUNT) -> str:
    """Return the name of the bucket."""
    return f"clary-sandbox-{account}"


def ensure(gateway: Gateway, account: str = ACCOUNT, region: str = REGION) -> None:
    """Make the role and the bucket if they are not there."""
    if find_role(role_arn(account), Caller(account, region)) is None:
        form = {
            "Action": "CreateRole",
            "Version": "2010-05-08",
            "RoleName": ROLE_NAME,
            "AssumeRolePolicyDocument": json.dumps(_TRUST),
            "Description": "Execution role of jobs in the sandbox",
        }
        gateway.call("iam", region, account, form)
    if gateway.objects.bucket(bucket_name(account)) is None:
        gateway.call("s3", region, account, method="PUT", uri=f"/{bucket_name(account)}")
