"""The command line of a fresh machine, and services told by the test, for every test here."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from command_line import clary
from run_views import services

__all__ = ["clary", "services", "zone"]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The person sits five hours and a half east of UTC."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "XXX-5:30")
        time.tzset()
        yield
    time.tzset()
