"""What ``stack create`` and a first submit look at: the same as doctor, remembered for a submit."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from clary.agent.verified import verify, verify_once
from clary.doctor.service import quick
from clary.errors import AwsError, ConfigError, NotFoundError
from clary.stacks.model import local_stack
from integration.doctor.conftest import Bending, simulated

if TYPE_CHECKING:
    from clary.stacks.model import Stack

MakeRole = Callable[..., str]


@pytest.mark.parametrize("check", [verify, quick])
def test_what_is_missing_or_wrong_is_refused(
    stack: Stack, make_role: MakeRole, check: Callable[[Stack], list[str]]
) -> None:
    assert check(local_stack("/nowhere")) == []
    with pytest.raises(NotFoundError) as bucket:
        check(dataclasses.replace(stack, artifact_store="s3://nothing-is-called-this/x"))
    assert bucket.value.code == "stack.bucket_not_found"
    with pytest.raises(NotFoundError) as role:
        check(dataclasses.replace(stack, execution_role="arn:aws:iam::123456789012:role/nobody"))
    assert role.value.code == "stack.role_not_found"
    with pytest.raises(ConfigError) as trust:
        check(dataclasses.replace(stack, execution_role=make_role("ec2.amazonaws.com")))
    assert trust.value.code == "stack.role_not_trusting"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(AwsError) as silent:
            check(dataclasses.replace(stack, endpoint_url=f"http://127.0.0.1:{free.getsockname()[1]}"))
    assert silent.value.code == "aws.unreachable"


def test_a_pass_role_that_is_denied_is_a_warning(stack: Stack, user: str) -> None:
    """IAM's simulation does not know everything; CreateTrainingJob does."""
    with Bending(stack.endpoint_url or "", instead=simulated(lambda *_: "implicitDeny")) as proxy:
        (warning,) = quick(dataclasses.replace(stack, endpoint_url=proxy.endpoint))
    assert "may not pass the role" in warning
    with Bending(stack.endpoint_url or "", instead=simulated(lambda *_: "allowed")) as proxy:
        assert quick(dataclasses.replace(stack, endpoint_url=proxy.endpoint)) == []


def test_a_stack_is_looked_at_once_and_again_when_it_changes(stack: Stack, make_role: MakeRole) -> None:
    asked: list[bytes] = []

    def note(body: bytes) -> None:
        asked.append(body)

    with Bending(stack.endpoint_url or "", instead=note) as proxy:
        through = dataclasses.replace(stack, endpoint_url=proxy.endpoint)
        assert verify_once(through) == []
        assert asked
        asked.clear()
        assert verify_once(through) == []
        assert verify_once(dataclasses.replace(through, settings={"volume_size_in_gb": 50})) == []
        assert asked == []  # nothing that was looked at has changed
        verify_once(dataclasses.replace(through, execution_role=make_role()))
        assert asked
        asked.clear()
        verify_once(dataclasses.replace(through, artifact_store=through.artifact_store + "/other"))
        assert asked


def test_what_was_looked_at_when_the_stack_was_made_is_not_looked_at_again(stack: Stack) -> None:
    asked: list[bytes] = []
    with Bending(stack.endpoint_url or "", instead=lambda body: asked.append(body)) as proxy:
        through = dataclasses.replace(stack, endpoint_url=proxy.endpoint)
        assert verify(through) == []
        looks = len(asked)
        assert verify(through) == []
        assert len(asked) == 2 * looks > 0  # whoever asks for a look gets one
        assert verify_once(through) == []
        assert len(asked) == 2 * looks


def test_what_was_refused_is_looked_at_again(stack: Stack) -> None:
    wrong = dataclasses.replace(stack, artifact_store="s3://nothing-is-called-this/x")
    for _ in range(2):
        with pytest.raises(NotFoundError):
            verify_once(wrong)
