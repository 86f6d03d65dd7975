"""Run the command line in this process and see what it printed; shared by the tests of the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clary import config
from clary.cli import main


@dataclass(frozen=True)
class Answer:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout, which must be nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a document on stderr, which must be nothing else."""
        document = json.loads(self.err)
        assert set(document) == {"command", "error"}
        assert self.out == ""
        return dict(document["error"])


class CommandLine:
    """``clary`` with a home and a project folder of its own."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str) -> Answer:
        self._capture.readouterr()
        code = main.run(arguments)
        captured = self._capture.readouterr()
        return Answer(code, captured.out, captured.err)


@pytest.fixture
def clary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line of a fresh machine."""
    for name in ("CLARY_STACK", "CLARY_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return CommandLine(capsys)
