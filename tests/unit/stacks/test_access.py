"""A stack's fields as its way to AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.stacks.access import open_aws
from clary.stacks.model import Stack

if TYPE_CHECKING:
    import pytest


def test_every_field_of_a_stack_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_ID", "AKIAMINE")
    monkeypatch.setenv("MY_KEY", "x")
    stack = Stack(
        name="there",
        type="sagemaker",
        artifact_store="s3://bucket",
        region="us-gov-west-1",
        endpoint_urls={"s3": "http://127.0.0.1:1"},
        use_fips_endpoint=True,
        credentials="aws-environment:MY_ID:MY_KEY",
    )
    aws = open_aws(stack)
    assert aws.region == "us-gov-west-1"
    assert aws.keys().access_key == "AKIAMINE"
    assert aws.resolved_endpoint("s3") == "http://127.0.0.1:1"
    assert aws.resolved_endpoint("sagemaker") == "https://api-fips.sagemaker.us-gov-west-1.amazonaws.com"
    aws.close()
