"""Write the reference pages that are made from the code: the command line, the settings, and those of a job.

``python scripts/gen_docs.py`` writes them, ``--check`` only tells (exit code 1) which are not current.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import job_settings_page

from clary import config
from clary.cli.main import root

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
MADE = "<!-- Made by scripts/gen_docs.py: change the code, then run it. -->"
INTRODUCTION = """\
Every command takes `-o json`: stdout is then nothing but one JSON document, `{"command", "item"}` or
`{"command", "items", "count"}`, and an error is `{"command", "error"}` on stderr. `runs logs -f -o json` writes one
JSON object a line. Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 130 Ctrl-C. `clary executions`
is another name of `clary runs`."""
OTHER_VARIABLES = """\
Further variables are read by the libraries Clary stands on: `NO_COLOR` (no colour, if it is not empty), and those of
the AWS SDK (`AWS_PROFILE`, `AWS_REGION`, `AWS_CA_BUNDLE` and the rest) for stacks without credentials of their own."""


def commands() -> str:
    """Return the page of the command line: the help of every command."""
    parts = ["# The command line", MADE, INTRODUCTION]
    for path, command in walk(root, "clary", None):
        parts.append(f"## {path}" if path.count(" ") < 2 else f"### {path}")
        parts.append(f"```\n{command}\n```")
    return "\n\n".join(parts) + "\n"


def walk(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    """Yield the full name and the help of a command and of every command under it."""
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=100, color=False, help_option_names=["-h", "--help"]
    )
    yield context.command_path, command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from walk(found, child, context)


def settings() -> str:
    """Return the page of the settings: environment variables, project file, and who wins."""
    parts = [
        "# Settings",
        MADE,
        "## Environment variables",
        table(("variable", "meaning"), config.ENVIRONMENT),
        OTHER_VARIABLES,
        "## `[tool.clary]` in `pyproject.toml`",
        "The nearest `pyproject.toml` at or above the current folder is read. A key that nothing reads is an error.",
        table(("key", "meaning"), config.PROJECT_SETTINGS),
        "## Set inside a job",
        "The container of a job has these; they are read, never set, by people.",
        table(("variable", "meaning"), config.JOB_ENVIRONMENT),
        "## Which stack runs",
        "\n".join(
            (
                '1. the run: `--stack`, or `.on("NAME")` in Python',
                "2. the flow's decorator: `@flow(stack=…)`",
                "3. `clary.config.configure(stack=…)` in this process",
                "4. the environment variable `CLARY_STACK`",
                "5. `stack` in `[tool.clary]` of the nearest `pyproject.toml`",
                "6. the saved current stack: `clary stack use NAME`",
                "7. `local`",
            )
        ),
        "`clary stack current` shows the stack that would run now and which of these decided.",
    ]
    return "\n\n".join(parts) + "\n"


def table(headers: tuple[str, str], rows: dict[str, str]) -> str:
    """Return a table of two columns, the first as code."""
    lines = [f"| {headers[0]} | {headers[1]} |", "| --- | --- |"]
    return "\n".join(lines + [f"| `{name}` | {meaning} |" for name, meaning in rows.items()])


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": commands,
    "settings.md": settings,
    "job-settings.md": lambda: job_settings_page.page(MADE),
}


def main(*, check: bool) -> int:
    """Write the pages, or tell which differ from what would be written."""
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"not current: {', '.join(stale)}; run python scripts/gen_docs.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
