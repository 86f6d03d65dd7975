from __future__ import annotations

from typing import Any

import pytest

from clary.sandbox.machines import Machines, machines
from clary.sandbox.model import JobKind

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
