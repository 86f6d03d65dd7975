"""The table of checks in the docs says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from clary.doctor.service import AWS_CHECKS, LOCAL_CHECKS
from clary.sagemaker import permissions
from clary.sagemaker.permissions import Scope

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "doctor.md"
CHECKS = (*AWS_CHECKS, *LOCAL_CHECKS)


def test_every_check_is_in_the_table_with_its_permissions() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| [^|]+ \|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [(name, tuple(re.findall(r"`([^`]+)`", cell))) for name, cell in rows]
    assert documented == [(check.name, tuple(check.permissions)) for check in CHECKS]


def test_names_and_titles_are_their_own() -> None:
    assert len({check.name for check in CHECKS}) == len({check.title for check in CHECKS}) == len(CHECKS)


def test_the_least_policy_of_a_submitter_lets_every_check_look() -> None:
    scope = Scope(
        partition="aws",
        region="eu-west-1",
        account="123456789012",
        bucket="bucket",
        execution_role="arn:aws:iam::123456789012:role/jobs",
        scheduler_role="arn:aws:iam::123456789012:role/wakes",
        registry="arn:aws:ecr:eu-west-1:123456789012:repository/team",
        images=("arn:aws:ecr:eu-west-1:123456789012:repository/team",),
        data_keys=("arn:aws:kms:eu-west-1:123456789012:key/1",),
        subnets=("subnet-1",),
        security_groups=("sg-1",),
    )
    allowed = {action for one in permissions.policy("submitter", scope)["Statement"] for action in one["Action"]}
    # Nobody needs a right to the first; the second only softens what was denied already.
    rest = {"sts:GetCallerIdentity", "s3:GetBucketPolicy"}
    assert {action for check in CHECKS for action in check.permissions} <= allowed | rest
