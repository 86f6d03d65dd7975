"""A project of Kitaru's shape as a SageMaker job: the example, with a person's answer in between."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clary.agent import service

ISOLATED = """
from clary.zenml import pipeline, step

@step(runtime="isolated")
def fit(x: int) -> int:
    print("fitting", x)
    return x * x

@pipeline(dynamic=True)
def fits(count: int):
    return fit.map(fit.submit(count).load() * [1]).load()
"""

if TYPE_CHECKING:
    from e2e.conftest import Lab

FLOW = Path(__file__).parents[2] / "examples" / "kitaru_project" / "after" / "invoices.py"


def test_the_example_runs_waits_and_goes_on_as_jobs(lab: Lab) -> None:
    started = service.start(service.load_target(f"{FLOW}:invoices"), {"month": "May"}, lab.stack)
    waiting = service.wait(lab.stack, started.id, 60)
    assert (waiting.status, [wait.name for wait in waiting.waits]) == ("waiting", ["approve"]), waiting.failure
    service.answer(lab.stack, started.id, "approve", False)
    ended = service.wait(lab.stack, started.id, 60)
    assert ended.status == "completed", ended.failure
    assert service.result(lab.stack, started.id) == {"sum": 2650.0, "held": ["A-2"]}
    assert len(ended.attempts) == 2
    assert sum("fetching" in line for line in lab.logs(started.id)) == 1


def test_isolated_steps_are_jobs_of_their_own(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "fits.py").write_text(ISOLATED)
    started = service.start(service.load_target(f"{tmp_path / 'fits.py'}:fits"), {"count": 1}, lab.stack)
    ended = service.wait(lab.stack, started.id, 90)
    assert ended.status == "completed", ended.failure
    assert service.result(lab.stack, started.id) == [1]
