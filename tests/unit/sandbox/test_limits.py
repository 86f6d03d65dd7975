"""Rates, quotas and faults."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from clary.sandbox.clock import SandboxClock
from clary.sandbox.faults import KINDS, Faults
from clary.sandbox.model import Job, JobKind
from clary.sandbox.quotas import QuotaExceeded, Quotas
from clary.sandbox.rates import RATES, Rate, Rates
from clary.sandbox.store import SqliteJobStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_a_bucket_gives_its_burst_and_no_more() -> None:
    rates = Rates({"A": Rate(0.001, 3, "test")})
    assert [rates.allow("1", "r", "A") for _ in range(4)] == [True, True, True, False]
    assert rates.allow("2", "r", "A")
    assert rates.allow("1", "other", "A")
    assert rates.allow("1", "r", "Unlimited")
    rates.set("A", 5, 1)
    assert [rates.allow("1", "r", "A") for _ in range(2)] == [True, False]
    rates.enforced = False
    assert rates.allow("1", "r", "A")


def test_tokens_come_back() -> None:
    rates = Rates({"A": Rate(1000, 1, "test")})
    allowed = [rates.allow("1", "r", "A")]
    for _ in range(1_000_000):
        allowed.append(rates.allow("1", "r", "A"))
        if allowed[-1]:
            break
    assert allowed[-1] is True


def test_every_rate_names_its_source() -> None:
    assert all(rate.source and rate.per_second > 0 and rate.burst >= 1 for rate in RATES.values())
    assert RATES["ListTrainingJobs"] == Rate(2, 2, RATES["ListTrainingJobs"].source)


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (1, 0)])
def test_impossible_rates_are_refused(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rates().set("A", per_second, burst)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteJobStore]:
    store = SqliteJobStore(tmp_path / "jobs.db", lambda since: SandboxClock(not_before=since))
    yield store
    store.close()


@pytest.fixture
def quotas(store: SqliteJobStore) -> Quotas:
    return Quotas(store.database, Rates())


def training(instance: str, count: int = 1, **more: Any) -> dict[str, Any]:
    return {"ResourceConfig": {"InstanceType": instance, "InstanceCount": count}, **more}


def test_a_new_account_has_general_purpose_machines_and_no_accelerators(quotas: Quotas) -> None:
    assert quotas.value("ml.m5.large for training job usage", "1", "r") == 20
    assert quotas.value("ml.p4d.24xlarge for training job usage", "1", "r") == 0
    assert quotas.value("ml.m5.large for training warm pool usage", "1", "r") == 0


@pytest.mark.parametrize(
    "request_",
    [
        training("ml.g5.xlarge"),
        training("ml.m5.large", 21),
        {"ResourceConfig": {"InstanceGroups": [{"InstanceType": "ml.g5.xlarge", "InstanceCount": 1}]}},
        {"ResourceConfig": {"InstancePreferences": [{"InstanceType": "ml.g5.xlarge"}]}},
    ],
)
def test_jobs_that_do_not_fit_are_refused(quotas: Quotas, request_: dict[str, Any]) -> None:
    with pytest.raises(QuotaExceeded, match="account-level service limit"):
        quotas.check(JobKind.TRAINING, request_, "1", "r")


def test_running_jobs_count_and_finished_ones_do_not(quotas: Quotas, store: SqliteJobStore) -> None:
    request = training("ml.m5.large", 15)
    made = store.create(
        Job(
            kind=JobKind.TRAINING,
            name="j",
            arn="arn:j",
            account="1",
            region="r",
            request=request,
            describe={"TrainingJobStatus": "InProgress", "CreationTime": 1.0, "LastModifiedTime": 1.0},
            version=1,
        ),
        {},
    )
    with pytest.raises(QuotaExceeded, match="utilization of 15 Instances and a request delta of 6"):
        quotas.check(JobKind.TRAINING, training("ml.m5.large", 6), "1", "r")
    quotas.check(JobKind.TRAINING, training("ml.m5.large", 6, EnableManagedSpotTraining=True), "1", "r")
    quotas.check(JobKind.TRAINING, training("ml.m5.large", 6), "1", "elsewhere")
    store.transition(made, "Completed", "", status="Completed")
    quotas.check(JobKind.TRAINING, training("ml.m5.large", 6), "1", "r")


def test_the_total_is_a_quota_too(quotas: Quotas) -> None:
    quotas.set("Number of instances across all processing jobs", 1, "1", "r")
    cluster = {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2}}
    with pytest.raises(QuotaExceeded, match="across all processing jobs"):
        quotas.check(JobKind.PROCESSING, {"ProcessingResources": cluster}, "1", "r")


def test_names_follow_the_grammar_and_codes_are_their_own(quotas: Quotas) -> None:
    listed = list(quotas.all("1", "r"))
    names = {quota.name for quota in listed}
    assert {"ml.m5.large for spot training job usage", "Rate of ListTrainingJobs requests"} <= names
    assert len({quota.code for quota in listed}) == len(listed)
    for name in ("ml.m5.large", "m5.large for training job usage", "nonsense"):
        with pytest.raises(ValueError, match="No quota is called"):
            quotas.set(name, 1, "1", "r")


def test_a_fault_is_taken_as_often_as_planned_also_by_many_at_once() -> None:
    faults = Faults()
    faults.add("throttle", operation="Create*", match="a-*", times=10)
    taken: list[object] = []

    def take() -> None:
        for _ in range(10):
            taken.append(faults.take("throttle", operation="CreateTrainingJob", name="a-1"))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(fault is not None for fault in taken) == 10
    assert faults.take("throttle", operation="Stop", name="a-1") is None


def test_faults_match_operation_and_name_and_carry_options() -> None:
    faults = Faults()
    faults.add("spot_interruption", match="spot-?", seconds=3)
    assert faults.take("spot_interruption", name="other") is None
    assert faults.take("capacity", name="spot-1") is None
    assert faults.take("spot_interruption", name="spot-1") == {"seconds": 3}
    faults.clear()
    assert faults.planned() == []


@pytest.mark.parametrize(
    "options", [{"seconds": "soon"}, {"seconds": -1}, {"seconds": True}, {"status": 418}, {"second": 1}]
)
def test_impossible_options_of_faults_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"seconds|500, 503"):
        Faults().add("server_error", **options)


def test_impossible_faults_are_refused() -> None:
    with pytest.raises(ValueError, match="known are"):
        Faults().add("gremlins")
    with pytest.raises(ValueError, match="at least once"):
        Faults().add("throttle", times=0)
    assert all(meaning for meaning in KINDS.values())
