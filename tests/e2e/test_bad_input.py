"""Bad input: one clear error with a code and a next step, before anything is uploaded; nothing half-made remains."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from clary import flow
from clary.errors import SerializationError
from clary.stacks import service as stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clary.stacks.model import Stack
    from command_line import Answer, CommandLine
    from e2e.conftest import Lab

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def kept(lab: Lab) -> set[str]:
    """Return the keys of all objects in the lab's bucket."""
    pages = lab.sandbox.client("s3").get_paginator("list_objects_v2").paginate(Bucket=lab.sandbox.bucket)
    return {item["Key"] for page in pages for item in page.get("Contents", ())}


def refused(answer: Answer, code: str) -> dict[str, Any]:
    """Return the one error of a refused command, which has a code, a sentence and a next step."""
    assert answer.code in {1, 2}, answer
    error = answer.error
    assert error["code"] == code, error
    assert error["message"]
    assert error["next_step"]
    assert "Traceback" not in answer.err
    return error


@pytest.fixture
def with_stack(lab: Lab) -> Iterator[Callable[..., str]]:
    """Make a stack that is the lab's but for some fields, for the time of the test; nothing is verified."""
    made = []

    def make(name: str, **changes: Any) -> str:
        changed: Stack = replace(lab.stack, name=name, **changes)
        made.append(stacks.refresh(changed))
        return name

    yield make
    for entry in made:
        stacks.delete(entry.id, force=True, recursive=True)


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["nowhere.py:f"], "target.file_not_found", ""),
        (["fien.py:steps"], "target.file_not_found", "fine.py"),
        (["fine.py"], "target.malformed", "fine.py:FLOW"),
        (["notes.txt:f"], "target.module_not_found", ""),
        (["./notes.txt:f"], "target.malformed", ".py"),
        (["nowhere.at.all:f"], "target.module_not_found", ""),
        (["fine.py:stesp"], "target.flow_not_found", "steps"),
        (["fine.py:number"], "target.not_a_flow", "steps"),
        (["broken.py:f"], "target.import_failed", "broken.py"),
        (["absent.py:f"], "target.import_failed", "not_there_at_all"),
        (["teil/läufe.py:überblick"], "target.import_failed", "teil.läufe:FLOW"),
        (["teil.läufe:überblick"], "flow.missing_input", "wort"),
        (["fine.py:steps", "-i", "cuont=3"], "flow.unknown_input", "count"),
        (["fine.py:steps", "-i", "count"], "cli.bad_input", "NAME=VALUE"),
        (["fine.py:steps", "--stack", "lba"], "stack.not_found", "lab"),
        (["fine.py:misspelt"], "settings.invalid", "instance_type"),
        (["fine.py:two"], "settings.invalid", "instance_count"),
        (["fine.py:long_value"], "settings.invalid", "512"),
        (["fine.py:many_values"], "settings.invalid", "100"),
        (["fine.py:many_channels"], "settings.invalid", "20"),
        (["fine.py:isolated"], "settings.invalid", "subnets"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_uploaded(
    lab: Lab, terminal: CommandLine, arguments: list[str], code: str, hint: str
) -> None:
    before = kept(lab)
    given = arguments if "--stack" in arguments else [*arguments, "--stack", "lab"]
    error = refused(terminal("run", *given, "-o", "json"), code)
    assert hint in error["message"] + error["next_step"]
    assert kept(lab) == before


def test_places_that_are_not_there_are_refused_before_anything_is_uploaded(
    lab: Lab, terminal: CommandLine, with_stack: Callable[..., str], tmp_path: Path
) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    lab.sandbox.client("iam").create_role(RoleName="for-ec2", AssumeRolePolicyDocument=document)
    garbage = tmp_path / "credentials"
    garbage.write_text("no section\n")
    before = kept(lab)
    arn = "arn:aws:iam::123456789012:role/"
    for name, changes, code in (
        ("no-bucket", {"artifact_store": "s3://nobody-has-this-one/x"}, "stack.bucket_not_found"),
        ("no-role", {"execution_role": f"{arn}nobody"}, "stack.role_not_found"),
        ("no-trust", {"execution_role": f"{arn}for-ec2"}, "stack.role_not_trusting"),
        ("elsewhere", {"region": "eu-west-1"}, "stack.bucket_region"),
        ("no-keys", {"credentials": f"aws-credentials-file:{tmp_path / 'none'}"}, "aws.no_credentials_file"),
        ("bad-keys", {"credentials": f"aws-credentials-file:{garbage}"}, "aws.bad_file"),
        ("no-image", {"image": None, "container_registry": None}, "submit.no_image"),
    ):
        stack = with_stack(name, **changes)
        refused(terminal("run", "fine.py:steps", "--stack", stack, "-o", "json"), code)
    assert kept(lab) == before


def test_an_input_that_cannot_be_kept_is_refused_before_anything_is_uploaded(lab: Lab, terminal: CommandLine) -> None:
    @flow
    def takes(thing: object) -> None: ...

    before, local = kept(lab), terminal("runs", "list", "--stack", "local", "-o", "json").json["count"]
    for stack in ("lab", "local"):
        with pytest.raises(SerializationError) as refusal:
            takes.on(stack).run(threading.Lock())
        assert refusal.value.code == "value.not_serializable"
    assert kept(lab) == before
    assert terminal("runs", "list", "--stack", "local", "-o", "json").json["count"] == local


@pytest.mark.parametrize(
    "command",
    [
        ["run", "fine.py:steps"],
        ["runs", "list"],
        ["runs", "show", RUN],
        ["runs", "show", "latest"],
        ["runs", "logs", RUN],
        ["runs", "logs", "-f", RUN],
        ["runs", "wait", RUN],
        ["runs", "stop", RUN],
        ["runs", "resume", RUN],
    ],
    ids=" ".join,
)
def test_a_sandbox_that_is_gone_is_named_with_the_command_that_starts_it(
    terminal: CommandLine, with_stack: Callable[..., str], command: list[str]
) -> None:
    gone = with_stack("gone", endpoint_url="http://127.0.0.1:9")
    error = refused(terminal(*command, "--stack", gone, "-o", "json"), "aws.unreachable")
    assert "http://127.0.0.1:9" in error["message"]
    assert "clary sandbox start --detach" in error["next_step"]


def test_a_stack_that_is_gone_hides_no_run_of_another(
    lab: Lab, terminal: CommandLine, with_stack: Callable[..., str]
) -> None:
    with_stack("gone", endpoint_url="http://127.0.0.1:9")
    error = refused(terminal("runs", "show", RUN[:20], "-o", "json"), "run.not_found")
    assert "gone could not be looked at" in error["message"]
    assert error["details"]["out_of_reach"]["gone"] == "aws.unreachable"
    stacks.use("gone")
    try:
        refused(terminal("runs", "show", RUN[:20], "-o", "json"), "aws.unreachable")
    finally:
        stacks.use("local")


def test_what_cannot_be_done_with_a_run_is_said(lab: Lab, terminal: CommandLine) -> None:
    run = terminal("run", "fine.py:steps", "--stack", "lab", "-o", "json").json["item"]["id"]
    refused(terminal("runs", "resume", run, "-o", "json"), "run.is_completed")
    assert terminal("runs", "stop", run, "-o", "json").json["item"]["status"] == "completed"
    refused(terminal("runs", "show", "01AR", "-o", "json"), "run.not_found")
    refused(terminal("runs", "show", "01A", "-o", "json"), "run.prefix_too_short")

    run = terminal("run", "fine.py:steps", "-i", "pause=60", "--stack", "lab", "-d", "-o", "json").json["item"]["id"]
    refused(terminal("runs", "resume", run, "-o", "json"), "run.is_live")
    refused(terminal("runs", "wait", run, "--timeout", "0.1s", "-o", "json"), "run.wait_timeout")
    for _ in range(2):  # once more does no harm
        assert terminal("runs", "stop", run, "-o", "json").json["item"]["status"] in {"stopping", "stopped"}
    assert terminal("runs", "wait", run, "-o", "json").json["item"]["status"] == "stopped"
