from __future__ import annotations

from typing import Any

import pytest

from clary.sandbox.faults import Faults
from clary.sandbox.machines import Machines, machines, machines_of, preferences, selected
from clary.sandbox.model import Job, JobKind

PREFERENCES = [{"InstanceType": "ml.g5.xlarge", "InstanceCount": 3}, {"InstanceType": "ml.g4dn.xlarge"}]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"InstanceType": "ml.m5.large", "InstanceCount": 2}, [Machines("homogeneousCluster", "ml.m5.large", 2)]),
        ({"InstanceType": "ml.m5.large"}, [Machines("homogeneousCluster", "ml.m5.large", 1)]),
        ({"InstancePreferences": PREFERENCES}, [Machines("homogeneousCluster", "ml.g5.xlarge", 3)]),
        (
            {"InstancePreferences": [{"InstanceType": "ml.g5.xlarge"}], "InstanceCount": 2},
            [Machines("homogeneousCluster", "ml.g5.xlarge", 2)],
        ),
        (
            {
                "InstanceGroups": [
                    {"InstanceGroupName": "a", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
                    {"InstanceGroupName": "b", "InstanceType": "ml.g5.xlarge", "InstanceCount": 2},
                ]
            },
            [Machines("a", "ml.c5.xlarge", 1), Machines("b", "ml.g5.xlarge", 2)],
        ),
        ({}, [Machines("homogeneousCluster", "", 1)]),
    ],
)
def test_the_machines_of_a_request(config: dict[str, Any], expected: list[Machines]) -> None:
    assert machines(JobKind.TRAINING, {"ResourceConfig": config}) == expected
    assert machines(JobKind.PROCESSING, {"ProcessingResources": {"ClusterConfig": config}}) == expected


def test_what_was_selected_holds_from_then_on() -> None:
    config = {"InstancePreferences": PREFERENCES, "InstanceCount": 2, "VolumeSizeInGB": 1}
    for kind, request in (
        (JobKind.TRAINING, {"ResourceConfig": config}),
        (JobKind.PROCESSING, {"ProcessingResources": {"ClusterConfig": config}}),
    ):
        _, second = preferences(kind, request)
        assert second == Machines("homogeneousCluster", "ml.g4dn.xlarge", 2)
        job = Job(kind, "name", "arn", "123456789012", "us-east-1", request, {}, 1)
        told = selected(job, second)
        after = Job(kind, "name", "arn", "123456789012", "us-east-1", request, dict(told), 2)
        assert machines_of(job)[0].instance_type == "ml.g5.xlarge"
        assert machines_of(after) == [second]
        assert next(iter(told)) in request


def test_a_fault_can_be_meant_for_some_types() -> None:
    faults = Faults()
    faults.add("capacity", instance_type="ml.g5.*", times=2)
    assert faults.take("capacity", instance_type="ml.m5.large") is None
    assert faults.take("capacity", instance_type="ml.g5.xlarge") is not None
    with pytest.raises(ValueError, match=r"such as 'ml.g5"):
        faults.add("capacity", instance_type=5)
