"""Planned faults: what the sandbox is told to do wrong, how often, and to whom.

A fault is taken at most ``count`` times, by the first requests or jobs that match. Faults are kept in memory only: a
restart forgets them.
"""

from __future__ import annotations

import fnmatch
import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "throttle": "refuse a request with the service's throttling error",
    "server_error": "answer a request with a server error; `status` 500 or 503",
    "lost_reply": "do the request, then drop the connection without an answer",
    "conflict": "answer a conditional S3 write with 409 ConditionalRequestConflict; nothing is stored",
    "expire_credentials": "answer a request with the service's expired-token error; the registry's with 403, as ECR "
    "does, or `status` 401",
    "short_credentials": "let the keys that a job's container is given live `seconds` only",
    "quota": "refuse a create with ResourceLimitExceeded",
    "capacity": "let a job fail with CapacityError, as when there are no machines of `instance_type`; "
    "a job that lists further types takes the next",
    "insufficient_capacity": "let a job wait `seconds` for machines first",
    "spot_interruption": "interrupt a spot job `seconds` after its container started",
    "internal_error": "let a job fail with InternalServerError once",
    "duplicate_events": "deliver a job's state change event twice",
    "delay_events": "deliver a job's state change event `seconds` later",
    "short_token": "let the registry's tokens of a GetAuthorizationToken live `seconds` only",
    "mount": "answer a blob mount with `status` 202 (as if it were switched off), 401, 403 or 404; "
    "201 mounts also what no manifest names, as other registries do",
    "refuse_oci": "refuse a manifest of OCI's types",
    "broken_upload": "break the connection in the middle of a layer's upload, after `bytes`",
    "broken_download": "break the connection in the middle of a layer's download, after `bytes`",
    "relative_location": "answer an upload with an address that is a path alone",
}
"""Every kind of fault with its meaning; ``clary sandbox faults`` shows this table."""


_STATUSES: Mapping[str, tuple[int, ...]] = {"mount": (201, 202, 401, 403, 404), "expire_credentials": (401, 403)}
"""The HTTP statuses that a kind of fault can be given."""


@dataclass
class Fault:
    """One planned fault.

    ``operation`` and ``match`` are shell patterns for the API operation and for the object key, job name or repository.
    ``options`` are the kind's own (``status``, ``seconds``, ``bytes``, ``instance_type``, which is a shell pattern
    too).
    """

    id: int
    kind: str
    operation: str = "*"
    match: str = "*"
    left: int = 1
    taken: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def meets(self, kind: str, operation: str, name: str, instance_type: str) -> bool:
        """Return whether this fault is of that kind and meant for that operation, name and instance type."""
        return (
            self.kind == kind
            and self.left > 0
            and fnmatch.fnmatchcase(operation, self.operation)
            and fnmatch.fnmatchcase(name, self.match)
            and fnmatch.fnmatchcase(instance_type, self.options.get("instance_type", "*"))
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fault as plain data."""
        return {
            "id": self.id,
            "kind": self.kind,
            "operation": self.operation,
            "match": self.match,
            "left": self.left,
            "taken": self.taken,
            **self.options,
        }


class Faults:
    """The faults that are planned now. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, kind: str, *, operation: str = "*", match: str = "*", times: int = 1, **options: Any) -> Fault:
        """Plan a fault; raises ValueError for an unknown kind or option, or an impossible value."""
        if kind not in KINDS:
            raise ValueError(f"There is no fault {kind!r}; known are {', '.join(sorted(KINDS))}.")
        if times < 1:
            raise ValueError(f"A fault happens at least once, not {times} times.")
        _check_options(kind, options)
        with self._lock:
            fault = Fault(next(self._ids), kind, operation, match, times, options=options)
            self._faults.append(fault)
            return fault

    def take(
        self, kind: str, *, operation: str = "", name: str = "", instance_type: str = ""
    ) -> Mapping[str, Any] | None:
        """Use up one matching fault and return its options, or None when none is planned."""
        if not self._faults:
            return None
        with self._lock:
            for fault in self._faults:
                if fault.meets(kind, operation, name, instance_type):
                    fault.left -= 1
                    fault.taken += 1
                    return dict(fault.options)
        return None

    def planned(self) -> list[dict[str, Any]]:
        """Return every fault, also the used-up ones."""
        with self._lock:
            return [fault.to_dict() for fault in self._faults]

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._faults.clear()


def _check_options(kind: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name not in ("status", "seconds", "bytes", "instance_type"):
            raise ValueError(f"A fault has no option {name!r}; known are seconds, status, bytes and instance_type.")
        if name == "instance_type":
            if not isinstance(value, str):
                raise ValueError(f"A fault's instance_type is text such as 'ml.g5.*', not {value!r}.")
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ValueError(f"A fault's {name} is a number that is not negative, not {value!r}.")
    allowed = _STATUSES.get(kind, (500, 503))
    if options.get("status", allowed[0]) not in allowed:
        raise ValueError(f"The status of {kind!r} is one of {', '.join(map(str, allowed))}, not {options['status']}.")
