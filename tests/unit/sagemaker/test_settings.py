"""Settings in layers: what wins, what None means, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from clary.errors import ValidationError
from clary.sagemaker.settings import DEFAULT_MAX_RUNTIME, JobSettings, settings_from


def test_the_defaults_are_small_and_cheap() -> None:
    settings = settings_from()
    assert settings == JobSettings()
    assert (settings.instance_type, settings.instance_count, settings.volume_size_in_gb) == ("ml.m5.xlarge", 1, 30)
    assert settings.max_runtime_in_seconds == DEFAULT_MAX_RUNTIME == 14400


def test_a_later_layer_wins_and_objects_are_merged() -> None:
    settings = settings_from(
        {"instance_type": "ml.c5.xlarge", "environment": {"A": "1", "B": "2"}, "subnets": ["subnet-1", "subnet-2"]},
        {"environment": {"B": "3"}, "subnets": ["subnet-3"], "request": {"Tags": [], "InfraCheckConfig": {"x": 1}}},
        {"request": {"InfraCheckConfig": {"y": 2}}},
    )
    assert settings.instance_type == "ml.c5.xlarge"
    assert settings.environment == {"A": "1", "B": "3"}
    assert settings.subnets == ("subnet-3",)
    assert settings.request == {"Tags": [], "InfraCheckConfig": {"x": 1, "y": 2}}


def test_none_means_the_default() -> None:
    settings = settings_from(
        {"instance_type": "ml.c5.xlarge", "environment": {"A": "1", "B": "2"}},
        {"instance_type": None, "environment": {"A": None}, "keep_alive_period_in_seconds": None},
    )
    assert settings.instance_type == "ml.m5.xlarge"
    assert settings.environment == {"B": "2"}


def test_none_inside_the_request_is_kept_for_the_request() -> None:
    settings = settings_from(
        {"request": {"ProfilerConfig": {"DisableProfiler": True}}}, {"request": {"ProfilerConfig": None}}
    )
    assert settings.request == {"ProfilerConfig": None}


def test_layers_are_left_as_they_are() -> None:
    layer: dict[str, Any] = {"environment": {"A": "1"}}
    settings_from(layer, {"environment": {"B": "2"}})
    assert layer == {"environment": {"A": "1"}}


def test_numbers_may_stand_where_text_is_wanted() -> None:
    assert settings_from({"environment": {"DEPTH": 3}, "instance_count": "2"}) == JobSettings(
        environment={"DEPTH": "3"}, instance_count=2
    )


@pytest.mark.parametrize(
    ("layer", "field"),
    [
        ({"instance_count": "many"}, "instance_count"),
        ({"environment": {"A": ["x"]}}, "environment.A"),
        ({"environment": {"A": True}}, "environment.A"),
        ({"subnets": "subnet-1"}, "subnets"),
        ({"instance_typ": "ml.m5.xlarge"}, "instance_typ"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_what_does_not_fit_is_named(layer: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings_from(layer)
    assert (caught.value.code, caught.value.field) == ("settings.invalid", field)


def test_a_misspelt_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(ValidationError, match=r"Did you mean instance_type\?"):
        settings_from({"instance_typ": "ml.m5.xlarge"})


def test_values_are_not_repeated_in_errors() -> None:
    with pytest.raises(ValidationError) as caught:
        settings_from({"environment": {"TOKEN": ["hunter2"]}})
    assert "hunter2" not in str(caught.value.to_dict())
