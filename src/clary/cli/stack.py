"""``clary stack``: make, list, show, choose and delete the places where runs happen."""

from __future__ import annotations

import importlib.util
from typing import Any

import click

from clary.cli import output
from clary.cli.commands import Choice, Group
from clary.cli.output import say
from clary.stacks import describe, rules, service
from clary.stacks.model import LOCAL, SANDBOX, Stack

SANDBOX_INSTALL = 'pip install "clary[sandbox]"'


@click.group("stack", cls=Group)
def stack() -> None:
    """Make and choose the places where runs happen."""


@stack.command("create")
@click.argument("name")
@click.option("--type", "type_", type=Choice(rules.TYPES), default=LOCAL, show_default=True, help="Where runs happen.")
@click.option("--artifact-store", metavar="URI", help="sagemaker: s3://BUCKET/PREFIX. local: a folder.")
@click.option("--container-registry", metavar="URI", help="ACCOUNT.dkr.ecr.REGION.amazonaws.com[/REPOSITORY].")
@click.option("--region", metavar="REGION", help="The AWS region.")
@click.option("--execution-role", metavar="ARN", help="The role that jobs run under.")
@click.option("--instance-type", metavar="TYPE", help="The instance of flows that name none, such as ml.m5.xlarge.")
@click.option("--image", metavar="IMAGE", help="The image of flows that name none.")
@click.option("--endpoint-url", metavar="URL", help="An endpoint to use in place of AWS's public ones.")
@click.option(
    "--credentials", metavar="SOURCE", help="aws-profile:NAME or aws-credentials-file:PATH. Default: the AWS chain."
)
@click.option("--no-activate", is_flag=True, help="Do not make it the current stack.")
@click.option("--no-verify", is_flag=True, help="Do not look whether the bucket and the role exist.")
def create(name: str, type_: str, no_activate: bool, no_verify: bool, **options: str | None) -> None:
    """Make the stack NAME and use it from now on.

    A sagemaker stack needs an artifact store, a container registry, a region and an execution role. A sandbox stack
    takes them from the local SageMaker, which is started if it does not run. Nothing is stored when something is
    refused.
    """
    draft = rules.Draft(name=name, type=type_, **options)
    place = None
    if type_ == SANDBOX:
        service.check_new(draft)
        from clary.cli.sandbox import refresh_stacks, running_place

        place = running_place()
        if name != SANDBOX:
            refresh_stacks(place)
    created = service.create(draft, activate=not no_activate, verify=None if no_verify else _verify, place=place)
    for warning in created.warnings:
        output.warn(warning)
    output.item(_created_item(created), lambda: _print_created(created))


@stack.command("list")
def list_() -> None:
    """List the stacks of this machine; the current one is marked active."""
    listing = service.listing()
    data = [_row(entry, listing.current.value) for entry in listing.entries]
    if listing.sandbox_missing:
        data.append(_missing_sandbox())
    output.items(data, lambda: _print_list(data))


@stack.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show one stack, named by name or id, part by part."""
    entry = service.find(name)
    active = service.listing().current.value == entry.stack.name
    parts = describe.components(entry.stack)
    data = {
        **_identity(entry),
        "is_active": active,
        "stack_type": entry.stack.type,
        "components": [part.to_dict() for part in parts],
    }
    output.item(data, lambda: _print_show(entry, parts, active=active))


@stack.command("use")
@click.argument("name")
def use(name: str) -> None:
    """Make NAME the current stack."""
    entry, choice = service.use(name)
    outranked = choice.value != entry.stack.name
    data: dict[str, Any] = {"id": entry.id, "name": entry.stack.name}
    if outranked:
        data["outranked_by"] = {"name": choice.value, "origin": choice.origin, "source": choice.source}
        output.warn(f"runs from here still use {choice.value!r}: {choice.source} outranks the saved choice.")

    def text() -> None:
        say(f"Activated stack: {entry.stack.name}")
        output.rows([("Stack ID", entry.id)])

    output.item(data, text)


@stack.command("current")
def current() -> None:
    """Show the stack that runs would use now, and what decided."""
    entry, choice = service.current()
    data = {"id": entry.id, "name": entry.stack.name, "origin": choice.origin, "source": choice.source}
    output.item(
        data,
        lambda: output.rows(
            [("Active stack", entry.stack.name), ("Stack ID", entry.id), ("Decided by", choice.source)]
        ),
    )


@stack.command("delete")
@click.argument("name")
@click.option("--force", is_flag=True, help="Delete it even if it is the current stack; local becomes current.")
def delete(name: str, force: bool) -> None:
    """Forget the stack NAME. Nothing in AWS and no stored run is touched."""
    deleted = service.delete(name, force=force)
    data: dict[str, Any] = {
        "deleted_stack": deleted.entry.stack.name,
        "components_deleted": [],
        "new_active_stack": deleted.new_current,
        "recursive": False,
    }

    def text() -> None:
        say(f"Deleted stack: {deleted.entry.stack.name}")
        if deleted.new_current:
            say(f"Active stack: {deleted.new_current}")

    output.item(data, text)


def _verify(stack: Stack) -> list[str]:
    from clary.stacks.verify import verify

    return verify(stack)


def _identity(entry: service.Entry) -> dict[str, Any]:
    return {"id": entry.id, "name": entry.stack.name, "is_managed": entry.managed}


def _row(entry: service.Entry, current_name: str) -> dict[str, Any]:
    return {
        **_identity(entry),
        "is_active": entry.stack.name == current_name,
        "stack_type": entry.stack.type,
        "artifact_store": entry.stack.artifact_store,
        "region": entry.stack.region,
    }


def _missing_sandbox() -> dict[str, Any]:
    """Return the row of the sandbox stack that is yet to be made: what it needs, as a command to type."""
    installed = importlib.util.find_spec("moto") is not None
    needs = "clary sandbox start" if installed else SANDBOX_INSTALL
    return {
        "id": None,
        "name": SANDBOX,
        "is_managed": False,
        "is_active": False,
        "stack_type": "sagemaker",
        "needs": needs,
    }


def _created_item(created: service.Created) -> dict[str, Any]:
    entry = created.entry
    return {
        **_identity(entry),
        "is_active": created.current == entry.stack.name,
        "previous_active_stack": created.previous,
        "stack_type": entry.stack.type,
        "components_created": [part.to_dict() for part in describe.components(entry.stack)],
        "service_connectors_created": [],
        "resources": {
            title.lower().replace(" ", "_"): value for title, value in describe.resources(entry.stack).items()
        },
        "warnings": list(created.warnings),
    }


def _print_created(created: service.Created) -> None:
    made = created.entry.stack
    say(f"Created stack: {made.name}" + ("" if made.type == LOCAL else f" ({made.type})"))
    output.rows(describe.resources(made).items())
    if created.previous is not None:
        say(f"Active stack: {created.previous} → {made.name}")


def _print_list(data: list[dict[str, Any]]) -> None:
    for row in data:
        if "needs" in row:
            say(f"{row['name']}: not made yet; it needs: {row['needs']}")
            continue
        active = output.style(" (active)", "green") if row["is_active"] else ""
        place = ", ".join(part for part in (row["stack_type"], row["region"], row["artifact_store"]) if part)
        say(f"{output.style(row['name'], bold=True)}: {row['id']}{active}  {place}")


def _print_show(entry: service.Entry, parts: tuple[describe.Component, ...], *, active: bool) -> None:
    output.rows(
        [
            ("Name", entry.stack.name),
            ("ID", entry.id),
            ("Type", entry.stack.type),
            ("Active", "yes" if active else "no"),
            ("Managed", "yes" if entry.managed else "no"),
            *((describe.ROLE_TITLES[part.role], _component_line(part)) for part in parts),
        ]
    )


def _component_line(part: describe.Component) -> str:
    details = dict(part.details)
    if repository := details.pop("default_repository", None):
        details["location"] = f"{details['location']}/{repository}"
    words = (f"{name.replace('_', ' ')}: {value}" for name, value in details.items())
    return "; ".join((f"{part.name} ({part.backend})", *words))
