"""Which process is meant: a pid together with the moment it started, so that a reused pid is never taken for it.

Standard library only: the launcher of containers uses it too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def start_mark(pid: int) -> str | None:
    """Return a text that tells this process from every other that had or will have its pid; None when there is none.

    A process that has ended and is not yet collected is none. Source: proc(5), fields 3 and 22 of ``/proc/<pid>/stat``;
    the command's name (field 2) may hold spaces and brackets.
    """
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def lives(pid: int, mark: str | None) -> bool:
    """Tell whether the process that had this mark is still there."""
    return mark is not None and start_mark(pid) == mark
