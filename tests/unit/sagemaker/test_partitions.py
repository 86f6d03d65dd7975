"""Partitions: from a region, by botocore's own table; and ARNs that belong to another."""

from __future__ import annotations

import pytest

from clary.errors import ConfigError
from clary.sagemaker.partitions import check_partition, doubt_about, doubt_about_fips, partition_of


@pytest.mark.parametrize(
    ("region", "name", "suffix"),
    [
        ("eu-west-1", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
        ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
        ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
        ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
    ],
)
def test_a_region_has_one_partition(region: str, name: str, suffix: str) -> None:
    assert partition_of(region)[:2] == (name, suffix)
    assert doubt_about(region) is None


def test_a_region_that_botocore_does_not_know_yet() -> None:
    assert partition_of("eu-west-11").name == "aws"
    doubt = doubt_about("us-gov-wset-1")
    assert doubt is not None
    assert "did you mean us-gov-west-1?" in doubt
    assert "aws-us-gov" in doubt


@pytest.mark.parametrize(("region", "meant"), [("eu_west_1", "eu-west-1"), ("aws", None), ("", None)])
def test_a_region_of_no_partition(region: str, meant: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        partition_of(region)
    assert (caught.value.code, caught.value.field) == ("aws.unknown_region", "region")
    assert (f"Did you mean {meant}?" if meant else "eu-west-1") in caught.value.next_step


def test_roles_of_another_partition_are_refused_by_field() -> None:
    good = "arn:aws-cn:iam::123456789012:role/R"
    check_partition("cn-north-1", {"execution_role": good, "assume_role": None, "scheduler_role": good})
    with pytest.raises(ConfigError) as caught:
        check_partition("us-gov-west-1", {"execution_role": None, "assume_role": "arn:aws:iam::123456789012:role/R"})
    assert (caught.value.code, caught.value.field) == ("aws.other_partition", "assume_role")
    assert "--assume-role as arn:aws-us-gov:…" in caught.value.next_step
    check_partition("eu-west-1", {"execution_role": "MyRole"})  # no ARN: for another rule


def test_most_regions_have_no_fips_endpoints() -> None:
    assert doubt_about_fips("us-east-1") is None
    assert doubt_about_fips("us-gov-west-1") is None
    doubt = doubt_about_fips("eu-west-1")
    assert doubt is not None
    assert "us-east-1" in doubt
    assert "none of its partition is" in (doubt_about_fips("eusc-de-east-1") or "")
