"""How much memory a machine of an instance type has, for the container's limit."""

from __future__ import annotations

import re

_GIB = 1024**3
# EC2's families by GiB of memory for each virtual CPU, and sizes by virtual CPUs (EC2 instance type pages).
_PER_CPU = {"c": 2, "m": 4, "r": 8, "t": 4}
_CPUS = {"medium": 1, "large": 2, "xlarge": 4}
_TYPE = re.compile(r"ml\.(?P<family>[a-z])\d[a-z-]*\.(?P<times>\d+)?(?P<size>medium|large|xlarge)")


def memory_of(instance_type: str) -> int | None:
    """Return the memory in bytes of a general, burstable, compute or memory-optimised type; None for other types."""
    found = _TYPE.fullmatch(instance_type)
    if found is None or found["family"] not in _PER_CPU:
        return None
    cpus = _CPUS[found["size"]] * int(found["times"] or 1)
    return cpus * _PER_CPU[found["family"]] * _GIB
