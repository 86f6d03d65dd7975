"""Replays in Kitaru's shape whose executions are jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary import kitaru
from clary.agent import service
from clary.kitaru.flows import FlowDefinition

if TYPE_CHECKING:
    from clary.stacks.model import Stack

FLOWS = """
from clary.kitaru import checkpoint, flow


@checkpoint
def pick(x: int) -> int:
    return x


@checkpoint
def publish(x: int) -> int:
    if x < 0:
        raise ValueError("negative")
    return x


@flow
def content(x: int) -> int:
    return publish(pick(x))
"""


def test_a_replay_that_fails_in_its_job_is_told(stack: Stack, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "content.py").write_text(FLOWS)
    target = service.load_target("content.py:content")
    assert isinstance(target.flow, FlowDefinition)
    source = service.wait(stack, service.start(target, {"x": 1}, stack).id, 60).id
    monkeypatch.setattr(service, "find_run", lambda _run: (stack, source))
    mocks = {"pick": {"output": -1}}
    with pytest.raises(kitaru.KitaruUserCodeError, match="negative"):
        target.flow.replay(source, at="publish", checkpoint_overrides=mocks)
    collected = target.flow.replay(source, at="publish", checkpoint_overrides=mocks, on_error="collect")
    assert (collected.summary.submitted, collected.summary.failed) == (0, 1)
    assert "negative" in collected.failures[0].reason
