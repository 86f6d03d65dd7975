"""Files that are there whole or not at all. Standard library only: the launcher of containers uses it too."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file of mode 0600, in place of one that was there; a reader sees the old text or the new one.

    That holds for a kill at any moment, not for a loss of power. Raises OSError.
    """
    arriving = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    handle = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        arriving.replace(path)
    except BaseException:
        arriving.unlink(missing_ok=True)
        raise
