"""The uv that installs packages while an image is built: that of this environment, or one for the image's platform.

It travels in the context and stays out of the image. So the lock is installed by the version that wrote it, and a build
needs no network beyond the package index.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from clary.errors import ConfigError

if TYPE_CHECKING:
    from clary.images.building import Python


def uv_for(python: Python, work: Path) -> Path:
    """Return a uv that runs beside ``python``; one for another platform is fetched into the folder ``work``.

    Raises ConfigError ``image.uv_unavailable``.
    """
    from uv import find_uv_bin

    return Path(find_uv_bin()) if _fits(python) else _fetched(find_uv_bin(), python, work)


def _fits(python: Python) -> bool:
    libc = "manylinux" if python.libc == "glibc" else "musllinux"
    tags = importlib.metadata.distribution("uv").read_text("WHEEL") or ""
    return re.search(rf"^Tag: py3-none-{libc}\w*_{python.platform.machine}$", tags, re.MULTILINE) is not None


def _fetched(uv: str, python: Python, work: Path) -> Path:
    version = importlib.metadata.version("uv")
    glibc = python.libc == "glibc"
    platform = f"{python.platform.machine}-{'manylinux_2_28' if glibc else 'unknown-linux-musl'}"
    command = [
        *(uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(work)),
        *("--python-platform", platform, "--python-version", python.version, f"uv=={version}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return work / "bin" / "uv"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    raise ConfigError(
        "image.uv_unavailable",
        f"uv {version} for {platform} could not be fetched: {lines[-1].strip() if lines else 'uv said nothing'}",
        next_step="Check the network and the package index that uv uses, or use the builder layers.",
        details={"platform": platform, "output": done.stderr[-2000:]},
    )
