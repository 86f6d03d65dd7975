"""The root of the command line, and the one place where errors become text or JSON and an exit code."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import click

from clary._version import __version__
from clary.cli import failures
from clary.cli.commands import Group, Lazy
from clary.cli.other_commands import OTHER_COMMANDS
from clary.cli.other_kinds import OTHER_KINDS
from clary.cli.state import State
from clary.errors import ClaryError

GROUPS = {
    "run": Lazy("clary.cli.run:run", "Run a flow."),
    "runs": Lazy("clary.cli.runs:runs", "List, show, follow, stop and resume runs."),
    "stack": Lazy("clary.cli.stack:stack", "Make and choose the places where runs happen."),
    "artifacts": Lazy("clary.cli.artifacts:artifacts", "List, show and get what a run has kept."),
    "image": Lazy("clary.cli.image:image", "Plan, build, show, compare and verify images."),
    "cache": Lazy("clary.cli.cache:cache", "See and clear what checkpoints take from other runs."),
    "secrets": Lazy("clary.cli.secrets:secrets", "Keep secrets, and refer to them as {{secrets.NAME.KEY}}."),
    "config": Lazy("clary.cli.config:config", "Show what holds for a run and why, and save options on this machine."),
    "doctor": Lazy("clary.cli.doctor:doctor", "Check whether a stack can run, and say how to mend what is wrong."),
    "bootstrap": Lazy("clary.cli.bootstrap:bootstrap", "Make what a stack needs in an AWS account."),
    "iam": Lazy("clary.cli.iam:iam", "Print the least IAM policies for a stack."),
    "sandbox": Lazy("clary.cli.sandbox:sandbox", "Start and stop the local SageMaker."),
    "status": Lazy("clary.cli.info:status", "Show the stack that a run would use now."),
    "info": Lazy("clary.cli.info:info", "Show versions, paths and the environment, for a report of a fault."),
    "orchestrator": Lazy("clary.cli.component:orchestrator", "Register orchestrators: where runs happen."),
    "artifact-store": Lazy(
        "clary.cli.component:artifact_store", "Register artifact stores: where runs and values are kept."
    ),
    "container-registry": Lazy(
        "clary.cli.component:container_registry", "Register container registries: where images are pushed."
    ),
    "image-builder": Lazy("clary.cli.component:image_builder", "Register image builders: how images are made."),
    "secrets-manager": Lazy(
        "clary.cli.component:secrets_manager", "Register secrets managers: where secrets are kept."
    ),
}
"""Every command of the root: the summaries are here so that the root's help imports none of them."""

_HIDDEN = {name: Lazy("clary.cli.elsewhere:other_kind", "Not here.") for name in OTHER_KINDS}
_HIDDEN["integration"] = Lazy("clary.cli.elsewhere:integration", "Not here.")
_HIDDEN |= {name: Lazy("clary.cli.kitaru:other", "Not here.") for name in OTHER_COMMANDS}
"""What other tools have: refused with what to do instead, and in no list."""


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"clary {__version__}")
        ctx.exit()


@click.group(
    "clary",
    cls=Group,
    lazy=GROUPS,
    lazy_hidden=_HIDDEN,
    aliases={
        "executions": "runs",
        "secret": "secrets",
        **{name.replace("-", "_"): name for name in (*GROUPS, *OTHER_KINDS) if "-" in name},
    },
    epilog="`clary COMMAND --help` shows a command. Every command takes `-o json`.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def root() -> None:
    """Run Python as managed Amazon SageMaker jobs."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing but SystemExit leaves it.

    0: done. 1: refused or failed. 2: the command line is wrong. 130: Ctrl-C.
    """
    state = State.of(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character must not end the command
    try:
        answer = root.main(args=list(arguments), prog_name="clary", standalone_mode=False, obj=state)
    except ClaryError as error:
        return failures.refuse(state, error)
    except click.exceptions.NoArgsIsHelpError as error:
        if state.json:
            return failures.refuse(state, failures.from_click(state, error))
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return failures.refuse(state, failures.from_click(state, error))
    except click.Abort:
        return failures.interrupted(state)
    except Exception as error:  # noqa: BLE001 the last resort: people get a sentence, --debug gets the traceback
        return failures.refuse(state, failures.unexpected(error))
    return answer if isinstance(answer, int) else 0


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
