"""A stack that runs in this process: its folder, its disk, the journal's mode."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from clary.doctor.findings import Check, Finding, failed, ok, warning
from clary.files import size_text
from clary.journal.sqlite import journal_mode

if TYPE_CHECKING:
    from clary.doctor.subject import Subject

LITTLE = 1 << 30
"""Bytes of free disk that are worth a word."""
TOO_LITTLE = 64 << 20
"""Bytes of free disk with which a run is likely to break off."""


def _folder(subject: Subject) -> Finding:
    wanted = Path(subject.stack.artifact_store)
    there = _nearest(wanted)
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".clary-doctor-"):
            pass
    except OSError as error:
        return failed(
            f"{there} cannot be written: {error.strerror}.",
            f"Give yourself the right (`chmod u+rwx {there}`), or set CLARY_HOME to another folder.",
        )
    return ok(f"{wanted}" if there == wanted else f"{wanted} will be made by the first run")


def _disk(subject: Subject) -> Finding:
    there = _nearest(Path(subject.stack.artifact_store))
    free = shutil.disk_usage(there).free
    told = f"{size_text(free)} free at {there}"
    fix = "Make room, or set CLARY_HOME to a folder on a larger disk."
    if free < TOO_LITTLE:
        return failed(f"Only {told}.", fix)
    return warning(f"Only {told}.", fix) if free < LITTLE else ok(told)


def _journal(subject: Subject) -> Finding:
    """WAL needs memory that processes share, which network file systems lack."""
    mode = journal_mode(_nearest(Path(subject.stack.artifact_store)))
    if mode == "wal":
        return ok("write-ahead log (wal)")
    return warning(
        f"On a network file system: SQLite's mode {mode}, which is slower.",
        "Set CLARY_HOME to a folder on a disk of this machine.",
    )


def _nearest(folder: Path) -> Path:
    """Return the folder, or the first one above it that is there."""
    folder = folder.expanduser().absolute()
    return next(each for each in (folder, *folder.parents) if os.path.isdir(each))  # noqa: PTH112 no error for no rights


CHECKS = (
    Check("folder", "Folder", _folder),
    Check("disk", "Disk", _disk),
    Check("journal", "Journal", _journal),
)
