"""The stack that is always there, on a fresh machine: every command that shows it."""

from __future__ import annotations

import pytest

from command_line import CommandLine, clary

__all__ = ["clary"]


@pytest.mark.parametrize("command", ["stack show", "stack describe local", "stack diff local local", "stack export"])
def test_the_built_in_stack_is_shown(clary: CommandLine, command: str) -> None:
    shown = clary(*command.split())
    assert (shown.code, shown.err) == (0, "")
    assert clary(*command.split(), "-o", "json").json


def test_where_it_keeps_its_runs_is_told(clary: CommandLine) -> None:
    item = clary("stack", "show", "-o", "json").json["item"]
    store = item["components"][1]
    assert store["details"]["location"].endswith("/local")
    assert item["settings"] == [
        {"name": "artifact_store", "value": store["details"]["location"], "origin": "artifact store local"}
    ]


def test_an_imported_file_may_be_named_in_two_ways(clary: CommandLine) -> None:
    assert clary("stack", "import", "x", "--file", "none.yaml", "-o", "json").error["code"] == "stack.bad_file"
