"""A platform whose jobs run in real containers, and one that never gets to run any."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from clary.sandbox.containers.namespaces import Mode, NamespaceExecutor
from clary.sandbox.containers.plan import STATE
from unit.sandbox_containers.conftest import OneImage
from unit.sandbox_life.support import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clary.sandbox.containers.image import Image


@pytest.fixture
def make_platform(tmp_path: Path, image: Image, mode: Mode) -> Iterator[Callable[..., Platform]]:
    """Make a platform over the test's folder; a second one stands for the sandbox after a restart."""
    with ExitStack() as stack:
        stack.callback(_end_containers, tmp_path)

        def make(speed: float = 100.0) -> Platform:
            platform = Platform(tmp_path, NamespaceExecutor(tmp_path, [OneImage(image)], mode), speed)
            stack.callback(platform.close)
            return platform

        yield make


def _end_containers(data: Path) -> None:
    for state in data.glob(f"jobs/*/*/*/scratch/{STATE}"):
        with suppress(OSError):
            os.kill(json.loads(state.read_text())["launcher"], signal.SIGKILL)


@pytest.fixture
def platform(make_platform: Callable[..., Platform]) -> Platform:
    return make_platform()
