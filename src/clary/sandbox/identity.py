"""Which process is meant: a pid together with the moment it started, so that a reused pid is never taken for it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def start_mark(pid: int) -> str | None:
    """Return a text that tells this process from every other that had or will have its pid; None when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None
