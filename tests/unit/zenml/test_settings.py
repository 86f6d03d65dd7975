"""Settings of ZenML: which become a job's, and what is refused before any stack is asked."""

from __future__ import annotations

import logging
from typing import Any

import botocore.session
import pytest

from clary import zenml
from clary.errors import UsageError
from clary.zenml.machines import MACHINES
from clary.zenml.settings import job_settings


def refusal(settings: dict[str, Any]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        job_settings(settings)
    assert caught.value.next_step
    return caught.value


def test_settings_have_attributes() -> None:
    machine = zenml.SagemakerOrchestratorSettings(instance_type="ml.m5.large")
    assert (machine.instance_type, machine.volume_size_in_gb) == ("ml.m5.large", None)
    assert zenml.DockerSettings(requirements=["numpy"]).requirements == ["numpy"]
    assert not hasattr(machine, "instnce_type")


def test_a_misspelt_setting_is_refused_when_it_is_declared() -> None:
    error = refusal({"orchestrator": zenml.SagemakerOrchestratorSettings(instnce_type="ml.m5.large")})
    assert error.code == "zenml.bad_settings"
    assert "instance_type" in error.next_step


@pytest.mark.parametrize(
    ("wanted", "machine"),
    [
        ({"cpu_count": 2}, "ml.m5.large"),
        ({"cpu_count": 3, "memory": "8GB"}, "ml.m5.xlarge"),
        ({"memory": "64GB"}, "ml.m5.4xlarge"),
        ({"memory": "65GiB"}, "ml.m5.12xlarge"),
        ({"gpu_count": 1}, "ml.g5.xlarge"),
        ({"gpu_count": 1, "cpu_count": 64}, "ml.g5.16xlarge"),
        ({"gpu_count": 2}, "ml.g5.12xlarge"),
        ({"gpu_count": 8, "memory": "768GiB"}, "ml.g5.48xlarge"),
    ],
)
def test_resources_become_the_smallest_machine_that_has_them(wanted: dict[str, Any], machine: str) -> None:
    assert job_settings({"resources": zenml.ResourceSettings(**wanted)}) == (None, {"instance_type": machine})


def test_a_named_type_outranks_resources_and_none_asks_for_none() -> None:
    named = {"orchestrator": {"instance_type": "ml.c5.xlarge"}, "resources": {"cpu_count": 2}}
    assert job_settings(named) == (None, {"instance_type": "ml.c5.xlarge"})
    assert job_settings({"resources": zenml.ResourceSettings(cpu_count=None)}) == (None, {})


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"resources": {"cpu_count": 500}}, "zenml.not_available", "instance_type"),
        ({"resources": {"gpu_class": "a100"}}, "zenml.not_available", "instance_type"),
        ({"resources": {"memory": "much"}}, "zenml.bad_settings", "16GB"),
        ({"resources": {"cpu_count": True}}, "zenml.bad_settings", "number"),
        ({"step_operator": {"instance_type": "x"}}, "zenml.not_available", "orchestrator"),
        ({"deployer": {"x": 1}}, "zenml.not_available", "SageMaker"),
        ({"orchestrater": {}}, "zenml.bad_settings", "orchestrator"),
        ({"docker": {"dockerignore": "x"}}, "zenml.not_available", "name"),
    ],
)
def test_what_has_no_place_says_what_to_do(settings: dict[str, Any], code: str, said: str) -> None:
    error = refusal(settings)
    assert error.code == code
    assert said in error.next_step


def test_every_machine_is_one_of_sagemakers() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    assert {one.name for one in MACHINES} <= set(model.shape_for("TrainingInstanceType").enum)


def test_a_logger_is_loggings() -> None:
    assert zenml.get_logger("x") is logging.getLogger("x")
