"""A memory limit for one container, by control groups of version 1 or 2.

Sources: cgroups(7), the kernel's cgroup-v1/memory and cgroup-v2 documents. A group is made below this process's own
where that is allowed; version 2 refuses groups below one that holds processes, so then beside it, or further up.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOUNTS = Path("/proc/self/mountinfo")
_OWN = Path("/proc/self/cgroup")


def limit_memory(size: int) -> list[str] | None:
    """Make a group that may use ``size`` bytes; returns its folders, or None when this place does not allow it."""
    name = f"clary-{secrets.token_hex(6)}"
    for parent in _parents():
        group = parent / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            _set(group, size)
        except OSError:
            group.rmdir()
            continue
        return [str(group)]
    return None


def memory_can_be_limited() -> bool:
    """Tell whether ``limit_memory`` works here."""
    groups = limit_memory(64 * 1024 * 1024)
    release(groups or [])
    return groups is not None


def release(groups: Iterable[str]) -> None:
    """Remove groups that no process was put into, or whose processes have ended."""
    for group in groups:
        try:
            Path(group).rmdir()
        except OSError:
            continue


def _set(group: Path, size: int) -> None:
    if (group / "memory.limit_in_bytes").exists():
        (group / "memory.limit_in_bytes").write_text(str(size))
        swap = group / "memory.memsw.limit_in_bytes"
        if swap.exists():
            swap.write_text(str(size))
    else:
        (group / "memory.max").write_text(str(size))
        swap = group / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
        (group / "memory.oom.group").write_text("0")


def _parents() -> Iterator[Path]:
    """Yield folders in which a group with a memory limit can be made, the nearest to this process first."""
    own = {}
    for line in _OWN.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    for mounted, root, kind, options in _hierarchies():
        controller = "memory" if kind == "cgroup" else ""
        if (kind == "cgroup" and "memory" not in options.split(",")) or controller not in own:
            continue
        here = mounted / os.path.relpath(own[controller], root)
        while here.is_relative_to(mounted):
            subtree = here / "cgroup.subtree_control"
            if kind == "cgroup" or (subtree.exists() and "memory" in subtree.read_text().split()):
                yield here
            if here == mounted:
                break
            here = here.parent


def _hierarchies() -> Iterator[tuple[Path, str, str, str]]:
    """Yield (mount point, root within the hierarchy, type, super options) of every mounted hierarchy."""
    for line in _MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if rest[0].startswith("cgroup"):
            yield Path(fields[4]), fields[3], rest[0], rest[2]
