"""The command line of a fresh machine whose sandbox is a real one, shared by the tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clary.sandbox import api
from clary.testing import Sandbox, sandbox
from command_line import CommandLine, clary

__all__ = ["clary", "machine", "shared_sandbox"]


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for these tests: none of them changes what another reads."""
    with sandbox(data=tmp_path_factory.mktemp("sandbox"), enforce_rates=False) as running:
        yield running


@pytest.fixture
def machine(clary: CommandLine, shared_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line, with that sandbox as the one of this machine and no AWS settings of the person."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api, "default_data", lambda: shared_sandbox.data)
    return clary


@pytest.fixture
def own_data(tmp_path: Path) -> Iterator[Path]:
    """A folder for a sandbox that the test starts itself; it is stopped at the end whatever happens."""
    folder = tmp_path / "own"
    yield folder
    if api.running(folder) is not None:
        api.stop(folder)
