"""Write the reference pages that are made from the code: the command line, the settings, and those of a job.

``python scripts/gen_docs.py`` writes them, ``--check`` only tells (exit code 1) which are not current.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import image_page
import job_settings_page

from clary import config
from clary.cli.component_kind import ComponentGroup
from clary.cli.main import root
from clary.stacks import flavors
from clary.stacks.flavors import KINDS, Flavor

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
MADE = "<!-- Made by scripts/gen_docs.py: change the code, then run it. -->"
INTRODUCTION = """\
Every command takes `-o json`: stdout is then nothing but one JSON document, `{"command", "item"}` or
`{"command", "items", "count"}`, and an error is `{"command", "error"}` on stderr. `runs logs -f -o json` writes one
JSON object a line. JSON has no number for what is none or infinite: that is the text `"NaN"`, `"Infinity"` or
`"-Infinity"`. Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 3 the run that was followed or
waited for waits itself, for an answer or a moment, 130 Ctrl-C. `clary executions` is another name of `clary runs`. The
groups of components (`orchestrator`, `artifact-store`, `container-registry`, `image-builder`, `secrets-manager`) have
the same commands, shown once; `artifact_store` and the like work too."""
OTHER_VARIABLES = """\
Further variables are read by the libraries Clary stands on: `NO_COLOR` (no colour, if it is not empty), and those of
the AWS SDK (`AWS_PROFILE`, `AWS_REGION`, `AWS_CA_BUNDLE` and the rest) for stacks without credentials of their own."""

WHO_WINS = """\
For `stack`, `image`, `cache`, `retries`, `on_change` and each [job setting](job-settings.md) the first of these that
says something wins:

1. the run: `clary run --stack --image --retries --cache --set NAME=VALUE`; in Python `FLOW.with_options(…)`
2. the flow's decorator: `@flow(stack=…, image=…, instance_type=…)`
3. `clary.configure(…)` in this process
4. the environment: `CLARY_STACK`, `CLARY_IMAGE`, `CLARY_CACHE`, `CLARY_RETRIES`, `CLARY_ON_CHANGE`, `CLARY_SETTINGS`
5. `[tool.clary]` and `[tool.clary.settings]` of the nearest `pyproject.toml`
6. what is saved on this machine: `clary config set NAME VALUE`, for the stack `clary stack use NAME`
7. what the stack says of its image and its jobs
8. the default

Job settings that are objects (`tags`, `environment`, `input_data`, `metric_definitions`, `request`) are merged key by
key, `retries` field by field. `clary config show` prints every value that holds and where it comes from.

What holds is frozen into the run: `clary runs show RUN --spec` prints it, and a resume keeps it, but for what `clary
runs resume` is given itself, what has changed in the flow's code, and what belongs to the stack. `KITARU_STACK`,
`KITARU_CACHE`, `KITARU_RETRIES`, `KITARU_IMAGE` and `[tool.kitaru]` are not read; a note says what to write. A
note also names every variable `CLARY_…` that nothing reads, such as a misspelt one."""

ABOUT_FLAVORS = """\
A flavor is what a component can be: each has options of its own. `clary orchestrator flavor list` lists those that are
installed, with the package that offers each; `clary orchestrator flavor describe sagemaker` shows one. On the command
line and in files hyphens and underscores are the same, and values are YAML."""
OFFERING = """
## A flavor of your own

A flavor is a value, and a package offers it by an entry point of the group `clary.flavors` that is named
`<kind>.<flavor>`. Clary's own are found in the same way.

```python
# teamcloud.py
from clary.stacks.flavors import Flavor, Option

STORE = Flavor(
    "artifact_store",
    "teamcloud",
    "Keeps runs in the bucket of a team.",
    (
        Option("team", "Whose bucket.", required=True, metavar="TEAM"),
        Option("folder", "Where in it.", aliases=("prefix",), metavar="FOLDER"),
    ),
    lambda options: {"artifact_store": f"s3://{options['team']}-runs/{options.get('folder', '')}".rstrip("/")},
)
```

```toml
# pyproject.toml
[project.entry-points."clary.flavors"]
"artifact_store.teamcloud" = "teamcloud:STORE"
```

The function at the end turns checked options into fields of `clary.stacks.model.Stack`, which are all that the rest of
Clary sees. It is asked when a component is made or changed, and what it gives is kept with the component. An
orchestrator provides at least `type` (`sagemaker` or `local`), an artifact store `artifact_store`, a container registry
`container_registry`, an image builder `image_builder`, a secrets manager `secrets`. `Option(check=…)` takes a function
that says what is wrong with a value, or returns None; `problems=` one that judges all options together; `refused=`
names options that people may bring from elsewhere, with what to do instead. A flavor that cannot be loaded, or that two
packages offer, is refused as `flavor.broken`; `flavor list` shows it with the reason.

What Clary asks of a flavor is a set of tests that you run in your own suite, with the package installed:

```python
from clary.stacks.flavors.contract import FlavorContract
from teamcloud import STORE


class TestStore(FlavorContract):
    flavor = STORE
    example = {"team": "ml", "folder": "runs"}
    bad = [{"folder": "runs"}, {"team": ""}]
```
"""


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
    if isinstance(command, ComponentGroup) and command.kind.name != next(iter(KINDS)):
        return  # the same commands as those of the first kind
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
        "## Which value wins",
        WHO_WINS,
    ]
    return "\n\n".join(parts) + "\n"


def all_flavors() -> str:
    """Return the page of the flavors: every built-in one with its options, and how to offer another."""
    parts = ["# Flavors", MADE, ABOUT_FLAVORS]
    for kind, of in KINDS.items():
        parts.append(f"## {of.command}")
        parts += [flavor(flavors.find(kind, name)) for name in flavors.names(kind)]
    return "\n\n".join([*parts, OFFERING.strip()]) + "\n"


def flavor(of: Flavor) -> str:
    """Return the section of one flavor."""
    parts = [f"### {of.kind.replace('_', '-')}: {of.name}", of.summary]
    if of.options:
        lines = ["| option | value | needed | meaning |", "| --- | --- | --- | --- |"]
        for option in of.options:
            others = f" Also `{'`, `'.join(option.aliases)}`." if option.aliases else ""
            needed = "yes" if option.required else ""
            lines.append(f"| `{option.name}` | `{option.metavar}` | {needed} | {option.meaning}{others} |")
        parts.append("\n".join(lines))
    else:
        parts.append("It takes no options.")
    if of.known():
        parts.append("Every [job setting](job-settings.md) is an option too: the default of this orchestrator's jobs.")
    if of.refused:
        refused = [f"- `{name}`: {instead}" for name, instead in of.refused.items()]
        parts.append("\n".join(["Options of other tools that are refused, with what to do instead:", "", *refused]))
    return "\n\n".join(parts)


def table(headers: tuple[str, str], rows: dict[str, str]) -> str:
    """Return a table of two columns, the first as code."""
    lines = [f"| {headers[0]} | {headers[1]} |", "| --- | --- |"]
    return "\n".join(lines + [f"| `{name}` | {meaning} |" for name, meaning in rows.items()])


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": commands,
    "settings.md": settings,
    "flavors.md": all_flavors,
    "job-settings.md": lambda: job_settings_page.page(MADE),
    "image.md": lambda: image_page.page(MADE),
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
