"""``clary stack`` against a real sandbox: what is verified, what is stored, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.stacks import service

if TYPE_CHECKING:
    from clary.testing import Sandbox
    from command_line import CommandLine


def arguments(sandbox: Sandbox, credentials: str, **changes: str) -> list[str]:
    """Return the options of a sagemaker stack on the sandbox."""
    options = {
        "artifact-store": f"s3://{sandbox.bucket}/prefix",
        "container-registry": f"{sandbox.account}.dkr.ecr.{sandbox.region}.amazonaws.com/kitaru",
        "region": sandbox.region,
        "execution-role": sandbox.role,
        "endpoint-url": sandbox.endpoint,
        "credentials": credentials,
    } | changes
    return ["--type", "sagemaker", *(part for name, value in options.items() for part in (f"--{name}", value))]


@pytest.fixture
def credentials(tmp_path: Path, shared_sandbox: Sandbox) -> str:
    """A credentials file with the sandbox's keys, as a stack names it."""
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = sandbox\naws_secret_access_key = sandbox\n")
    return f"aws-credentials-file:{file}"


def test_a_sandbox_stack_points_at_the_running_sandbox(machine: CommandLine, shared_sandbox: Sandbox) -> None:
    answer = machine("stack", "create", "demo", "--type", "sandbox", "-o", "json")
    assert answer.code == 0, answer.err
    item = answer.json["item"]
    assert (item["name"], item["stack_type"], item["previous_active_stack"]) == ("demo", "sagemaker", "local")
    stack = service.resolve()
    assert stack.endpoint_url == shared_sandbox.endpoint
    assert stack.image == shared_sandbox.image
    assert stack.artifact_store == f"s3://{shared_sandbox.bucket}/clary"
    # The stack that is always listed has been made on the way.
    assert [row["name"] for row in machine("stack", "list", "-o", "json").json["items"]] == ["local", "demo", "sandbox"]


def test_a_complete_stack_is_verified_and_stored(
    machine: CommandLine, shared_sandbox: Sandbox, credentials: str
) -> None:
    answer = machine("stack", "create", "aws", *arguments(shared_sandbox, credentials))
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0] == "Created stack: aws (sagemaker)"
    assert answer.out.splitlines()[-1] == "Active stack: local → aws"
    assert answer.err == ""


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("artifact-store", "s3://nothing-is-called-this/x", "stack.bucket_not_found"),
        ("execution-role", "arn:aws:iam::123456789012:role/nobody", "stack.role_not_found"),
        ("execution-role", "arn:aws:iam::123456789012:role/wrong/path/{role}", "stack.role_not_found"),
        ("region", "eu-west-1", "stack.bucket_region"),
        ("endpoint-url", "http://127.0.0.1:9", "aws.unreachable"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_stored(
    machine: CommandLine, shared_sandbox: Sandbox, credentials: str, field: str, value: str, code: str
) -> None:
    given = value.format(role=shared_sandbox.role.rpartition("/")[2])
    answer = machine("stack", "create", "aws", *arguments(shared_sandbox, credentials, **{field: given}), "-o", "json")
    assert answer.code == 1
    assert answer.error["code"] == code, answer.err
    assert answer.error["next_step"]
    assert [row["name"] for row in machine("stack", "list", "-o", "json").json["items"]] == ["local", "sandbox"]
    unverified = machine(
        "stack", "create", "aws", *arguments(shared_sandbox, credentials, **{field: given}), "--no-verify"
    )
    assert unverified.code == 0, unverified.err


def test_what_may_not_be_looked_at_is_a_warning(
    machine: CommandLine, shared_sandbox: Sandbox, credentials: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    from clary.sagemaker.session import Aws

    make = Aws._make

    def forbidding(self: Aws, name: str) -> object:
        client = make(self, name)

        def refuse(**_: object) -> None:
            raise ClientError({"Error": {"Code": "403" if name == "s3" else "AccessDenied", "Message": "no"}}, "Look")

        client.head_bucket = client.get_role = refuse
        return client

    monkeypatch.setattr(Aws, "_make", forbidding)
    answer = machine("stack", "create", "aws", *arguments(shared_sandbox, credentials))
    assert answer.code == 0, answer.err
    assert "s3:ListBucket" in answer.err
    assert "iam:GetRole" in answer.err
    listed = machine("stack", "create", "again", *arguments(shared_sandbox, credentials), "-o", "json")
    assert len(listed.json["item"]["warnings"]) == 2
    assert listed.err == ""


def test_use_current_show_and_delete(machine: CommandLine, shared_sandbox: Sandbox, credentials: str) -> None:
    machine("stack", "create", "aws", *arguments(shared_sandbox, credentials), "--instance-type", "ml.m5.large")
    shown = machine("stack", "show", "aws")
    for text in ("Runner:", "Storage:", "Image registry:", "instance type: ml.m5.large", shared_sandbox.role):
        assert text in shown.out, text
    parts = machine("stack", "show", "aws", "-o", "json").json["item"]["components"]
    assert [part["role"] for part in parts] == ["runner", "storage", "image_registry"]
    assert "Activated stack: local" in machine("stack", "use", "local").out
    assert machine("stack", "current", "-o", "json").json["item"]["origin"] == "saved"
    assert machine("stack", "use", "aws").code == 0
    refused = machine("stack", "delete", "aws")
    assert (refused.code, "stack.is_current" in refused.err) == (1, True)
    deleted = machine("stack", "delete", "aws", "--force", "-o", "json").json["item"]
    assert (deleted["deleted_stack"], deleted["new_active_stack"]) == ("aws", "local")


def test_use_warns_when_the_environment_outranks_it(machine: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_STACK", "local")
    machine("stack", "create", "mine")
    assert "CLARY_STACK" in machine("stack", "use", "mine").err
    assert machine("stack", "use", "mine", "-o", "json").json["item"]["outranked_by"]["origin"] == "environment"


def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    machine: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "moto" else find(name, *rest))
    assert 'pip install "clary[sandbox]"' in machine("stack", "list").out


@pytest.mark.parametrize(
    ("principal", "trusting"),
    [
        ({"Service": "ec2.amazonaws.com"}, False),
        ({"AWS": "arn:aws:iam::123456789012:root"}, False),
        ({"Service": ["ec2.amazonaws.com", "sagemaker.amazonaws.com"]}, True),
        ("*", True),
    ],
)
def test_a_role_that_does_not_trust_sagemaker_is_refused(
    machine: CommandLine, shared_sandbox: Sandbox, credentials: str, principal: object, trusting: bool
) -> None:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    name = f"role-{len(str(principal))}"
    made = shared_sandbox.client("iam").create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    given = arguments(shared_sandbox, credentials, **{"execution-role": made["Role"]["Arn"]})
    answer = machine("stack", "create", "aws", *given, "-o", "json")
    assert answer.code == (0 if trusting else 1), answer.err
    if not trusting:
        assert answer.error["code"] == "stack.role_not_trusting"
        assert "sagemaker.amazonaws.com" in answer.error["next_step"]
