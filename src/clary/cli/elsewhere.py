"""Commands and kinds of components that other tools have and Clary has not: why, and what to do instead."""

from __future__ import annotations

import click

from clary.cli.commands import Command
from clary.cli.component_kind import current_kind
from clary.cli.other_kinds import no_such_kind
from clary.errors import UsageError
from clary.stacks.flavors import GROUP, with_article

ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Whatever was typed behind such a command, the answer is the same."""


@click.command("elsewhere", cls=Command, context_settings=ANYTHING)
@click.pass_context
def other_kind(ctx: click.Context) -> None:
    """Not here: a stack of Clary has no component of this kind."""
    raise no_such_kind(str(ctx.info_name))


@click.command("integration", cls=Command, context_settings=ANYTHING)
def integration() -> None:
    """Not here: AWS belongs to Clary, and flavors come with packages."""
    raise UsageError(
        "component.no_integrations",
        "Clary has no integrations to install: AWS belongs to it, and other flavors come with their packages.",
        next_step="Go on with `clary orchestrator register`; a package with flavors is installed like any other.",
    )


@click.command("connect", cls=Command, context_settings=ANYTHING)
def connect() -> None:
    """Not here: credentials are an option of a component."""
    _refuse_connectors()


@click.command("disconnect", cls=Command, context_settings=ANYTHING)
def disconnect() -> None:
    """Not here: credentials are an option of a component."""
    _refuse_connectors()


@click.command("logs", cls=Command, context_settings=ANYTHING)
def logs() -> None:
    """Not here: see `clary runs logs`."""
    raise UsageError(
        "component.no_logs",
        f"There are no logs of {with_article(current_kind().name)}: Clary keeps nothing running for a component.",
        next_step="Read a run's: clary runs logs latest.",
    )


@click.command("register", cls=Command, context_settings=ANYTHING)
def flavor_register() -> None:
    """Not here: a package offers its flavors."""
    kind = current_kind().name
    raise UsageError(
        "flavor.by_package",
        "Flavors are not registered: the package that has one offers it, and it is there once that is installed.",
        next_step=f'Add to the package\'s pyproject.toml, under [project.entry-points."{GROUP}"]: '
        f'"{kind}.NAME" = "MODULE:FLAVOR"; docs/reference/flavors.md has an example.',
    )


@click.command("delete", cls=Command, context_settings=ANYTHING)
def flavor_delete() -> None:
    """Not here: a flavor goes with its package."""
    raise UsageError(
        "flavor.by_package",
        "Flavors are not deleted: each is there as long as the package that offers it is installed.",
        next_step=f"Uninstall that package; `clary {current_kind().command} flavor list` names it.",
    )


@click.command("connect", cls=Command, context_settings=ANYTHING)
def stack_connect() -> None:
    """Not here: credentials are part of the stack."""
    _refuse_connectors("stack")


@click.command("deploy", cls=Command, context_settings=ANYTHING)
def stack_deploy() -> None:
    """Not here: see `clary bootstrap`."""
    raise UsageError(
        "stack.no_deploy",
        "`clary bootstrap` makes what a stack stands on, as a CloudFormation stack that you see first.",
        next_step="Run `clary bootstrap --region REGION`, then with --apply; it ends with the `stack create` command.",
    )


@click.command("register-secrets", cls=Command, context_settings=ANYTHING)
def stack_register_secrets() -> None:
    """Not here: see `clary secrets`."""
    raise UsageError(
        "stack.no_secret_registration",
        "A stack holds no secrets: it refers to them by name, as {{secrets.NAME.KEY}}.",
        next_step="Run `clary secrets set NAME --KEY=VALUE`.",
    )


def _refuse_connectors(command: str | None = None) -> None:
    command = command or current_kind().command
    whose = command if command in ("stack", "orchestrator", "artifact-store") else "orchestrator"
    raise UsageError(
        "stack.no_connectors",
        "Clary has no service connectors: a stack names the source of its credentials itself, as an option.",
        next_step=f"Run `clary {whose} update NAME --credentials=aws-profile:PROFILE`: they hold for the whole stack.",
    )
