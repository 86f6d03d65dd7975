"""A platform whose jobs run in real containers, and one that never gets to run any."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from clary.sandbox.containers.image import Image, ensure_image
from clary.sandbox.containers.namespaces import Mode, NamespaceExecutor, find_mode
from clary.sandbox.containers.plan import STATE
from unit.sandbox_life.support import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return ensure_image(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def mode(image: Image) -> Mode:
    found, why = find_mode(image)
    if found is None:
        assert "CI" not in os.environ, why
        pytest.skip(f"no namespaces here: {why}")
    return found


class _One:
    def __init__(self, image: Image) -> None:
        self._image = image

    def resolve(self, reference: str) -> Image:
        return self._image


@pytest.fixture
def make_platform(tmp_path: Path, image: Image, mode: Mode) -> Iterator[Callable[..., Platform]]:
    """Make a platform over the test's folder; a second one stands for the sandbox after a restart."""
    with ExitStack() as stack:
        stack.callback(_end_containers, tmp_path)

        def make(speed: float = 100.0) -> Platform:
            platform = Platform(tmp_path, NamespaceExecutor(tmp_path, [_One(image)], mode), speed)
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
