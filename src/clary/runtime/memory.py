"""How much memory the container has, and whether it ran out: read from the control group, as far as it shows."""

from __future__ import annotations

import os
from pathlib import Path

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_NEARLY_ALL = 0.9


def limit() -> int | None:
    """Return the container's memory in bytes: the control group's limit, else the machine's memory."""
    machine = _machine()
    for name in _LIMITS:
        try:
            found = int(Path(name).read_text())
        except (OSError, ValueError):  # not there, or “max”
            continue
        return min(found, machine) if machine else found
    return machine


def exhausted(peak: int) -> bool:
    """Tell whether a process that was killed at that peak (bytes) was killed for want of memory.

    The control group's own count of kills decides where it can be read; else a peak of nearly all there is.
    """
    for name in _EVENTS:
        try:
            rows = dict(line.split() for line in Path(name).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if "oom_kill" in rows:
            return int(rows["oom_kill"]) > 0
    available = limit()
    return available is not None and peak >= _NEARLY_ALL * available


def readable(size: int) -> str:
    """Return a size for a person, in binary units."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _machine() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
