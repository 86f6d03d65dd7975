"""``clary bootstrap`` against a real sandbox: made, used by a flow that runs, made again, taken away."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.stacks import service as stacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.testing import Sandbox
    from command_line import Answer, CommandLine

FLOW = """\
from clary import checkpoint, flow


@checkpoint
def double(number: int) -> int:
    return 2 * number


@flow
def doubled(number: int = 4) -> int:
    return double(number)
"""


@pytest.fixture
def bootstrap(machine: CommandLine, shared_sandbox: Sandbox, tmp_path: Path) -> Bootstrap:
    """The command, pointed at the sandbox with keys of its own."""
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = sandbox\naws_secret_access_key = sandbox\n")
    return Bootstrap(machine, shared_sandbox, f"aws-credentials-file:{keys}")


class Bootstrap:
    """``clary bootstrap --region us-east-1`` with the sandbox's endpoint."""

    def __init__(self, clary: CommandLine, sandbox: Sandbox, credentials: str) -> None:
        self.place = ("--endpoint-url", sandbox.endpoint, "--credentials", credentials)
        self._clary = clary

    def __call__(self, *arguments: str) -> Answer:
        return self._clary("bootstrap", "--region", "us-east-1", *self.place, *arguments)


@pytest.fixture
def imported() -> Iterator[None]:
    """Forget the modules of a test's project afterwards."""
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name == "doubling":
            del sys.modules[name]


def test_what_is_made_carries_a_flow_and_is_taken_away_when_it_is_empty(
    bootstrap: Bootstrap, machine: CommandLine, shared_sandbox: Sandbox, imported: None
) -> None:
    made = bootstrap("--name", "one", "--apply", "-o", "json")
    assert made.code == 0, made.err
    item = made.json["item"]
    assert item["change"] == "created"
    assert "clary " + " ".join(item["arguments"]) == item["command"]
    again = bootstrap("--name", "one", "--apply", "-o", "json").json["item"]
    assert {**again, "notes": []} == {**item, "change": "unchanged", "notes": []}

    created = machine(*item["arguments"], "--image", shared_sandbox.image)
    assert created.code == 0, created.err
    assert stacks.resolve().scheduler_role == item["roles"]["scheduler"]
    Path("doubling.py").write_text(FLOW)
    assert machine("run", "doubling.py:doubled").code == 0
    shown = machine("runs", "show", "latest", "-o", "json").json["item"]
    assert shown["status"] == "completed"

    full = bootstrap("--name", "one", "--destroy", "--yes", "-o", "json")
    assert full.error["code"] == "bootstrap.not_empty"
    assert "clary/code/" in full.error["message"]
    bucket = item["artifact_store"].removeprefix("s3://").partition("/")[0]
    _empty(shared_sandbox, bucket)
    asked = bootstrap("--name", "one", "--destroy", "-o", "json")
    assert asked.error["code"] == "bootstrap.not_agreed"
    gone = bootstrap("--name", "one", "--destroy", "--yes", "-o", "json")
    assert gone.code == 0, gone.err
    assert f"bucket {bucket}" in gone.json["item"]["deleted"]
    assert bucket not in _buckets(shared_sandbox)
    assert bootstrap("--name", "one", "--destroy", "--yes", "-o", "json").error["code"] == "bootstrap.not_found"


def test_the_roles_have_the_least_policies(bootstrap: Bootstrap, shared_sandbox: Sandbox) -> None:
    item = bootstrap("--name", "two", "--apply", "-o", "json").json["item"]
    iam = shared_sandbox.client("iam")
    for kind, arn in item["roles"].items():
        name = arn.rpartition("/")[2]
        (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
        text = json.dumps(iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"])
        assert "${AWS" not in text, kind
        assert ("user/${aws:username}" in text) == (kind == "agent")
        assert "clary-two-123456789012-us-east-1" in text or kind == "scheduler"


def test_a_policy_that_changes_is_brought_up_to_date(
    bootstrap: Bootstrap, shared_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clary.sagemaker import permissions, statements

    item = bootstrap("--name", "three", "--apply", "-o", "json").json["item"]
    monkeypatch.setattr(permissions, "_scheduler", lambda scope: [statements.pass_execution_role(scope)])
    assert bootstrap("--name", "three", "--apply", "-o", "json").json["item"]["change"] == "updated"
    role = item["roles"]["scheduler"].rpartition("/")[2]
    iam = shared_sandbox.client("iam")
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    assert [statement["Sid"] for statement in document["Statement"]] == ["PassExecutionRole"]


def test_log_groups_that_are_there_keep_their_retention(bootstrap: Bootstrap, shared_sandbox: Sandbox) -> None:
    region = "eu-west-1"
    logs = shared_sandbox.client("logs", region=region)
    logs.create_log_group(logGroupName="/aws/sagemaker/TrainingJobs")
    answer = bootstrap("--region", region, "--name", "four", "--apply")
    assert answer.code == 0, answer.err
    assert "TrainingJobs: there already, keeps lines for ever" in answer.out
    assert "ProcessingJobs: made, keeps lines for 90 days" in answer.out
    groups = {group["logGroupName"]: group.get("retentionInDays") for group in logs.describe_log_groups()["logGroups"]}
    assert groups == {"/aws/sagemaker/TrainingJobs": None, "/aws/sagemaker/ProcessingJobs": 90}
    assert "clary" in [
        group["Name"]
        for group in shared_sandbox.client("scheduler", region=region).list_schedule_groups()["ScheduleGroups"]
    ]


def test_it_is_shown_without_credentials_and_nothing_is_made(clary: CommandLine) -> None:
    answer = clary("bootstrap", "--region", "cn-north-1", "--name", "shown")
    assert answer.code == 0, answer.err
    assert "Bucket clary-shown-ACCOUNT-cn-north-1" in answer.out
    assert "AWSTemplateFormatVersion" in answer.out
    assert "Nothing was made." in answer.out
    template = clary("bootstrap", "--region", "cn-north-1", "-o", "json").json["item"]["template"]
    assert set(template) >= {"Resources", "Outputs"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--apply", "--destroy"], "bootstrap.apply_or_destroy"),
        (["--name", "Not_Good"], "bootstrap.bad_name"),
        (["--region", "nowhere"], "bootstrap.bad_region"),
        (["--apply", "--endpoint-url", "http://127.0.0.1:9"], "aws.unreachable"),
        (["--apply", "--credentials", "aws-credentials-file:/nowhere"], "aws.no_credentials_file"),
    ],
)
def test_what_cannot_be_done_is_refused(bootstrap: Bootstrap, arguments: list[str], code: str) -> None:
    assert bootstrap(*arguments, "-o", "json").error["code"] == code


def _empty(sandbox: Sandbox, bucket: str) -> None:
    s3 = sandbox.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=item["Key"])


def _buckets(sandbox: Sandbox) -> list[str]:
    return [bucket["Name"] for bucket in sandbox.client("s3").list_buckets()["Buckets"]]
