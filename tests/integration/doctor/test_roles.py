"""The roles: there, trusting, passed on, allowed what runs need; and the managed policy of other tools."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from clary.doctor.findings import Status
from clary.doctor.roles import FULL_ACCESS
from clary.ids import new_id
from integration.doctor.conftest import Bending, applies, look, simulated

if TYPE_CHECKING:
    from clary import testing
    from clary.stacks.model import Stack

MakeRole = Callable[..., str]


def test_a_role_that_is_missing_or_misspelt_fails(stack: Stack, make_role: MakeRole) -> None:
    assert look("execution-role", stack).status is Status.OK
    missing = look("execution-role", stack, execution_role="arn:aws:iam::123456789012:role/nobody")
    assert missing.status is Status.FAILED
    made = make_role(path="/service-role/")
    assert look("execution-role", stack, execution_role=made).status is Status.OK
    pathless = look("execution-role", stack, execution_role=made.replace("/service-role/", "/"))
    assert pathless.status is Status.FAILED
    assert made in str(pathless.fix)


def test_a_role_that_does_not_trust_sagemaker_fails_with_its_trust_policy(stack: Stack, make_role: MakeRole) -> None:
    role = make_role("ec2.amazonaws.com")
    found = look("execution-role", stack, execution_role=role)
    assert found.status is Status.FAILED
    assert f"aws iam update-assume-role-policy --role-name {role.rpartition('/')[2]}" in str(found.fix)
    assert found.statements[0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}


def test_a_trust_in_another_action_is_none(stack: Stack, make_role: MakeRole, sandbox: testing.Sandbox) -> None:
    role = make_role()
    statement = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:TagSession"}
    sandbox.client("iam").update_assume_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    assert look("execution-role", stack, execution_role=role).status is Status.FAILED


def test_a_role_of_another_account_cannot_be_looked_at(
    stack: Stack, make_role: MakeRole, sandbox: testing.Sandbox
) -> None:
    foreign = make_role().replace(sandbox.account, "999999999999")
    found = look("execution-role", stack, execution_role=foreign)
    assert found.status is Status.UNCHECKED
    assert "999999999999" in found.summary


def test_the_scheduler_role_must_trust_the_scheduler(stack: Stack, make_role: MakeRole) -> None:
    assert not applies("scheduler-role", stack)
    assert look("scheduler-role", stack, scheduler_role=make_role("scheduler.amazonaws.com")).status is Status.OK
    found = look("scheduler-role", stack, scheduler_role=make_role())
    assert found.status is Status.FAILED
    assert "scheduler.amazonaws.com" in found.summary


# -- the managed policy of other tools


def _attach(sandbox: testing.Sandbox, role: str, *, inline: bool = False) -> None:
    """Attach the policy by its name; moto does not hold AWS's own ones, so it is made."""
    name, iam = role.rpartition("/")[2], sandbox.client("iam")
    objects = {"Effect": "Allow", "Action": "s3:*Object", "Resource": "arn:aws:s3:::*sagemaker*"}
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_policy(
            PolicyName=FULL_ACCESS, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [objects]})
        )
    iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::{sandbox.account}:policy/{FULL_ACCESS}")
    if inline:
        statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=name, PolicyName="more", PolicyDocument=document)


def test_the_managed_policy_alone_does_not_reach_the_bucket(
    stack: Stack, make_role: MakeRole, sandbox: testing.Sandbox
) -> None:
    role = make_role()
    assert not applies("full-access-policy", stack, execution_role=role)
    _attach(sandbox, role)
    found = look("full-access-policy", stack, execution_role=role)
    assert found.status is Status.FAILED
    assert sandbox.bucket in found.summary
    granted = json.dumps(found.statements)
    assert "s3:PutObject" in granted
    assert sandbox.bucket in granted
    named = look("full-access-policy", stack, execution_role=role, artifact_store="s3://my-sagemaker-data/x")
    assert named.status is Status.OK


@pytest.mark.parametrize(("decision", "status"), [("allowed", Status.OK), ("implicitDeny", Status.FAILED)])
def test_another_policy_beside_it_may_reach_it(
    stack: Stack, make_role: MakeRole, sandbox: testing.Sandbox, decision: str, status: Status
) -> None:
    role = make_role()
    _attach(sandbox, role, inline=True)
    with Bending(stack.endpoint_url or "", instead=simulated(lambda *_: decision)) as proxy:
        found = look("full-access-policy", stack, execution_role=role, endpoint_url=proxy.endpoint)
    assert found.status is status


# -- what IAM says may be done


def _asked(stack: Stack, check: str, decide: Callable[[str, str], str], **changes: Any) -> Any:
    with Bending(stack.endpoint_url or "", instead=simulated(decide)) as proxy:
        return look(check, stack, endpoint_url=proxy.endpoint, **changes)


def test_passing_the_role_on_is_asked_for(stack: Stack, user: str) -> None:
    asked: list[tuple[str, str]] = []

    def allow(action: str, resource: str) -> str:
        asked.append((action, resource))
        return "allowed"

    assert _asked(stack, "pass-role", allow).status is Status.OK
    assert asked == [("iam:PassRole", stack.execution_role)]
    denied = _asked(stack, "pass-role", lambda *_: "implicitDeny")
    assert denied.status is Status.FAILED
    assert user in denied.summary
    (statement,) = denied.statements
    assert statement["Resource"] == [stack.execution_role]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_a_denial_that_hangs_on_a_condition_is_not_a_denial(stack: Stack, user: str) -> None:
    found = _asked(stack, "pass-role", lambda *_: "missing")
    assert found.status is Status.UNCHECKED


def test_the_permissions_of_the_role_are_asked_for_one_by_one(stack: Stack) -> None:
    asked: list[tuple[str, str]] = []

    def refuse_writes(action: str, resource: str) -> str:
        asked.append((action, resource))
        return "explicitDeny" if action in ("s3:PutObject", "logs:PutLogEvents") else "allowed"

    found = _asked(stack, "role-permissions", refuse_writes)
    assert found.status is Status.FAILED
    assert "logs:PutLogEvents, s3:PutObject" in found.summary
    assert [statement["Action"] for statement in found.statements] == [["s3:PutObject"], ["logs:PutLogEvents"]]
    assert not [resource for _, resource in asked if "*" in resource.removesuffix("*") or resource.endswith("/*")]


def test_a_policy_of_the_bucket_may_allow_what_the_role_does_not_say(stack: Stack, sandbox: testing.Sandbox) -> None:
    bucket, s3 = f"open-{new_id().lower()}", sandbox.client("s3")
    s3.create_bucket(Bucket=bucket)
    changed = {"artifact_store": f"s3://{bucket}/x"}

    def deny(action: str, _: str) -> str:
        return "implicitDeny" if action.startswith("s3:") else "allowed"

    assert _asked(stack, "role-permissions", deny, **changed).status is Status.FAILED
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert _asked(stack, "role-permissions", deny, **changed).status is Status.WARNING


def test_what_runs_can_do_without_is_only_a_warning(stack: Stack) -> None:
    def deny_metrics(action: str, _: str) -> str:
        return "implicitDeny" if action == "cloudwatch:PutMetricData" else "allowed"

    assert _asked(stack, "role-permissions", deny_metrics).status is Status.WARNING


def test_the_permissions_of_the_caller(stack: Stack, user: str) -> None:
    assert _asked(stack, "caller-permissions", lambda *_: "allowed").status is Status.OK

    def refuse_stop(action: str, _: str) -> str:
        return "implicitDeny" if action == "sagemaker:StopTrainingJob" else "allowed"

    found = _asked(stack, "caller-permissions", refuse_stop)
    assert found.status is Status.FAILED
    assert [statement["Action"] for statement in found.statements] == [["sagemaker:StopTrainingJob"]]


def test_a_session_is_judged_by_its_role(
    stack: Stack, make_role: MakeRole, sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = make_role(path="/team/")
    session = sandbox.client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", session["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", session["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", session["SessionToken"])
    sources: list[bytes] = []
    answer = simulated(lambda *_: "allowed")

    def note(body: bytes) -> bytes | None:
        sources.extend([body] if b"SimulatePrincipalPolicy" in body else [])
        return answer(body)

    with Bending(stack.endpoint_url or "", instead=note) as proxy:
        assert look("pass-role", stack, endpoint_url=proxy.endpoint).status is Status.OK
    assert all(b"role%2Fteam%2F" in body for body in sources)


def test_who_may_not_ask_learns_the_permission(stack: Stack, user: str) -> None:
    denial = (
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>"
        b"<RequestId>1</RequestId></ErrorResponse>"
    )

    def refuse(body: bytes) -> bytes | None:
        return denial if b"SimulatePrincipalPolicy" in body else None

    with Bending(stack.endpoint_url or "", instead=refuse, status=403) as proxy:
        for check in ("pass-role", "role-permissions", "caller-permissions"):
            found = look(check, stack, endpoint_url=proxy.endpoint)
            assert (found.status, found.permission) == (Status.UNCHECKED, "iam:SimulatePrincipalPolicy"), check


def test_the_role_that_the_settings_name_is_the_one_that_is_looked_at(stack: Stack, make_role: MakeRole) -> None:
    own = make_role()
    found = look(
        "execution-role",
        stack,
        execution_role="arn:aws:iam::123456789012:role/nobody",
        settings={"execution_role": own},
    )
    assert (found.status, own in found.summary) == (Status.OK, True)
