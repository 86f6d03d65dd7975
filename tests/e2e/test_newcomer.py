"""What a newcomer does: an odd project runs as it is, the dead are told as dead, and JSON is nothing but JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from clary.agent import service
from clary.cli.main import root
from clary.errors import ConflictError
from clary.sandbox import api
from e2e.steps import REFUSALS, STEPS
from patience import until

if TYPE_CHECKING:
    from command_line import Answer, CommandLine
    from e2e.conftest import Lab


@pytest.mark.parametrize("stack", ["lab", "local"])
def test_an_odd_project_runs_as_it_is(terminal: CommandLine, stack: str) -> None:
    target = ["teil.läufe:überblick", "-i", "wort=Zoë 日本語", "-i", "zahlen=[3, 4]", "--stack", stack]
    answer = terminal("run", *target)
    assert answer.code == 0, answer.out + answer.err
    run = terminal("runs", "show", "latest", "--stack", stack, "-o", "json").json["item"]
    value = service.result(service.choose_stack(stack), run["id"])
    assert (value["wort"], value["pool"], value["calls"]) == ("Zoë 日本語", [6, 8], [6, 8])
    if stack == "lab":  # in the job there is what was sent, and nothing of what git ignores or what may be secret
        assert value["found"] == [".gitignore", "absent.py", "broken.py", "fehlt.py", "fine.py", "teil"]
        assert "Not sent, for they may hold secrets: .env" in answer.out
    lines = terminal("runs", "logs", run["id"]).out.splitlines()
    assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(3000)]
    assert "Grüße: 日本語 🎉" in lines
    assert "no newline at the end" in lines
    assert ("from a child" in lines) is (stack == "lab")  # a local run keeps what its own process prints
    assert [artifact["name"] for artifact in run["artifacts"]] == ["übersicht"]


def test_a_module_that_the_image_lacks_is_said_to_be_missing_there(
    terminal: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path("here")
    here.mkdir()
    (here / "colorama_of_nobody_s_image.py").write_text("")
    Path(".gitignore").write_text("here/\n")
    monkeypatch.syspath_prepend(str(here.absolute()))
    answer = terminal("run", "fehlt.py:f", "--stack", "lab")
    assert answer.code == 1
    assert "No module named 'colorama_of_nobody_s_image'" in answer.out
    assert "it is missing in the job's image" in answer.out
    assert "clary sandbox start --detach --with colorama_of_nobody_s_image" in answer.out


def test_of_two_resumes_at_once_one_wins(lab: Lab, terminal: CommandLine) -> None:
    begun = terminal("run", "fine.py:steps", "-i", "pause=60", "--stack", "lab", "-d", "-o", "json").json["item"]["id"]
    terminal("runs", "stop", begun)
    assert service.wait(lab.stack, begun, 60).status == "stopped"

    def resumed(_: int) -> str:
        try:
            return service.resume(lab.stack, begun).status
        except ConflictError as refusal:
            return refusal.code

    with ThreadPoolExecutor(2) as both:
        outcomes = list(both.map(resumed, range(2)))
    assert sorted(outcomes) == ["run.is_live", "submitted"]
    terminal("runs", "stop", begun)
    assert len(service.wait(lab.stack, begun, 60).attempts) == 2


def test_a_killed_local_run_is_interrupted_at_once_and_goes_on(terminal: CommandLine) -> None:
    command = [
        str(Path(sys.executable).parent / "clary"),
        "run",
        "fine.py:steps",
        "-i",
        "pause=4",
        "--stack",
        "local",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    latest = ["runs", "show", "latest", "--stack", "local", "-o", "json"]

    def first_call() -> dict[str, Any] | None:
        answer = terminal(*latest)
        item: dict[str, Any] | None = answer.json["item"] if answer.code == 0 else None
        return item if item and item["status"] == "running" and item["calls"] else None

    run = until(first_call)["id"]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    shown = [line.split() for line in terminal("runs", "list", "--stack", "local").out.splitlines()]
    assert next(row[2] for row in shown if row[0] == run) == "interrupted"
    again = terminal("runs", "resume", run)
    assert again.code == 0, again.out
    assert "kept from attempt 1, not run again" in again.out


# -- `-o json`


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command of the tree that does something, with its words."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


LEAVES = dict(leaves(root))


def one_document(answer: Answer, words: tuple[str, ...]) -> dict[str, Any]:
    """Return what stdout holds, which must be one document of the documented form."""
    assert answer.err == "", answer.err
    document: dict[str, Any] = answer.json
    assert document["command"] == " ".join(words)
    assert set(document) in ({"command", "item"}, {"command", "items", "count"})
    assert "items" not in document or document["count"] == len(document["items"])
    return document


@pytest.mark.timeout(180)
def test_every_command_answers_with_one_json_document_and_nothing_else(
    lab: Lab, terminal: CommandLine, tmp_path: Path
) -> None:
    assert {words for words, _ in STEPS} == set(LEAVES)
    data, image = tmp_path / "sandbox", str(lab.stack.image)
    try:
        for words, arguments in STEPS:
            given = [argument.replace("DATA", str(data)).replace("IMAGE", image) for argument in arguments]
            answer = terminal(*words, *given, "--output", "json")
            assert answer.code in {0, 1, 3}, (words, answer)
            one_document(answer, words)
    finally:
        if api.running(data) is not None:
            api.stop(data)
        terminal("stack", "use", "local")
        terminal("stack", "delete", "sandbox")  # made by the start: it points at what is gone


def test_followed_logs_are_json_lines(terminal: CommandLine) -> None:
    run = terminal("run", "fine.py:steps", "--stack", "lab", "-d", "-o", "json").json["item"]["id"]
    answer = terminal("runs", "logs", "--follow", run, "-o", "json")
    events = [json.loads(line) for line in answer.out.splitlines()]
    assert answer.err == ""
    assert {event["event"] for event in events[:-1]} <= {"log"}
    assert events[-1] == {"event": "terminal", "run": run, "status": "completed"}


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_refusal_is_one_json_document_on_stderr(
    terminal: CommandLine, words: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    places = {"DATA": str(tmp_path / "nothing"), "FILE": str(file)}
    for arguments in (["--no-such-option"], REFUSALS[words]):
        answer = terminal(*words, *(places.get(argument, argument) for argument in arguments), "--output", "json")
        assert answer.code in {1, 2}
        assert answer.error["code"] != "internal.unexpected"
        assert {"code", "type", "message", "next_step", "retry"} <= set(answer.error)
        assert json.loads(answer.err)["command"] == " ".join(words)
    assert not (tmp_path / "nothing").exists()
