"""The root: cheap to start, helpful when misspelt, one shape of error, one line for Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click
import pytest

from clary._version import __version__
from clary.cli.main import GROUPS
from clary.errors import ConfigError, NotFoundError
from clary.stacks import service

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

HEAVY = {"rich", "boto3", "botocore", "pydantic", "sqlalchemy", "yaml", "moto", "obstore", "httpx2", "uv"}
LISTER = f"""
import sys
from clary.cli.main import run
code = run(sys.argv[1:])
loaded = {{name.partition(".")[0] for name in sys.modules}} & {HEAVY!r}
groups = [name for name in sys.modules if name in {{"clary.cli." + g for g in {list(GROUPS)!r}}}]
print("LOADED", sorted(loaded), sorted(groups), code)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["stak"]])
def test_the_root_imports_no_group_and_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LISTER, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith("LOADED [] [] "), done.stdout


@pytest.mark.parametrize("arguments", [["stack", "list"], ["stack", "--help"], ["runs", "--help"], ["run", "--help"]])
def test_reading_commands_import_nothing_heavy(arguments: list[str], clary: CommandLine) -> None:
    done = subprocess.run([sys.executable, "-c", LISTER, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith("LOADED [] "), done.stdout


def test_version(clary: CommandLine) -> None:
    answer = clary("--version")
    assert (answer.code, answer.out) == (0, f"clary {__version__}\n")


def test_the_summaries_of_lazy_groups_are_those_of_the_commands() -> None:
    for name, lazy in GROUPS.items():
        module, _, attribute = lazy.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert command.name == name
        assert isinstance(command, click.Command)


def test_no_command_shows_the_help(clary: CommandLine) -> None:
    answer = clary()
    assert answer.code == 2
    assert "Commands:" in answer.err
    assert clary("stack", "-o", "json").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["stak", "list"], "cli.no_such_command", "clary stack"),
        (["stack", "lst"], "cli.no_such_command", "clary stack list"),
        (["executons", "list"], "cli.no_such_command", "executions"),
        (["zzzz"], "cli.no_such_command", "--help"),
        (["stack", "list", "--ouput", "json"], "cli.no_such_option", "--output"),
        (["stack", "create", "x", "--regoin", "y"], "cli.no_such_option", "--region"),
        (["stack", "create", "x", "--type", "sagemkr"], "stack.unknown_type", "sagemaker"),
        (["stack", "list", "-o", "jsn"], "cli.usage", "json"),
        (["stack", "use"], "cli.usage", "clary stack use --help"),
        (["stack", "create", "x", "--region"], "cli.usage", "clary stack create --help"),
        (["runs", "list", "--status", "runing"], "cli.usage", "running"),
    ],
)
def test_a_misspelt_word_gets_the_nearest_right_one(
    clary: CommandLine, arguments: list[str], code: str, hint: str
) -> None:
    answer = clary(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert hint in answer.err
    assert f"Code: {code}" in answer.err
    assert "Traceback" not in answer.err


def test_errors_are_json_when_asked_for_even_before_parsing(clary: CommandLine) -> None:
    for form in (["-o", "json"], ["--output", "json"], ["--output=json"], ["-ojson"], ["-do", "json"]):
        answer = clary("stack", "list", "--nope", *form)
        assert answer.code == 2
        assert answer.error["code"] == "cli.no_such_option"
        assert json.loads(answer.err)["command"] == "stack list"
    error = clary("stack", "show", "nowhere", "-o", "json").error
    assert (error["code"], error["type"]) == ("stack.not_found", "NotFoundError")
    assert error["next_step"]


def test_a_fault_of_clary_is_a_sentence_and_a_traceback_only_on_request(
    clary: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        message = "boom"
        raise RuntimeError(message)

    monkeypatch.setattr(service, "listing", broken)
    answer = clary("stack", "list")
    assert answer.code == 1
    assert "internal.unexpected" in answer.err
    assert "--debug" in answer.err
    assert "issue" in answer.err
    assert "Traceback" not in answer.err
    assert "in broken" in clary("stack", "list", "--debug").err
    monkeypatch.setenv("CLARY_DEBUG", "1")
    assert "in broken" in clary("stack", "list").err
    assert "in broken" in clary("stack", "list", "-o", "json").error["traceback"]


def test_an_expected_error_has_a_traceback_only_on_request(clary: CommandLine) -> None:
    assert "Traceback" not in clary("stack", "show", "nowhere").err
    assert NotFoundError.__name__ in clary("stack", "show", "nowhere", "--debug").err


def test_ctrl_c_is_one_line_and_130(clary: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(service, "listing", interrupt)
    answer = clary("stack", "list")
    assert answer.code == 130
    assert answer.err.strip() == "Interrupted."
    assert clary("stack", "list", "-o", "json").error["code"] == "cli.interrupted"


def test_executions_is_another_name_of_runs(clary: CommandLine) -> None:
    assert clary("executions", "list", "--help").out == clary("runs", "list", "--help").out
    assert "executions" not in clary("--help").out


def _leaves(command: click.Command) -> list[click.Command]:
    if not isinstance(command, click.Group):
        return [command]
    return [leaf for below in command.commands.values() for leaf in _leaves(below)]


@pytest.mark.parametrize("group", list(GROUPS))
def test_every_command_takes_the_common_options(group: str) -> None:
    module, _, attribute = GROUPS[group].target.partition(":")
    command = getattr(import_module(module), attribute)
    for leaf in _leaves(command):
        names = {name for parameter in leaf.params for name in parameter.opts}
        assert {"-o", "--output", "--debug"} <= names, leaf.name
        assert leaf.help, leaf.name


def test_the_last_output_option_counts(clary: CommandLine) -> None:
    assert clary("stack", "list", "-o", "json", "-o", "text").out.startswith("local:")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "files.no_space"),
        (errno.EDQUOT, "files.no_space"),
        (errno.EROFS, "files.not_allowed"),
        (errno.EACCES, "files.not_allowed"),
        (errno.EIO, "internal.unexpected"),
    ],
)
def test_a_disk_that_takes_no_more_is_no_fault_of_clary(
    clary: CommandLine, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def write() -> None:
        raise OSError(number, os.strerror(number), "/somewhere/file")

    monkeypatch.setattr(service, "listing", write)
    answer = clary("stack", "list")
    assert answer.code == 1
    assert f"Code: {code}" in answer.err
    assert "/somewhere/file" in answer.err
    assert "in write" in clary("stack", "list", "--debug").err


def test_what_an_image_is_made_of_is_said_as_json_or_in_a_file(tmp_path: Path) -> None:
    from clary.cli.image_options import image_value

    made_of = {"requirements": ["polars"], "env": {"LEVEL": "low"}}
    (tmp_path / "image.yaml").write_text(json.dumps(made_of))
    assert image_value("host/repository:tag") == "host/repository:tag"
    assert image_value(json.dumps(made_of)) == image_value(f"@{tmp_path / 'image.yaml'}") == made_of
    for text, said in (('{"requirements": [', "is no JSON"), (f"@{tmp_path / 'none.yaml'}", "No such file")):
        with pytest.raises(ConfigError, match=said):
            image_value(text)
