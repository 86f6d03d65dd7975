"""The order of commands that people bring from ZenML, against a sandbox: registered parts become a stack that runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clary.testing import Sandbox
    from command_line import CommandLine

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
FLOW = """\
import os

from clary import flow

@flow
def told() -> str:
    return os.environ["GREETING"]
"""


@pytest.fixture
def parts(machine: CommandLine, shared_sandbox: Sandbox) -> CommandLine:
    """The machine with a secret, and every component of a stack on the sandbox."""
    keys = ("--aws_access_key_id=sandbox", "--aws_secret_access_key=sandbox")
    place = (f"--region={shared_sandbox.region}", f"--endpoint_url={shared_sandbox.endpoint}")
    runner = ("--flavor=sagemaker", f"--execution_role={shared_sandbox.role}", f"--image={shared_sandbox.image}")
    store = ("--flavor=s3", f"--path=s3://{shared_sandbox.bucket}/parts", "--authentication_secret=keys")
    for words in (
        ("secrets", "create", "keys", *keys),
        ("container-registry", "register", "images", "--flavor=aws", f"--uri={REGISTRY}"),
        ("artifact-store", "register", "runs", *store),
        ("orchestrator", "register", "jobs", *runner, *place, "--env", "GREETING=hello"),
    ):
        answer = machine(*words)
        assert answer.code == 0, answer.err
    return machine


def test_registered_components_become_a_stack_that_runs_flows(parts: CommandLine) -> None:
    answer = parts("stack", "register", "team", "-o", "jobs", "-a", "runs", "-c", "images", "--set")
    assert answer.code == 0, answer.err
    Path("told.py").write_text(FLOW, encoding="utf-8")
    done = parts("run", "told.py:told", "-o", "json")
    assert done.code == 0, done.err
    assert done.json["item"]["status"] == "completed"  # and so the job had its variable


def test_a_change_of_a_component_is_looked_at_with_the_stack(parts: CommandLine) -> None:
    assert parts("artifact-store", "update", "runs", "--path=s3://not-there-at-all").code == 0
    answer = parts("stack", "register", "team", "-o", "jobs", "-a", "runs", "--output", "json")
    assert answer.error["code"] == "stack.bucket_not_found"
