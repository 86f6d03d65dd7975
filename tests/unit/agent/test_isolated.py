"""What a submit makes of isolated checkpoints: found, checked with paths, frozen for all runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clary.agent import isolated
from clary.agent.images import Images
from clary.agent.place import Place
from clary.agent.targets import FlowTarget, load_target
from clary.errors import ClaryError, UsageError, ValidationError
from clary.sagemaker.requests import JobCode
from clary.stacks.model import Stack

ROLE = "arn:aws:iam::123456789012:role/jobs"
CODE = JobCode(
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/image:tag",
    output_s3_uri="s3://bucket/clary/runs/RUN/output",
    entrypoint=("python3", "start.py"),
    channels=(("runtime", "s3://bucket/clary/runtime/x/"), ("code", "s3://bucket/clary/code/x.tar.gz")),
    environment={"CLARY_RUN": "s3://bucket/clary/runs/RUN", "CLARY_ATTEMPT": "1"},
)
LAYERS = (
    (
        "the stack s",
        {"execution_role": ROLE, "instance_type": "ml.m5.large", "tags": {"team": "a"}, "instance_count": 3},
    ),
    ("the flow f", {"checkpoint_s3_uri": "s3://bucket/folder", "max_runtime_in_seconds": 600}),
)


@pytest.fixture
def place() -> Place:
    return Place(
        Stack(
            name="s",
            type="sagemaker",
            artifact_store="s3://bucket/clary",
            region="us-east-1",
            execution_role=ROLE,
            endpoint_url="http://127.0.0.1:1",
        )
    )


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    path, modules = sys.path[:], set(sys.modules)
    (tmp_path / "pyproject.toml").write_text("[tool.clary]\n")
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def target(project: Path, checkpoints: str, **others: str) -> FlowTarget:
    head = "from clary import checkpoint, flow\n"
    for name, text in others.items():
        (project / f"{name}.py").write_text(head + text)
    (project / "planned_flow.py").write_text(f"{head}{checkpoints}\n\n@flow\ndef f() -> None: ...\n")
    return load_target(f"{project / 'planned_flow.py'}:f")


def planned(place: Place, given: FlowTarget) -> isolated.Isolated:
    images = Images(place, given.project.root if given.project else Path.cwd(), CODE.image, None)
    return isolated.planned(place, given, LAYERS, CODE, 600, images)


def test_a_flow_without_isolated_checkpoints_has_nothing_of_them(place: Place, project: Path) -> None:
    assert planned(place, target(project, "@checkpoint\ndef one() -> None: ...")).spec == {}


def test_the_request_is_the_flows_with_the_checkpoints_own_on_top(place: Place, project: Path) -> None:
    text = """
@checkpoint(runtime="isolated", image="123456789012.dkr.ecr.us-east-1.amazonaws.com/other:1", limit=2,
            resources={"instance_type": "ml.g5.xlarge", "tags": {"what": "fit"}, "environment": {"A": "b"}})
def fit() -> None: ...

@checkpoint(runtime="isolated", resources={"instance_count": 2, "max_runtime_in_seconds": 900}, distribution={"mpi": 4})
def both() -> None: ...
"""
    found = planned(place, target(project, text))
    assert found.spec["sagemaker"] == {"endpoint": "http://127.0.0.1:1", "region": "us-east-1"}
    fit, both = found.spec["checkpoints"]["fit"], found.spec["checkpoints"]["both"]
    request = fit["request"]
    assert request["ResourceConfig"] | {"VolumeSizeInGB": 0} == {
        "InstanceType": "ml.g5.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 0,
    }
    assert request["AlgorithmSpecification"]["TrainingImage"].endswith("/other:1")
    assert {one["Key"]: one["Value"] for one in request["Tags"]} == {"team": "a", "what": "fit"}
    assert request["Environment"] == {"A": "b"}
    assert request["OutputDataConfig"] == {}
    assert {"TrainingJobName", "CheckpointConfig"}.isdisjoint(request)
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 600
    assert (both["distribution"], both["processes"]) == ("mpi", 4)
    assert both["request"]["ResourceConfig"]["InstanceCount"] == 2
    assert any("may run for 900 s" in note for note in found.warnings)
    assert "RUN" not in repr(found.spec)  # the spec is shared by every run of it


def test_every_problem_is_told_with_its_path_and_who_set_it(place: Place, project: Path) -> None:
    wrong = '{"instnce_type": "x", "volume_size_in_gb": 0}'
    text = f'@checkpoint(runtime="isolated", resources={wrong})\ndef fit() -> None: ...'
    with pytest.raises(ValidationError) as caught:
        planned(place, target(project, text))
    paths = [finding["path"] for finding in caught.value.details["findings"]]
    assert set(paths) == {"checkpoints.fit.resources.instnce_type", "checkpoints.fit.resources.volume_size_in_gb"}
    assert "instance_type" in str(caught.value)
    assert "the checkpoint fit" in str(caught.value)


def test_checkpoints_of_the_projects_other_modules_are_found(place: Place, project: Path) -> None:
    steps = '@checkpoint(runtime="isolated")\ndef deep() -> None: ...\n'
    given = target(
        project,
        "import planned_middle\nfrom planned_near import near",
        planned_middle="from planned_deep import deep\n",
        planned_deep=steps,
        planned_near=steps.replace("deep", "near"),
    )
    assert sorted(planned(place, given).spec["checkpoints"]) == ["deep", "near"]


def test_two_of_one_name_are_refused(place: Place, project: Path) -> None:
    one = '@checkpoint(runtime="isolated", name="same")\ndef first() -> None: ...\n'
    with pytest.raises(UsageError, match=r"first and .*second") as caught:
        planned(place, target(project, one + one.replace("first", "second")))
    assert caught.value.code == "checkpoint.name_taken"


def test_a_checkpoint_without_network_is_refused(place: Place, project: Path) -> None:
    text = '@checkpoint(runtime="isolated", resources={"enable_network_isolation": True})\ndef fit() -> None: ...'
    with pytest.raises(ClaryError, match="network"):
        planned(place, target(project, text))
