"""Files of ``zenml stack export``: read, with notes of what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.stacks import rules, service
from clary.stacks.draft import read_file, wish
from clary.stacks.flavors import find

EXPORT = """
components:
  artifact_store:
  - configuration: {path: "s3://team-artifacts/zenml"}
    flavor: s3
    name: s3
    type: artifact_store
  container_registry:
  - {configuration: {default_repository: zenml, uri: 123456789012.dkr.ecr.eu-central-1.amazonaws.com}, flavor: aws,
     name: ecr, type: container_registry}
  experiment_tracker:
  - {configuration: {}, flavor: mlflow, name: flow, type: experiment_tracker}
  image_builder:
  - {configuration: {use_subprocess_call: true}, flavor: local, name: lb, type: image_builder}
  orchestrator:
  - configuration: {aws_profile: null, execution_role: "arn:aws:iam::123456789012:role/R", region: eu-central-1}
    flavor: sagemaker
    name: sm
    type: orchestrator
  - {configuration: {}, flavor: local, name: second, type: orchestrator}
stack_name: prod
zenml_version: 0.98.0
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))


def test_an_export_becomes_a_stack_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    (tmp_path / "prod.yaml").write_text(EXPORT)
    made = service.create(wish(None, {}, read_file(tmp_path / "prod.yaml")).draft)
    stack = made.entry.stack
    assert (stack.name, stack.type, stack.region, stack.credentials) == ("prod", "sagemaker", "eu-central-1", None)
    assert stack.image_builder == {"flavor": "docker"}
    told = " ".join(made.warnings)
    for words in ("experiment tracker 'flow' is left out", "'second' is left out", "docker", "use_subprocess_call"):
        assert words in told


def test_an_export_without_a_path_keeps_its_runs_in_the_stacks_folder(tmp_path: Path) -> None:
    (tmp_path / "here.yaml").write_text("""
components:
  artifact_store: [{configuration: {}, flavor: local, name: default, type: artifact_store}]
  orchestrator: [{configuration: {}, flavor: local, name: default, type: orchestrator}]
  deployer: []
stack_name: here
zenml_version: 0.98.0
""")
    draft = wish(None, {}, read_file(tmp_path / "here.yaml")).draft
    parts = {part.kind: part for part in rules.build(draft, folder=tmp_path / "runs")}
    assert parts["artifact_store"].options == {"path": str(tmp_path / "runs")}


def test_zenmls_local_builder_is_docker() -> None:
    assert find("image_builder", "local").name == "docker"
