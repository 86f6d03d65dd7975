"""Real IAM users and roles with real policies, on a sandbox that lets those decide over every request."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from clary import testing
from clary.doctor import service
from clary.doctor.findings import Finding, Status
from clary.ids import new_id
from clary.sagemaker import permissions
from clary.stacks.scope import scope_of
from integration.doctor.conftest import by_name, look

if TYPE_CHECKING:
    from clary.stacks.model import Stack

Statements = list[dict[str, Any]]
BeUser = Callable[[Statements], str]


@pytest.fixture(scope="module")
def guarded() -> Iterator[testing.Sandbox]:
    with testing.sandbox(enforce_rates=False, iam="enforce") as running:
        yield running


@pytest.fixture
def place(guarded: testing.Sandbox, stack: Stack) -> Stack:
    """A stack on the sandbox that enforces; its role has the least policy of jobs and no other."""
    iam, name = guarded.client("iam"), f"role-{new_id().lower()}"
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    made = dataclasses.replace(stack, endpoint_url=guarded.endpoint, execution_role=role)
    give_role(guarded, made, permissions.policy("execution", scope_of(made))["Statement"])
    return made


@pytest.fixture
def be_user(guarded: testing.Sandbox, monkeypatch: pytest.MonkeyPatch) -> BeUser:
    """Make a user with these statements and take its keys; return its ARN."""

    def be(statements: Statements) -> str:
        iam, name = guarded.client("iam"), f"user-{new_id().lower()}"
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        return str(arn)

    return be


def give_role(guarded: testing.Sandbox, stack: Stack, statements: Statements) -> None:
    """Put statements into the execution role's only policy."""
    guarded.client("iam").put_role_policy(
        RoleName=str(stack.execution_role).rpartition("/")[2],
        PolicyName="rights",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )


def submitter(stack: Stack) -> Statements:
    """Return the least policy of somebody who submits runs; they may also ask what they themselves may do."""
    statements = copy.deepcopy(permissions.policy("submitter", scope_of(stack))["Statement"])
    return [*statements, {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}]


def without(statements: Statements, action: str) -> Statements:
    """Return statements that do not allow the action."""
    kept = [{**one, "Action": [each for each in _listed(one["Action"]) if each != action]} for one in statements]
    return [one for one in kept if one["Action"]]


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def examined(stack: Stack) -> dict[str, Finding]:
    return by_name(service.examine(stack, limit=20))


def test_with_the_least_policies_all_is_well(place: Stack, be_user: BeUser) -> None:
    be_user(submitter(place))
    found = examined(place)
    assert {name: each.summary for name, each in found.items() if each.status is not Status.OK} == {}
    assert {"pass-role", "role-permissions", "caller-permissions", "bucket-write"} <= set(found)


def test_without_any_right_only_what_needs_none_is_known(place: Stack, be_user: BeUser) -> None:
    be_user([{"Effect": "Deny", "Action": "*", "Resource": "*"}])
    found = examined(place)
    assert found["identity"].status is Status.OK  # GetCallerIdentity can be denied to nobody
    failed = {name for name, each in found.items() if each.status is Status.FAILED}
    assert failed == {"bucket-write"}
    unchecked = {name: each.permission for name, each in found.items() if each.status is Status.UNCHECKED}
    assert unchecked["bucket"] == "s3:ListBucket"
    assert unchecked["execution-role"] == "iam:GetRole"
    assert unchecked["image"] == "ecr:BatchGetImage"
    assert unchecked["quota-training"] == "servicequotas:ListServiceQuotas"
    for name in ("pass-role", "role-permissions", "caller-permissions"):
        assert unchecked[name] == "iam:SimulatePrincipalPolicy"


@pytest.mark.parametrize(
    ("action", "check"),
    [
        ("s3:PutObject", "bucket-write"),
        ("s3:ListBucket", "bucket-write"),
        ("s3:GetObject", "bucket-write"),
        ("iam:PassRole", "pass-role"),
        ("sagemaker:CreateTrainingJob", "caller-permissions"),
    ],
)
def test_a_right_that_the_caller_lacks_fails_with_its_statement(
    place: Stack, be_user: BeUser, action: str, check: str
) -> None:
    arn = be_user(without(submitter(place), action))
    found = look(check, place)
    assert found.status is Status.FAILED
    assert any(action in _listed(statement["Action"]) for statement in found.statements)
    be_user([*without(submitter(place), action), *[dict(statement) for statement in found.statements]])
    mended = look(check, place)
    assert mended.status is Status.OK, (arn, mended.summary)  # what it prints is what was missing


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("s3:PutObject", Status.FAILED),
        ("ecr:BatchGetImage", Status.FAILED),
        ("cloudwatch:PutMetricData", Status.WARNING),
    ],
)
def test_a_right_that_the_role_lacks(
    place: Stack, be_user: BeUser, guarded: testing.Sandbox, action: str, status: Status
) -> None:
    be_user(submitter(place))
    least = permissions.policy("execution", scope_of(place))["Statement"]
    give_role(guarded, place, without(least, action))
    found = look("role-permissions", place)
    assert found.status is status
    assert action in found.summary
    give_role(guarded, place, [*without(least, action), *[dict(statement) for statement in found.statements]])
    assert look("role-permissions", place).status is Status.OK


def test_writes_without_the_right_to_delete_leave_their_object_and_say_so(
    place: Stack, be_user: BeUser, guarded: testing.Sandbox
) -> None:
    be_user(without(submitter(place), "s3:DeleteObject"))
    found = look("bucket-write", place)
    assert found.status is Status.OK
    assert "s3:DeleteObject is missing" in found.summary


def test_a_role_with_only_the_managed_policy_of_other_tools(
    place: Stack, be_user: BeUser, guarded: testing.Sandbox
) -> None:
    """The policy's part on objects, as AWS publishes it."""
    be_user(submitter(place))
    iam, name = guarded.client("iam"), str(place.execution_role).rpartition("/")[2]
    iam.delete_role_policy(RoleName=name, PolicyName="rights")
    objects = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::*sagemaker*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [objects]})
    made = iam.create_policy(PolicyName="AmazonSageMakerFullAccess", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=made)
    found = examined(place)
    assert found["full-access-policy"].status is Status.FAILED
    assert found["role-permissions"].status is Status.FAILED
    statements = [dict(statement) for statement in found["full-access-policy"].statements]
    give_role(guarded, place, statements)
    again = examined(place)
    assert again["full-access-policy"].status is Status.OK
    assert "s3:" not in again["role-permissions"].summary
