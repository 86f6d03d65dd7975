"""Submitting, starting and recording on the sandbox: ``python bench/jobs.py [--write]``."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import report, table

if TYPE_CHECKING:
    from collections.abc import Iterable

ROUNDS = 9
FLOWS = '''
import os, time
from pathlib import Path
from clary import checkpoint, flow

def age():
    """Seconds since the container's first process was started."""
    ticks = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
    return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")

@flow
def first_line():
    return {"at": time.time(), "age": age()}

@checkpoint
def small(number: int) -> int:
    return number + 1

@flow
def in_turn(count: int):
    started = time.perf_counter()
    for number in range(count):
        small(number)
    return (time.perf_counter() - started) / count

@flow(workers=16)
def at_once(count: int):
    started = time.perf_counter()
    small.map(range(count)).results()
    return (time.perf_counter() - started) / count
'''


def main() -> None:
    """Measure on a sandbox of its own."""
    from clary import testing
    from clary.agent import service
    from clary.stacks.model import Stack

    with tempfile.TemporaryDirectory() as folder, testing.sandbox(enforce_rates=False) as running:
        os.environ["CLARY_HOME"] = f"{folder}/home"
        project = Path(folder) / "project"
        project.mkdir()
        (project / "pyproject.toml").write_text('[project]\nname = "bench"\nversion = "0"\n')
        (project / "flows.py").write_text(FLOWS)
        credentials = Path(folder) / "credentials"
        credentials.write_text("[default]\naws_access_key_id = sandbox\naws_secret_access_key = sandbox\n")
        stack = Stack(
            name="bench",
            type="sagemaker",
            artifact_store=f"s3://{running.bucket}/bench",
            region="us-east-1",
            execution_role=running.role,
            image=running.image,
            endpoint_url=running.endpoint,
            credentials=f"aws-credentials-file:{credentials}",
        )

        def run(flow: str, **inputs: Any) -> tuple[float, Any, Any]:
            target = service.load_target(f"{project / 'flows.py'}:{flow}")
            began = time.perf_counter()
            view = service.start(target, inputs, stack)
            took = time.perf_counter() - began
            service.wait(stack, view.id, 120)
            job = running.client("sagemaker").describe_training_job(TrainingJobName=view.attempts[-1].job)
            return took, job["CreationTime"].timestamp(), service.result(stack, view.id)

        def entries(flow: str, count: int) -> tuple[float, float]:
            view = service.start(service.load_target(f"{project / 'flows.py'}:{flow}"), {"count": count}, stack)
            service.wait(stack, view.id, 120)
            listed = running.client("s3").list_objects_v2(Bucket=running.bucket, Prefix=f"bench/runs/{view.id}/log/")
            return (listed["KeyCount"] - 3) / count, service.result(stack, view.id)

        first = run("first_line")
        rounds = [run("first_line") for _ in range(ROUNDS)]
        alone, each_alone = entries("in_turn", 200)
        together, each_together = entries("at_once", 200)

    rows = [
        ["first submit, code and runtime uploaded", f"{first[0]:.2f} s", ""],
        [
            "submit of an unchanged project",
            f"{median(took for took, _, _ in rounds):.2f} s",
            "1 s",
        ],
        ["CreateTrainingJob to first user line", f"{median(end['at'] - made for _, made, end in rounds):.2f} s", "1 s"],
        ["container start to first user line", f"{median(end['age'] for _, _, end in rounds):.2f} s", "0.3 s"],
        ["S3 writes per small checkpoint, in turn", f"{alone:.2f}", "1"],
        ["S3 writes per small checkpoint, 16 at once", f"{together:.2f}", "fewer than 1"],
        ["time per small checkpoint in the job, in turn", f"{each_alone * 1000:.1f} ms", ""],
        ["time per small checkpoint in the job, 16 at once", f"{each_together * 1000:.1f} ms", ""],
    ]
    body = table(["what", "median", "bar"], rows)
    body += "\n\nThe requests of a submit (five, in three round trips) are counted by a test, tests/integration/agent."
    report("jobs", "python bench/jobs.py --write", body)


def median(figures: Iterable[float]) -> float:
    """Return the median of the figures."""
    return statistics.median(figures)


if __name__ == "__main__":
    main()
