"""Service quotas of SageMaker: their names, the values an account starts with, and what is in use now.

The names follow the grammar of Service Quotas (``ml.m5.large for training job usage``). The start values are those of
a new account as people report them: a few general purpose types, none of most accelerator types
(amazon-sagemaker-examples#593 and #263); the exact numbers of an account are unknown until asked for, so these are
the sandbox's own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sagemaker.limits import service_model
from clary.sandbox.machines import Machines, machines
from clary.sandbox.model import JobKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clary.sandbox.database import Database
    from clary.sandbox.rates import Rates

SERVICE = "sagemaker"
GENERAL_PURPOSE = 20
"""Instances of each general purpose type that a new account may use at once."""

_GENERAL_FAMILIES = frozenset(
    {"m4", "m5", "m5d", "m6i", "m7i", "m8i", "c4", "c5", "c5n", "c6i", "c7i", "c8i", "t3", "r5", "r7i"}
)
_USAGES: Mapping[JobKind, tuple[str, ...]] = {
    JobKind.TRAINING: ("training job", "spot training job"),
    JobKind.PROCESSING: ("processing job",),
}
_TOTALS: Mapping[JobKind, str] = {
    JobKind.TRAINING: "Number of instances across all training jobs",
    JobKind.PROCESSING: "Number of instances across all processing jobs",
}
_TOTAL_VALUE = 100.0
_KNOWN_CODES = {"Rate of CreateTrainingJob requests": "L-21A1652A"}
"""Codes that are public; the others are made from the name, in the same form."""


@dataclass(frozen=True)
class Quota:
    """One quota as it holds for an account and region."""

    name: str
    value: float
    unit: str = "None"
    adjustable: bool = True

    @property
    def code(self) -> str:
        """The quota's code, ``L-`` and eight hexadecimal digits."""
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        return _KNOWN_CODES.get(self.name, f"L-{digest[:8].upper()}")

    def to_api(self, account: str, region: str) -> dict[str, Any]:
        """Return the quota in the form of the Service Quotas API."""
        return {
            "ServiceCode": SERVICE,
            "ServiceName": "Amazon SageMaker",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:{SERVICE}/{self.code}",
            "QuotaCode": self.code,
            "QuotaName": self.name,
            "Value": self.value,
            "Unit": self.unit,
            "Adjustable": self.adjustable,
            "GlobalQuota": False,
        }


class QuotaExceeded(Exception):  # noqa: N818 - says what happened; the API answers ResourceLimitExceeded
    """A create would go over a quota; the text is the service's own."""


class Quotas:
    """The quotas of every account and region, and the check of a new job against them."""

    def __init__(self, database: Database, rates: Rates) -> None:
        self._db = database
        self._rates = rates

    def value(self, name: str, account: str, region: str) -> float:
        """Return a quota's value: what was set, else what a new account has."""
        row = self._db.row("SELECT value FROM quotas WHERE account=? AND region=? AND name=?", (account, region, name))
        return float(row["value"]) if row else _default(name)

    def set(self, name: str, value: float, account: str, region: str) -> None:
        """Give a quota another value; raises ValueError for a name that no quota has."""
        if value < 0:
            raise ValueError("A quota cannot be negative.")
        if not _well_formed(name):
            raise ValueError(f"No quota is called {name!r}; an example is 'ml.m5.large for training job usage'.")
        self._db.execute(
            "INSERT INTO quotas VALUES (?,?,?,?)"
            " ON CONFLICT (account, region, name) DO UPDATE SET value=excluded.value",
            (account, region, name, float(value)),
        )

    def all(self, account: str, region: str) -> Iterator[Quota]:
        """Yield every quota, ordered by name."""
        quotas = {name: Quota(name, self.value(name, account, region)) for name in _names()}
        for operation, rate in self._rates.table().items():
            name = f"Rate of {operation} requests"
            quotas[name] = Quota(name, rate.per_second, adjustable=not operation.startswith("List"))
        rows = self._db.rows("SELECT name, value FROM quotas WHERE account=? AND region=?", (account, region))
        quotas |= {row["name"]: Quota(row["name"], row["value"]) for row in rows}
        yield from (quotas[name] for name in sorted(quotas))

    def check(self, kind: JobKind, request: Mapping[str, Any], account: str, region: str) -> None:
        """Raise QuotaExceeded when the job would not fit beside the unfinished ones; call inside the create."""
        wanted = _uses(kind, request)
        running = self._running(kind, account, region)
        for use in wanted:
            name = f"{use.instance_type} for {_usage(kind, request)} usage"
            taken = sum(
                other.count
                for job in running
                if _usage(kind, job) == _usage(kind, request)
                for other in _uses(kind, job)
                if other.instance_type == use.instance_type
            )
            self._refuse_over(name, self.value(name, account, region), taken, use.count)
        total = sum(other.count for job in running for other in _uses(kind, job))
        name = _TOTALS[kind]
        self._refuse_over(name, self.value(name, account, region), total, sum(use.count for use in wanted))

    def _running(self, kind: JobKind, account: str, region: str) -> list[Mapping[str, Any]]:
        rows = self._db.rows(
            "SELECT request, describe FROM jobs WHERE kind=? AND account=? AND region=?"
            " AND status NOT IN ('Completed','Failed','Stopped')",
            (kind.value, account, region),
        )
        return [{**json.loads(row["request"]), **json.loads(row["describe"])} for row in rows]

    @staticmethod
    def _refuse_over(name: str, limit: float, taken: int, delta: int) -> None:
        if taken + delta > limit:
            raise QuotaExceeded(exceeded_message(name, limit, taken, delta))


def exceeded_message(name: str, limit: float, taken: int, delta: int) -> str:
    """Return the service's text for a quota that is used up."""
    return (
        f"The account-level service limit '{name}' is {limit:g} Instances, with current utilization of {taken}"
        f" Instances and a request delta of {delta} Instances. Please use AWS Service Quotas to request an increase"
        " for this quota. If AWS Service Quotas is not available, contact AWS support to request an increase for this"
        " quota."
    )


def quota_name(kind: JobKind, request: Mapping[str, Any]) -> str:
    """Return the name of the quota that a job of that request counts against."""
    taken = _uses(kind, request)
    return f"{taken[0].instance_type if taken else 'ml.m5.large'} for {_usage(kind, request)} usage"


def _uses(kind: JobKind, request: Mapping[str, Any]) -> list[Machines]:
    return [group for group in machines(kind, request) if group.instance_type]


def _usage(kind: JobKind, request: Mapping[str, Any]) -> str:
    spot = kind is JobKind.TRAINING and bool(request.get("EnableManagedSpotTraining"))
    return _USAGES[kind][1 if spot else 0]


def _default(name: str) -> float:
    if name in _TOTALS.values():
        return _TOTAL_VALUE
    family = name.split(".")[1] if name.startswith("ml.") else ""
    if "warm pool" in name:
        return 0.0
    return float(GENERAL_PURPOSE if family in _GENERAL_FAMILIES else 0)


def _well_formed(name: str) -> bool:
    usages = [usage for group in _USAGES.values() for usage in group] + ["training warm pool"]
    return name in _TOTALS.values() or (
        name.startswith("ml.") and any(name.endswith(f" for {u} usage") for u in usages)
    )


def _names() -> Iterator[str]:
    """Yield the quota names of every instance type that the loaded botocore knows."""
    shapes = service_model()["shapes"]
    for instance_type in shapes["TrainingInstanceType"]["enum"]:
        yield f"{instance_type} for training job usage"
        yield f"{instance_type} for spot training job usage"
        yield f"{instance_type} for training warm pool usage"
    for instance_type in shapes["ProcessingInstanceType"]["enum"]:
        yield f"{instance_type} for processing job usage"
    yield from _TOTALS.values()
