"""Settings of a job, from what a person writes to what the job finds: on the sandbox, by the command line."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.agent import service
from clary.stacks import service as stacks
from command_line import CommandLine

if TYPE_CHECKING:
    from e2e.conftest import Lab

PROJECT = """
import os
from pathlib import Path

from clary import flow


@flow(instance_type=["ml.c5.xlarge", "ml.m5.xlarge"], tags={"team": "vision"}, volume_size_in_gb=7)
def fallbacks():
    return "done"


@flow(
    input_data={
        "plain": "s3://BUCKET/given/plain/",
        "mounted": {"uri": "s3://BUCKET/given/mounted/", "mode": "FastFile"},
    },
    environment={"DEPTH": 3},
    output_data="s3://BUCKET/models",
    checkpoint_s3_uri="s3://BUCKET/kept",
)
def reads():
    Path("/opt/ml/model/weights").write_text("heavy")
    found = {}
    for channel in ("plain", "mounted"):
        for file in sorted(Path("/opt/ml/input/data", channel).rglob("*.txt")):
            found[f"{channel}/{file.name}"] = file.read_text()
    return {"found": found, "depth": os.environ["DEPTH"], "kept": Path("/opt/ml/checkpoints").is_dir()}


@flow(use_spot=True, keep_alive_period_in_seconds=300, max_wait_in_seconds=60, tags={"aws:x": "1"}, subnets=["sg-1"])
def contradicts(): ...


@flow(estimator_args={"use_spot_instances": True, "train_instance_count": 1, "max_wait": 7200})
def brought():
    return "done"


@flow(estimator_args={"use_spot_instances": True, "hyperparameters": {}}, use_training_step=False)
def brought_in_vain(): ...
"""


@pytest.fixture
def project(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """The command line in a project whose flows have settings, on a stack with a few defaults."""
    for name in ("CLARY_STACK", "CLARY_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "work.py").write_text(PROJECT.replace("BUCKET", lab.sandbox.bucket), encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    settings = {"instance_type": "ml.m5.large", "tags": {"team": "all", "cost": "7"}, "max_runtime_in_seconds": 600}
    stacks.refresh(replace(lab.stack, name="set", settings=settings))
    monkeypatch.setenv("CLARY_STACK", "set")
    return CommandLine(capsys)


def run(project: CommandLine, flow: str) -> dict[str, Any]:
    answer = project("run", f"work.py:{flow}", "-o", "json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = answer.json["item"]
    return found


def kept(lab: Lab) -> set[str]:
    """Return the keys of everything in the lab's bucket."""
    pages = lab.sandbox.client("s3").get_paginator("list_objects_v2").paginate(Bucket=lab.sandbox.bucket)
    return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


def described(lab: Lab, item: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = lab.sandbox.client("sagemaker").describe_training_job(
        TrainingJobName=item["attempts"][-1]["job"]
    )
    return found


def test_the_run_shows_which_of_several_types_was_taken(lab: Lab, project: CommandLine) -> None:
    lab.sandbox.faults.refuse_capacity(instance_type="ml.c5.xlarge")
    item = run(project, "fallbacks")
    job = described(lab, item)
    tags = lab.sandbox.client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]

    assert item["status"] == "completed"
    assert job["ResourceConfig"]["SelectedInstanceType"] == "ml.m5.xlarge"
    assert job["ResourceConfig"]["VolumeSizeInGB"] == 7
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 600}
    # Only what was set overrides, key by key.
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "vision", "cost": "7"}
    shown = project("runs", "show", item["id"])
    assert "on ml.m5.xlarge" in shown.out


def test_data_and_variables_arrive_and_output_goes_where_it_was_sent(lab: Lab, project: CommandLine) -> None:
    s3 = lab.sandbox.client("s3")
    for name in ("plain", "mounted"):
        s3.put_object(Bucket=lab.sandbox.bucket, Key=f"given/{name}/deep/{name}.txt", Body=name.encode())
    item = run(project, "reads")
    assert service.result(lab.stack, item["id"]) == {
        "found": {"plain/plain.txt": "plain", "mounted/mounted.txt": "mounted"},
        "depth": "3",
        "kept": True,
    }
    assert s3.head_object(Bucket=lab.sandbox.bucket, Key=f"models/{item['attempts'][0]['job']}/output/model.tar.gz")
    assert described(lab, item)["ProfilerConfig"] == {"DisableProfiler": True}


def test_what_people_bring_from_other_tools_is_understood(lab: Lab, project: CommandLine) -> None:
    job = described(lab, run(project, "brought"))
    assert job["EnableManagedSpotTraining"] is True
    assert job["StoppingCondition"]["MaxWaitTimeInSeconds"] == 7200
    assert "KeepAlivePeriodInSeconds" not in job["ResourceConfig"]


@pytest.mark.parametrize(
    ("flow", "paths"),
    [
        (
            "contradicts",
            {
                "settings.keep_alive_period_in_seconds",
                "settings.max_wait_in_seconds",
                "settings.tags.aws:x",
                "settings.subnets[0]",
                "settings.security_group_ids",
            },
        ),
        ("brought_in_vain", {"settings.estimator_args.hyperparameters", "settings.use_training_step"}),
    ],
)
def test_every_problem_is_said_at_once_before_anything_is_sent(
    lab: Lab, project: CommandLine, flow: str, paths: set[str]
) -> None:
    before = kept(lab)
    answer = project("run", f"work.py:{flow}", "-o", "json")
    assert answer.code == 1
    assert answer.error["code"] == "settings.invalid"
    assert {finding["path"] for finding in answer.error["details"]["findings"]} == paths
    assert kept(lab) == before


def test_a_default_time_limit_is_said_aloud(lab: Lab, project: CommandLine) -> None:
    words = "Time limit 1 hour (max_runtime_in_seconds sets it)."
    assert words not in (said := project("run", "work.py:brought")).out + said.err
    stacks.refresh(replace(lab.stack, name="set"))
    assert words in (said := project("run", "work.py:brought")).out + said.err
