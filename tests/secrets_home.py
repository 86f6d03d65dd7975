"""A home and a folder of settings of their own for tests with secrets."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def secrets_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The CLARY_HOME of a fresh machine without a keyring; the key's folder is beside it."""
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("CLARY_SECRETS_KEY", "CLARY_SECRETS_PASSPHRASE", "CLARY_STACK", "CLARY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("clary.secrets.keys._keyring", lambda: None)
    return tmp_path / "home"
