"""The quotas of the stack's instance types, as its settings ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clary.doctor.findings import Status
from integration.doctor.conftest import applies, look
from scripted_aws import ScriptedAws, refusal

if TYPE_CHECKING:
    from clary import testing
    from clary.stacks.model import Stack


@pytest.mark.parametrize(
    ("check", "usage", "settings"),
    [
        ("quota-training", "training job", {}),
        ("quota-spot", "spot training job", {"use_spot": True}),
        ("quota-warm-pool", "training warm pool", {"keep_alive_period_in_seconds": 600}),
    ],
)
def test_a_quota_of_nothing_fails_with_the_request_for_more(
    stack: Stack, sandbox: testing.Sandbox, check: str, usage: str, settings: dict[str, object]
) -> None:
    asked = {"settings": {"instance_type": "ml.g5.xlarge", **settings}}
    sandbox.quotas.set(f"ml.g5.xlarge for {usage} usage", 0)
    found = look(check, stack, **asked)
    assert found.status is Status.FAILED
    assert f"ml.g5.xlarge for {usage} usage" in found.summary
    assert "aws service-quotas request-service-quota-increase --service-code sagemaker --quota-code L-" in str(
        found.fix
    )
    assert "--desired-value 1 --region us-east-1" in str(found.fix)
    sandbox.quotas.set(f"ml.g5.xlarge for {usage} usage", 1)
    assert look(check, stack, **asked).status is Status.OK


def test_only_what_the_settings_ask_for_is_looked_at(stack: Stack) -> None:
    assert not applies("quota-spot", stack)
    assert not applies("quota-warm-pool", stack)
    assert not applies("quota-training", stack, settings={"use_spot": True})
    assert not applies("quota-processing", stack, settings={"instance_type": "ml.p4d.24xlarge"})


def test_processing_is_a_warning_for_flows_do_not_need_it(stack: Stack, sandbox: testing.Sandbox) -> None:
    sandbox.quotas.set("ml.g5.2xlarge for processing job usage", 0)
    found = look("quota-processing", stack, settings={"instance_type": "ml.g5.2xlarge"})
    assert found.status is Status.WARNING


def test_one_of_several_types_will_do(stack: Stack, sandbox: testing.Sandbox) -> None:
    sandbox.quotas.set("ml.g5.4xlarge for training job usage", 0)
    asked = {"settings": {"instance_type": ["ml.g5.4xlarge", "ml.m5.large"]}}
    found = look("quota-training", stack, **asked)
    assert found.status is Status.WARNING
    sandbox.quotas.set("ml.m5.large for training job usage", 0)
    try:
        assert look("quota-training", stack, **asked).status is Status.FAILED
    finally:
        sandbox.quotas.set("ml.m5.large for training job usage", 20)


def test_a_type_without_a_quota_cannot_be_checked(stack: Stack) -> None:
    assert look("quota-training", stack, settings={"instance_type": "ml.zz9.plural"}).status is Status.UNCHECKED


def test_a_missing_right_is_named(stack: Stack) -> None:
    with ScriptedAws().serving() as quotas:
        quotas.answers("ListServiceQuotas", refusal("AccessDeniedException", "no"))
        found = look("quota-training", stack, endpoint_url=quotas.url)
    assert (found.status, found.permission) == (Status.UNCHECKED, "servicequotas:ListServiceQuotas")
