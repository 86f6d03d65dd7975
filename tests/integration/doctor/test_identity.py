"""Who asks, by which clock, in which region, for how long; and endpoints that are dead or hang."""

from __future__ import annotations

import dataclasses
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from clary.doctor import service
from clary.doctor.findings import Result, Status
from integration.doctor.conftest import Bending, Headers, by_name, look

if TYPE_CHECKING:
    from clary import testing
    from clary.stacks.model import Stack


def test_a_healthy_stack_is_examined_in_three_seconds(stack: Stack) -> None:
    told: list[Result] = []
    quickest = float("inf")
    for _ in range(5):  # the machine may be busy with other tests
        told.clear()
        began = time.monotonic()
        report = service.examine(stack, limit=30, tell=told.append)
        quickest = min(quickest, time.monotonic() - began)
        if quickest < 3:
            break

    assert report.healthy, [result for result in report.results if result.finding.status is Status.FAILED]
    assert quickest < 3
    assert {result.check.name for result in told} == set(by_name(report))
    order = [check.name for check in service.AWS_CHECKS]
    assert list(by_name(report)) == [name for name in order if name in by_name(report)]
    assert {"bucket", "bucket-write", "execution-role", "image", "quota-training"} <= set(by_name(report))


def test_the_identity_is_named_with_its_source(stack: Stack, sandbox: testing.Sandbox) -> None:
    found = look("identity", stack)
    assert found.status is Status.OK
    assert sandbox.account in found.summary
    assert "from env" in found.summary


@pytest.mark.parametrize(
    ("role", "word"),
    [("arn:aws:iam::999999999999:role/x", "another account"), ("arn:aws-cn:iam::123456789012:role/x", "partition")],
)
def test_credentials_that_do_not_fit_the_role_fail(stack: Stack, role: str, word: str) -> None:
    found = look("identity", stack, execution_role=role)
    assert found.status is Status.FAILED
    assert word in found.summary


def test_credentials_that_are_not_there_fail(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    found = look("identity", stack, credentials="aws-credentials-file:/nowhere/credentials")
    assert found.status is Status.FAILED
    assert "/nowhere/credentials" in found.summary


def test_a_dead_endpoint_fails_once_and_leaves_the_rest_unchecked(stack: Stack) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _all_unchecked(stack, f"http://127.0.0.1:{port}", limit=3)


def test_an_endpoint_that_hangs_does_not_hold_anybody_up(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        _all_unchecked(stack, f"http://127.0.0.1:{silent.getsockname()[1]}", limit=2)


def _all_unchecked(stack: Stack, endpoint: str, *, limit: float) -> None:
    began = time.monotonic()
    report = service.examine(dataclasses.replace(stack, endpoint_url=endpoint), limit=limit)
    assert time.monotonic() - began < limit + 10
    found = by_name(report)
    assert found["identity"].status is Status.FAILED  # it is vital: without an answer nothing runs
    assert found["identity"].fix
    for name in ("bucket", "bucket-write", "execution-role", "image", "pass-role", "quota-training", "clock"):
        assert found[name].status is Status.UNCHECKED, name
    for name in ("settings", "instance-type", "region"):
        assert found[name].status is Status.OK, name  # these ask nobody


@pytest.mark.parametrize(
    ("seconds", "status", "word"),
    [(0, Status.OK, "minute"), (150, Status.WARNING, "behind"), (-900, Status.FAILED, "ahead")],
)
def test_the_clock_is_compared_with_that_of_aws(stack: Stack, seconds: int, status: Status, word: str) -> None:
    def dated(headers: Headers) -> Headers:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        return [(name, date if name.lower() == "date" else value) for name, value in headers]

    with Bending(stack.endpoint_url or "", answer=dated) as proxy:
        found = look("clock", stack, endpoint_url=proxy.endpoint)
    assert found.status is status
    assert word in found.summary


def test_a_refusal_tells_the_time_as_well(stack: Stack, sandbox: testing.Sandbox) -> None:
    sandbox.faults.expire_credentials(operation="GetCallerIdentity", times=8)
    try:
        assert look("clock", stack).status is Status.OK
    finally:
        sandbox.faults.clear()


def test_a_region_that_nobody_knows_is_a_warning(stack: Stack) -> None:
    assert look("region", stack).status is Status.OK
    assert look("region", stack, endpoint_url=None).status is Status.OK
    found = look("region", stack, endpoint_url=None, region="eu-nowhere-7")
    assert found.status is Status.WARNING
    assert "eu-nowhere-7" in found.summary


def test_settings_that_do_not_fit_fail_and_others_say_so(stack: Stack) -> None:
    assert look("settings", stack).status is Status.OK
    wrong = {"settings": {"instance_tpye": "ml.m5.large"}}
    found = look("settings", stack, **wrong)
    assert found.status is Status.FAILED
    assert "instance_type" in str(found.fix)


def test_an_instance_type_that_is_not_listed_is_a_warning(stack: Stack) -> None:
    assert look("instance-type", stack).status is Status.OK
    found = look("instance-type", stack, settings={"instance_type": "ml.zz9.plural"})
    assert found.status is Status.WARNING
    assert "ml.zz9.plural" in found.summary


def test_the_life_of_the_credentials(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("credentials", stack).status is Status.OK
    monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary")
    unknown = look("credentials", stack)
    assert unknown.status is Status.WARNING
    assert "AWS_CREDENTIAL_EXPIRATION" in str(unknown.fix)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(minutes=30)).isoformat())
    short = look("credentials", stack)
    assert short.status is Status.WARNING
    assert "sooner than a run may take (60 minutes)" in short.summary
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(hours=5)).isoformat())
    assert look("credentials", stack).status is Status.OK
