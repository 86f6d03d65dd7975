"""Telling one process from a later one with the same number. Standard library only: the launcher uses it."""

from __future__ import annotations

from pathlib import Path


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; raises OSError when there is none.

    Source: proc(5), field 22 of ``/proc/<pid>/stat``; the command's name (field 2) may hold spaces and brackets.
    """
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def is_same(pid: int, started: int) -> bool:
    """Tell whether the process that started then is still there (a zombie is not)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] not in "ZX"
