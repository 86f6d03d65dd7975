"""Executions in Kitaru's shape on a local stack: handles of runs, the client, replays, waits."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from clary import config, kitaru
from clary.kitaru import ExecutionStatus, KitaruClient

EXAMPLES = Path(__file__).parents[3] / "examples"
_broken = [False]


@kitaru.checkpoint
def fetch(x: int) -> int:
    return x + 1


@kitaru.checkpoint
def double(x: int) -> int:
    if _broken[0]:
        raise ValueError("out of order")
    return 2 * x


@kitaru.flow
def twice(x: int) -> int:
    found: int = double(double(fetch(x)))
    kitaru.log(x=x)
    return found


@kitaru.flow
def asks(x: int) -> Any:
    approved = kitaru.wait(schema=bool, name="approve", question="Sure?", timeout=0, metadata={"k": 1})
    return fetch(x) if approved else None


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.setattr("clary.kitaru.stacks._configured", {})
    monkeypatch.setitem(globals(), "_broken", [False])
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLARY_STACK", raising=False)


def test_an_execution_has_a_handle_and_is_found_by_the_client() -> None:
    handle = twice.run(1, cache=False, retries=1, stack="local")
    assert handle.status is ExecutionStatus.COMPLETED
    assert handle.wait(5) == handle.get() == 8
    client = KitaruClient()
    found = client.executions.get(handle.exec_id)
    assert (found.flow_name, found.status, found.stack_name, found.metadata) == (
        "twice",
        "completed",
        "local",
        {"x": 1},
    )
    assert [call.call_id for call in found.list_checkpoints()] == ["fetch#1", "double#1", "double#2"]
    assert [call.artifacts[0].load() for call in found.checkpoints] == [2, 4, 8]
    assert client.artifacts.get(f"{handle.exec_id}:double#2").load() == 8
    outputs = [f"twice::{name}::output" for name in ("fetch", "double", "double_2")]
    assert [one.name for one in client.artifacts.list(handle.exec_id)] == outputs
    assert [one.load() for one in client.artifacts.list(handle.exec_id, name="twice::double_2::output")] == [8]
    assert client.executions.latest(flow="twice").exec_id == handle.exec_id
    assert client.executions.list(status="failed") == []
    counted = client.executions.statistics(group_by=["status"], metrics=["step_count:sum"])
    assert [(group.keys, group.metrics) for group in counted.groups] == [
        ({"status": "completed"}, {"step_count:sum": 3})
    ]


def test_a_failed_execution_raises_from_wait_and_is_retried() -> None:
    _broken[0] = True
    handle = twice.run(1)
    assert handle.status is ExecutionStatus.FAILED
    with pytest.raises(kitaru.KitaruUserCodeError, match="out of order") as caught:
        handle.wait()
    assert caught.value.exec_id == handle.exec_id
    assert caught.value.failure_origin is kitaru.FailureOrigin.USER_CODE
    assert isinstance(caught.value.__cause__, ValueError)
    found = KitaruClient().executions.get(handle.exec_id)
    assert found.failure is not None
    assert found.failure.exception_type == "ValueError"
    _broken[0] = False
    assert found.retry().status is ExecutionStatus.COMPLETED
    assert handle.get() == 8


def test_a_wait_is_answered_checked_and_resumed() -> None:
    handle = asks.run(1)
    executions = KitaruClient().executions
    assert handle.status is ExecutionStatus.WAITING
    for ask in (handle.wait, handle.get, lambda: executions.resume(handle.exec_id)):
        with pytest.raises(kitaru.KitaruStateError):
            ask()
    (pending,) = executions.pending_waits(handle.exec_id)
    assert (pending.name, pending.question, pending.schema, pending.metadata) == (
        "approve",
        "Sure?",
        {"type": "boolean"},
        {"k": 1},
    )
    with pytest.raises(kitaru.KitaruWaitValidationError):
        executions.input(handle.exec_id, wait="approve", value="perhaps")
    executions.input(handle.exec_id, wait="approve", value=True)
    assert executions.resume(handle.exec_id).status is ExecutionStatus.COMPLETED
    assert executions.resume(handle.exec_id).status is ExecutionStatus.COMPLETED
    assert handle.wait() == 2


def test_a_replay_takes_their_names_of_calls() -> None:
    handle = twice.run(1)
    done = twice.replay(handle.exec_id, at="double_2", invocation_overrides={"double_2": {"output": 5}}, tag="try")
    assert done.summary.completed == 1
    assert done.plan.matched_targets == {"invocation:double_2": ["double_2"]}
    assert done.results[0].handle is not None
    assert done.results[0].handle.wait() == 5
    several = twice.replay([handle.exec_id, "01AAAAAAAAAAAAAAAAAAAAAAAA"], at="fetch", flow_overrides={"x": 2})
    assert (several.summary.completed, several.summary.failed) == (1, 1)
    assert several.to_json()["summary"]["submitted"] == 1
    assert "01AAAAAAAAAAAAAAAAAAAAAAAA" in several.failures[0].reason
    with pytest.raises(kitaru.KitaruFeatureNotAvailableError):
        twice.replay(handle.exec_id, at="fetch", stack="other")


def test_wrong_inputs_and_what_needs_a_server_are_refused() -> None:
    with pytest.raises(kitaru.KitaruUsageError, match="no input"):
        twice.run(y=1)
    for call in (twice.deploy, twice.invoke, twice.deployments, twice.deployment, lambda: KitaruClient(project="x")):
        with pytest.raises(kitaru.KitaruFeatureNotAvailableError) as caught:
            call()
        assert caught.value.next_step
    with pytest.raises(kitaru.KitaruFeatureNotAvailableError):
        _ = KitaruClient().deployments


def test_stacks_secrets_and_defaults_have_their_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_SECRETS_PASSPHRASE", "five words are a start")
    assert kitaru.current_stack() == kitaru.StackInfo("local", "local", is_active=True)
    assert kitaru.create_stack("mine").is_active
    assert [one.name for one in kitaru.list_stacks()] == ["local", "mine"]
    kitaru.use_stack("local")
    kitaru.delete_stack("mine")
    for lookup in (lambda: kitaru.use_stack("nope"), lambda: kitaru.delete_stack("local")):
        with pytest.raises(kitaru.KitaruStateError):
            lookup()
    image = kitaru.ImageSettings(environment={"A": "1"})
    told = kitaru.configure(stack="local", cache=True, retries=1, image=image)
    assert (told.cache, told.retries, told.image) == (True, 1, image)
    assert kitaru.create_secret("openai", {"TOKEN": "abcdefgh"}).keys == ["TOKEN"]
    secret = kitaru.get_secret("openai")
    assert secret.get("TOKEN") == "abcdefgh"
    assert "abcdefgh" not in repr(secret)
    assert [one.name for one in kitaru.list_secrets()] == ["openai"]
    kitaru.delete_secret("openai")


@pytest.mark.parametrize(
    ("example", "module"), [("kitaru_project", "kitaru"), ("zenml_dynamic", "zenml")], ids=["kitaru", "zenml"]
)
def test_the_examples_differ_in_their_import_only(example: str, module: str) -> None:
    folder = EXAMPLES / example
    (file,) = (path.name for path in (folder / "before").glob("*.py"))
    before, after = (ast.parse((folder / side / file).read_text()) for side in ("before", "after"))
    for node in after.body:
        if isinstance(node, ast.ImportFrom) and node.module == f"clary.{module}":
            node.module = module
    assert ast.dump(ast.Module(before.body[1:], [])) == ast.dump(ast.Module(after.body[1:], []))
