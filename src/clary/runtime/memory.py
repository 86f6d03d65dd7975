"""How much memory the container has, and whether it ran out: read from the control group, as far as it shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NEARLY_ALL = 0.9


def limit() -> int | None:
    """Return the container's memory in bytes: the control group's limit, else the machine's memory."""
    machine = _machine()
    for text in _read("memory.max", "memory.limit_in_bytes"):
        try:
            found = int(text)
        except ValueError:  # “max”
            continue
        return min(found, machine) if machine else found
    return machine


def kills() -> int | None:
    """Return how many processes of the control group were killed for want of memory; None where it does not show."""
    for text in _read("memory.events", "memory.oom_control"):
        rows = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
        if "oom_kill" in rows:
            return int(rows["oom_kill"])
    return None


def exhausted(peak: int, kills_before: int | None) -> bool:
    """Tell whether a process that was killed at that peak (bytes) was killed for want of memory.

    The control group's own count of kills decides where it can be read; else a peak of nearly all there is.
    """
    now = kills()
    if now is not None and kills_before is not None:
        return now > kills_before
    available = limit()
    return available is not None and peak >= _NEARLY_ALL * available


def _read(name_2: str, name_1: str) -> Iterator[str]:
    """Yield what the file says (its name in version 2, and in version 1): this process's own group's first.

    In a container the root that it sees is its own group as a rule; then the path of the group leads nowhere.
    """
    try:
        groups = [line.split(":", 2) for line in _OWN.read_text().splitlines()]
    except OSError:
        groups = []
    places = [_GROUPS / path.lstrip("/") / name_2 for _, controllers, path in groups if not controllers]
    places += [
        _GROUPS / "memory" / path.lstrip("/") / name_1
        for _, controllers, path in groups
        if "memory" in controllers.split(",")
    ]
    for place in (*places, _GROUPS / name_2, _GROUPS / "memory" / name_1):
        try:
            yield place.read_text()
        except OSError:
            continue


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
