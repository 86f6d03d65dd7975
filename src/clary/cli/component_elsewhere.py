"""Commands and kinds of components that other tools have and Clary has not: why, and what to do instead."""

from __future__ import annotations

import click

from clary.cli.commands import Command
from clary.cli.component_kind import current_kind
from clary.errors import UsageError
from clary.stacks.flavors import GROUP, KINDS, title_of, with_article

ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Whatever was typed behind such a command, the answer is the same."""

_IN_CODE = "Use it from the flow's own code; what it needs goes into the flow's image, its keys into `clary secrets`."
OTHER_KINDS = {
    "alerter": "Call what should be told from the flow, as a checkpoint: it is told once however often a run goes on.",
    "annotator": _IN_CODE,
    "data-validator": _IN_CODE,
    "deployer": "Clary runs flows; to serve a model, call SageMaker's API from the last checkpoint.",
    "experiment-tracker": f"{_IN_CODE} What a flow `save`s is kept with the run and shown by `clary runs show`.",
    "feature-store": _IN_CODE,
    "log-store": "Logs are in CloudWatch and in the run: clary runs logs RUN.",
    "model-deployer": "Clary runs flows; to serve a model, call SageMaker's API from the last checkpoint.",
    "model-registry": _IN_CODE,
    "service-connector": "Name the credentials in the orchestrator: clary orchestrator update NAME "
    "--credentials=aws-profile:PROFILE.",
    "step-operator": "Every run is a SageMaker job of its own: choose its machine by @flow(settings=…) or by the "
    "options of the orchestrator.",
}
"""Kinds of components in ZenML's stacks that a stack of Clary does not have, and what to do instead."""


@click.command("elsewhere", cls=Command, context_settings=ANYTHING)
@click.pass_context
def other_kind(ctx: click.Context) -> None:
    """Not here: a stack of Clary has no component of this kind."""
    name = str(ctx.info_name)
    raise UsageError(
        "stack.no_such_component",
        f"A stack of Clary has no {title_of(name.replace('-', '_'))}; it has: "
        f"{', '.join(one.command for one in KINDS.values())}.",
        next_step=OTHER_KINDS[name],
    )


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


def _refuse_connectors() -> None:
    command = current_kind().command
    whose = command if command in ("orchestrator", "artifact-store") else "orchestrator"
    raise UsageError(
        "stack.no_connectors",
        "Clary has no service connectors: the source of its credentials is an option of a component.",
        next_step=f"Run `clary {whose} update NAME --credentials=aws-profile:PROFILE`: they hold for the whole stack.",
    )
