"""Files: written whole or not at all, and how large they are. Standard library only: containers' launchers use it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def write_whole(path: Path, text: str, *, synced: bool = False) -> None:
    """Write a file of mode 0600, in place of one that was there; a reader sees the old text or the new one.

    That holds for a kill at any moment; with ``synced``, which takes milliseconds, for a loss of power too. Raises
    OSError.
    """
    arriving = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    handle = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        arriving.replace(path)
        if synced:
            _sync_folder(path.parent)
    except BaseException:
        arriving.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def size_text(size: int) -> str:
    """Return a number of bytes as people read it: ``512 B``, ``1.2 MiB``."""
    amount = float(size)
    for unit in _UNITS:
        if amount < 1023.95 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
