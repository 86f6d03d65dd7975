"""Docker's engine for the tests that build with it, or pull what was built."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docker_engine import Engine, engine_running, missing


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if lacking := missing():
        pytest.skip(f"needs {', '.join(lacking)}")
    with engine_running(tmp_path_factory.mktemp("engine")) as running:
        yield running
