"""``clary config`` and the options of one run, as a person types them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command_line import CommandLine

FLOW = """
from clary import checkpoint, flow


@checkpoint
def double(value: int) -> int:
    return value * 2


@flow(retries=1, instance_type="ml.c5.xlarge", environment={"API_TOKEN": "hunter2hunter2", "PLAIN": "1"})
def work(value: int = 1) -> int:
    return double(value)


@flow
def fails(path: str) -> int:
    with open(path, "a") as trail:
        trail.write("x")
    raise ValueError("no")
"""


@pytest.fixture(autouse=True)
def project(clary: CommandLine) -> None:
    Path("work.py").write_text(FLOW)


def test_show_names_every_value_and_its_origin(clary: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARY_IMAGE", "python:3.12")
    clary("config", "set", "tags.team", "ml")
    answer = clary("config", "show", "--flow", "work.py:work", "-o", "json")
    found = {one["name"]: one for one in answer.json["items"]}
    assert found["stack"]["origin"] == "default"
    assert (found["image"]["value"], found["image"]["source"]) == (
        "python:3.12",
        "the environment variable CLARY_IMAGE",
    )
    assert (found["retries"]["value"], found["retries"]["origin"]) == (1, "flow")
    assert (found["instance_type"]["value"], found["instance_type"]["origin"]) == ("ml.c5.xlarge", "flow")
    assert (found["tags.team"]["value"], found["tags.team"]["origin"]) == ("ml", "saved")
    assert found["volume_size_in_gb"]["origin"] == "default"
    text = clary("config", "show", "--flow", "work.py:work").out
    assert "hunter2" not in text + answer.out
    assert "environment.PLAIN" in text


def test_set_list_and_unset(clary: CommandLine) -> None:
    assert "retries: " in clary("config", "set", "retries", "3").out
    assert clary("config", "set", "use_spot", "true").code == 0
    assert clary("config", "list", "-o", "json").json["items"] == [
        {"name": "retries", "value": {"count": 3}},
        {"name": "use_spot", "value": True},
    ]
    assert clary("config", "unset", "use_spot").code == 0
    assert "use_spot" not in clary("config", "list").out
    assert clary("config", "set", "instence_type", "x", "-o", "json").error["code"] == "config.unknown_name"
    assert clary("config", "set", "stack", "nowhere", "-o", "json").error["code"] == "stack.not_found"
    assert clary("config", "set", "stack", "local").code == 0


def test_a_run_shows_what_it_was_specified_with(clary: CommandLine) -> None:
    run = clary("run", "work.py:work", "--retries", "4", "--set", "tags.team=ml", "-o", "json").json["item"]["id"]
    values = {one["name"]: one for one in clary("runs", "show", run, "--spec", "-o", "json").json["item"]["values"]}
    assert (values["retries.count"]["value"], values["retries.count"]["source"]) == (4, "given for this run")
    assert values["environment.API_TOKEN"]["value"] == "(not shown)"
    assert "given for this run" in clary("runs", "show", run, "--spec").out


def test_a_key_starts_a_run_once(clary: CommandLine) -> None:
    first = clary("run", "work.py:work", "-i", "value=2", "--key", "order-17", "-o", "json").json["item"]
    again = clary("run", "work.py:work", "-i", "value=2", "--key", "order-17", "-o", "json").json["item"]
    assert (first["reused"], again["reused"], again["id"]) == (False, True, first["id"])
    text = clary("run", "work.py:work", "-i", "value=2", "--key", "order-17").out
    assert "nothing began" in text
    error = clary("run", "work.py:work", "-i", "value=3", "--key", "order-17", "-o", "json").error
    assert error["code"] == "run.key_taken"
    assert "value was 2, and is 3" in error["message"]


def test_a_resume_keeps_what_the_run_was_started_with(
    clary: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"
    arguments = ("work.py:fails", "-i", f"path={trail}")
    monkeypatch.setenv("CLARY_RETRIES", '{"count": 2, "delay": 0}')
    run = clary("run", *arguments, "-o", "json").json["item"]["id"]
    assert trail.read_text() == "xxx"
    monkeypatch.setenv("CLARY_RETRIES", "0")
    answer = clary("runs", "resume", run)
    assert trail.read_text() == "xxx" * 2
    assert "retries stays as the run was started" in answer.out
    clary("runs", "resume", run, "--retries", "0")
    assert trail.read_text() == "xxx" * 2 + "x"
    clary("runs", "resume", run)  # what a resume was given holds on
    assert trail.read_text() == "xxx" * 2 + "xx"


@pytest.mark.parametrize("pair", ["instance_type", "=x", "tags..a=1", "tags={"])
def test_a_setting_that_cannot_be_read_is_refused(clary: CommandLine, pair: str) -> None:
    assert clary("run", "work.py:work", "--set", pair, "-o", "json").error["code"] == "cli.bad_setting"


def test_a_setting_is_given_once(clary: CommandLine) -> None:
    for pairs in (("a=1", "a=2"), ("tags=x", "tags.team=y")):
        words = [word for pair in pairs for word in ("--set", pair)]
        assert clary("run", "work.py:work", *words, "-o", "json").error["code"] == "cli.bad_setting"
