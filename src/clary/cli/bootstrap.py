"""``clary bootstrap``: what a stack stands on in AWS, shown, made, or taken away."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import click

from clary.cli import output, state
from clary.cli.commands import Command
from clary.cli.output import say
from clary.errors import UsageError

if TYPE_CHECKING:
    from clary.stacks.bootstrap.cloudformation import Event
    from clary.stacks.bootstrap.service import Applied, Setup


@click.command("bootstrap", cls=Command)
@click.option("--region", required=True, metavar="REGION", help="The AWS region.")
@click.option("--name", default="team", show_default=True, metavar="NAME", help="Part of the names of what is made.")
@click.option("--apply", "apply_", is_flag=True, help="Make it, or bring it up to date.")
@click.option("--destroy", is_flag=True, help="Take it away, if bucket and repository are empty.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --destroy.")
@click.option("--endpoint-url", metavar="URL", help="An endpoint to use in place of AWS's public ones.")
@click.option(
    "--credentials", metavar="SOURCE", help="aws-profile:NAME or aws-credentials-file:PATH. Default: the AWS chain."
)
def bootstrap(
    region: str, name: str, apply_: bool, destroy: bool, yes: bool, endpoint_url: str | None, credentials: str | None
) -> None:
    """Make what a stack needs in an AWS account: bucket, image repository, roles, log groups.

    Without --apply it shows what would be made, as a CloudFormation template and in words, and asks AWS for nothing.
    With --apply it is made; it ends with the command that makes a stack of it.
    """
    from clary.stacks.bootstrap.service import Setup

    if apply_ and destroy:
        raise UsageError(
            "bootstrap.apply_or_destroy",
            "--apply and --destroy were both given.",
            next_step="Give one of them.",
            field="destroy",
        )
    setup = Setup(name, region, endpoint_url, credentials)
    if apply_:
        _apply(setup)
    elif destroy:
        _destroy(setup, yes=yes)
    else:
        _show(setup)


def _show(setup: Setup) -> None:
    from clary.stacks.bootstrap.service import wanted

    template, words = wanted(setup)

    def text() -> None:
        import yaml

        plain = json.loads(json.dumps(template))  # no part twice the same object: YAML's aliases are not for everybody
        for line in words:
            say(line)
        say()
        say(yaml.safe_dump(plain, sort_keys=False, width=120).rstrip())
        say()
        say("Nothing was made. Run the command again with --apply to make it.")

    output.item({"name": setup.name, "region": setup.region, "resources": words, "template": template}, text)


def _apply(setup: Setup) -> None:
    from clary.stacks.bootstrap.service import apply

    done = apply(setup, _tell)
    for warning in done.warnings:
        output.warn(warning)
    data: dict[str, Any] = {
        "name": setup.name,
        "region": setup.region,
        "change": done.change,
        "cloudformation_stack": done.stack,
        "artifact_store": done.artifact_store,
        "container_registry": done.container_registry,
        "roles": done.roles,
        "notes": list(done.notes),
        "warnings": list(done.warnings),
        "arguments": list(done.arguments),
        "command": _command(done),
    }
    output.item(data, lambda: _print_applied(done))


def _print_applied(done: Applied) -> None:
    say(f"CloudFormation stack {done.stack}: {done.change}")
    output.rows(
        [
            ("Artifacts", done.artifact_store),
            ("Registry", done.container_registry),
            *((f"{kind.title()} role", arn) for kind, arn in done.roles.items()),
        ]
    )
    for note in done.notes:
        say(note)
    say()
    say("Make a stack of it:")
    say(f"  {_command(done)}")


def _destroy(setup: Setup, *, yes: bool) -> None:
    from clary.stacks.bootstrap.service import destroy

    deleted: list[str] = []

    def agree(things: list[str]) -> None:
        deleted.extend(things)
        if yes:
            return
        if not state.interactive():
            raise UsageError(
                "bootstrap.not_agreed",
                f"Nobody can be asked whether to delete: {', '.join(things)}.",
                next_step="Add --yes.",
                field="yes",
            )
        click.confirm(f"Delete {', '.join(things)}?", abort=True, err=True)

    left = destroy(setup, agree, _tell)
    data = {"name": setup.name, "region": setup.region, "deleted": deleted, "notes": left}

    def text() -> None:
        for line in (*(f"Deleted: {thing}" for thing in deleted), *left):
            say(line)

    output.item(data, text)


def _tell(event: Event) -> None:
    """Print one step on stderr, where it does not mix with the result; none in JSON mode."""
    if state.current().json:
        return
    reason = f"  {event.reason}" if event.reason else ""
    words = f"{event.status.lower().replace('_', ' ')}: {event.resource} ({event.type}){reason}"
    click.echo(output.style(words, "red" if event.status.endswith("_FAILED") else None, error=True), err=True)


def _command(done: Applied) -> str:
    return shlex.join(("clary", *done.arguments))
