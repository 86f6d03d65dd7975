"""API rates: one token bucket for each account, region and operation, on real time.

AWS publishes few of these numbers. The table says for each where it comes from; ``estimate`` means that no source was
found and a value was chosen that a well-behaved client keeps within, so that a client that polls or bursts is noticed
here and not on its first day on AWS.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Rate:
    """Requests in a second, the burst that may be saved up, and the source of the numbers."""

    per_second: float
    burst: int
    source: str


_LIST = "observed: 2 requests/s per account, not adjustable (aws-solutions/deepracer-on-aws#87)"
_ESTIMATE = "estimate: no published number; a client that paces itself stays within it"

RATES: Mapping[str, Rate] = {
    "ListTrainingJobs": Rate(2, 2, _LIST),
    "ListProcessingJobs": Rate(2, 2, "estimate: by analogy with ListTrainingJobs"),
    "CreateTrainingJob": Rate(2, 20, _ESTIMATE + "; throttling is seen with 5 workers (sagemaker-python-sdk#645)"),
    "CreateProcessingJob": Rate(2, 20, _ESTIMATE),
    "DescribeTrainingJob": Rate(10, 40, _ESTIMATE),
    "DescribeProcessingJob": Rate(10, 40, _ESTIMATE),
    "StopTrainingJob": Rate(5, 20, _ESTIMATE),
    "StopProcessingJob": Rate(5, 20, _ESTIMATE),
    "UpdateTrainingJob": Rate(5, 20, _ESTIMATE),
    "DeleteTrainingJob": Rate(5, 20, _ESTIMATE),
    "AddTags": Rate(5, 20, _ESTIMATE),
    "DeleteTags": Rate(5, 20, _ESTIMATE),
    "ListTags": Rate(5, 20, _ESTIMATE),
    "ListServiceQuotas": Rate(10, 10, "Service Quotas guide: 5 to 10 requests/s"),
    "GetServiceQuota": Rate(5, 10, "Service Quotas guide: 5 to 10 requests/s"),
}


class Rates:
    """The buckets. Safe from any thread; ``enforced`` can be switched off for tests of something else."""

    def __init__(self, table: Mapping[str, Rate] = RATES) -> None:
        self.enforced = True
        self._table = dict(table)
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str, str], tuple[float, float]] = {}

    def allow(self, account: str, region: str, operation: str) -> bool:
        """Take one token; False means that the request is to be answered with ThrottlingException."""
        rate = self._table.get(operation)
        if rate is None or not self.enforced:
            return True
        now = time.monotonic()
        with self._lock:
            tokens, since = self._buckets.get((account, region, operation), (float(rate.burst), now))
            tokens = min(float(rate.burst), tokens + (now - since) * rate.per_second)
            allowed = tokens >= 1
            self._buckets[account, region, operation] = (tokens - 1 if allowed else tokens, now)
        return allowed

    def set(self, operation: str, per_second: float, burst: int) -> None:
        """Give an operation another rate, as a raised quota would."""
        if per_second <= 0 or burst < 1:
            raise ValueError("A rate needs a positive number of requests a second and a burst of at least 1.")
        with self._lock:
            self._table[operation] = Rate(per_second, burst, "set by the user")
            for key in [key for key in self._buckets if key[2] == operation]:
                del self._buckets[key]

    def table(self) -> Mapping[str, Rate]:
        """Return the rates that hold now."""
        with self._lock:
            return dict(self._table)
