"""Executors: ways of running containers on this machine, and the choice of one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clary.sandbox.containers.docker import Archives
    from clary.sandbox.containers.image import ImageSource
    from clary.sandbox.model import Executor


@dataclass(frozen=True)
class Choice:
    """The executor of this machine, and why better ones were passed over."""

    executor: Executor
    refused: Sequence[str] = ()


def choose_executor(
    data: Path,
    account: str,
    region: str,
    *,
    requirements: Sequence[str] = (),
    sources: Sequence[ImageSource] = (),
    archives: Archives | None = None,
) -> Choice:
    """Return the best executor that really works here: namespaces, then Docker, then plain processes.

    ``data`` is the sandbox's folder; ``account`` and ``region`` name its own image, which gets ``requirements``
    (requirement lines for uv). ``sources`` are asked for other images; ``archives`` gives them to a Docker engine. Each
    way is tried, not guessed, which takes some tens of milliseconds. Raises SandboxError when the image cannot be made.
    """
    from clary.sandbox.containers.docker import DockerExecutor, find_engine
    from clary.sandbox.containers.image import SandboxImages, ensure_image
    from clary.sandbox.containers.namespaces import NamespaceExecutor, find_mode
    from clary.sandbox.containers.process import ProcessExecutor

    refused = []
    mode, why = find_mode(ensure_image(data, requirements)) if sys.platform == "linux" else (None, "this is not Linux")
    if mode is not None:
        own = SandboxImages(data, account, requirements)
        return Choice(NamespaceExecutor(data, [own, *sources], mode))
    refused.append(f"namespaces: {why}")
    engine, why = find_engine()
    if engine is not None:
        return Choice(DockerExecutor(engine, archives), refused)
    refused.append(f"docker: {why}")
    return Choice(ProcessExecutor(account, region), refused)
