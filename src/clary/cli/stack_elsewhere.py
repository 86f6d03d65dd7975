"""Commands of other tools' stacks that have no place here: each says why, and what to do instead."""

from __future__ import annotations

import click

from clary.cli.commands import Command
from clary.errors import UsageError

_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command("connect", cls=Command, context_settings=_ANYTHING)
def connect() -> None:
    """Not here: credentials are part of the stack."""
    raise UsageError(
        "stack.no_connectors",
        "Clary has no service connectors: a stack names the source of its credentials itself.",
        next_step="Run `clary stack update NAME --credentials aws-profile:PROFILE`.",
    )


@click.command("deploy", cls=Command, context_settings=_ANYTHING)
def deploy() -> None:
    """Not here: see `clary bootstrap`."""
    raise UsageError(
        "stack.no_deploy",
        "`clary bootstrap` makes what a stack stands on, as a CloudFormation stack that you see first.",
        next_step="Run `clary bootstrap --region REGION`, then with --apply; it ends with the `stack create` command.",
    )


@click.command("register-secrets", cls=Command, context_settings=_ANYTHING)
def register_secrets() -> None:
    """Not here: see `clary secrets`."""
    raise UsageError(
        "stack.no_secret_registration",
        "A stack holds no secrets: it refers to them by name, as {{secrets.NAME.KEY}}.",
        next_step="Run `clary secrets set NAME --KEY=VALUE`.",
    )
