"""``clary stack register|update|remove-component|rename|copy``: stacks composed and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from clary.cli import output, stack_text
from clary.cli.commands import Command
from clary.cli.output import say
from clary.cli.stack import show_created
from clary.cli.stack_options import ComposeCommand, component_options, extra_option, no_verify_option, verify
from clary.errors import UsageError
from clary.stacks import changes, forms, service
from clary.stacks.draft import RUNNER, parse_extra
from clary.stacks.flavors import KINDS


@click.command("register", cls=ComposeCommand)
@click.argument("name")
@component_options
@click.option("--set", "activate", is_flag=True, help="Make it the current stack.")
@no_verify_option
def register(name: str, activate: bool, no_verify: bool, **chosen: str | None) -> None:
    """Compose the stack NAME of registered components.

    A component belongs to as many stacks as name it. -o is the orchestrator here; for JSON write --output json.
    """
    parts = {kind: given for kind in KINDS if (given := chosen.get(kind)) is not None}
    made = service.register(name, parts, activate=activate, verify=None if no_verify else verify)
    show_created(made)


@click.command("update", cls=ComposeCommand)
@click.argument("name")
@component_options
@click.option("--region", metavar="REGION")
@click.option("--execution-role", "--execution_role", "execution_role", metavar="ARN")
@click.option("--instance-type", "--instance_type", "instance_type", metavar="TYPE")
@click.option("--image", metavar="IMAGE")
@click.option("--endpoint-url", "--endpoint_url", "endpoint_url", metavar="URL")
@click.option("--credentials", metavar="SOURCE")
@extra_option
@click.option("--unset", multiple=True, metavar="TARGET.FIELD", help="Take an option out. May be repeated.")
@click.option("--async/--no-async", "run_async", default=None, help="Whether `clary run` returns at once.")
@no_verify_option
def update(
    name: str,
    extra: tuple[str, ...],
    unset: tuple[str, ...],
    run_async: bool | None,
    no_verify: bool,
    **given: str | None,
) -> None:
    """Change the stack NAME: its own options, or the components it has.

    --artifact-store and --container-registry take an address, which changes the stack's own component, or the name of
    a registered one, which replaces it. -o is the orchestrator here; for JSON write --output json.
    """
    options: dict[str, dict[str, Any]] = parse_extra(extra)
    runner: dict[str, Any] = {key: given[key] for key in RUNNER if given.get(key) is not None}
    if run_async is not None:
        runner["synchronous"] = not run_async
    if runner:
        options["orchestrator"] = {**runner, **options.get("orchestrator", {})}
    chosen = _take_addresses(given, options)
    paths = [_path(path) for path in unset]
    if not (options or chosen or paths):
        raise UsageError(
            "stack.nothing_to_change",
            "Nothing to change was given.",
            next_step="Give for example --extra orchestrator.instance_type=ml.m5.xlarge; --help lists the rest.",
        )
    updated = changes.update(name, options=options, unset=paths, chosen=chosen, verify=None if no_verify else verify)
    _show_updated(updated)


@click.command("remove-component", cls=ComposeCommand)
@click.argument("name")
@click.option("-c", "--container-registry", "--container_registry", "container_registry", is_flag=True)
@click.option("-i", "--image-builder", "--image_builder", "image_builder", is_flag=True)
@click.option("-x", "--secrets-manager", "--secrets_manager", "secrets_manager", is_flag=True)
def remove_component(name: str, **removed: bool) -> None:
    """Take components out of the stack NAME; they stay registered."""
    kinds = [kind for kind, wanted in removed.items() if wanted]
    if not kinds:
        raise UsageError(
            "stack.nothing_to_change",
            "No kind of component was named.",
            next_step="Give -c, -i or -x. Every stack keeps an orchestrator and an artifact store.",
        )
    _show_updated(changes.update(name, removed=kinds))


@click.command("rename", cls=Command)
@click.argument("name")
@click.argument("new_name")
def rename(name: str, new_name: str) -> None:
    """Give the stack NAME another name, and its own components too; its id stays."""
    entry = changes.rename(name, new_name)
    output.item(stack_text.identity(entry), lambda: say(f"Renamed stack: {name} → {entry.stack.name}"))


@click.command("copy", cls=Command)
@click.argument("source")
@click.argument("target")
def copy(source: str, target: str) -> None:
    """Make the stack TARGET like the stack SOURCE, with components of its own; registered ones are shared."""
    entry = changes.copy(source, target)
    output.item(stack_text.identity(entry), lambda: say(f"Copied stack: {source} → {entry.stack.name}"))


def _take_addresses(given: Mapping[str, str | None], options: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Put addresses among the options of the stack's own components; return the components chosen by name."""
    chosen: dict[str, str] = {}
    for kind in KINDS:
        value = given.get(kind)
        if value is None:
            continue
        if kind == "artifact_store" and ("/" in value or value.startswith(("~", "."))):
            options[kind] = {"path": value, **options.get(kind, {})}
        elif kind == "container_registry" and forms.parse_registry(value) is not None:
            options[kind] = {"uri": value, **options.get(kind, {})}
        else:
            chosen[kind] = value
    return chosen


def _path(path: str) -> tuple[str, str]:
    kind, dot, option = path.partition(".")
    kind = kind.replace("-", "_")
    if kind not in KINDS or not dot or not option:
        raise UsageError(
            "stack.bad_extra",
            f"--unset {path!r} is not of the form TARGET.FIELD.",
            next_step=f"Write for example --unset orchestrator.instance_type; targets are: {', '.join(KINDS)}.",
            field="unset",
        )
    return kind, option


def _show_updated(updated: changes.Updated) -> None:
    for warning in updated.warnings:
        output.warn(warning)
    item = {
        **stack_text.identity(updated.entry),
        "changes": stack_text.difference_items(updated.changes),
        "warnings": list(updated.warnings),
    }

    def text() -> None:
        if not updated.changes:
            say(f"Stack {updated.entry.stack.name} is as it was.")
            return
        say(f"Updated stack: {updated.entry.stack.name}")
        stack_text.print_differences(updated.changes, "BEFORE", "NOW")

    output.item(item, text)
