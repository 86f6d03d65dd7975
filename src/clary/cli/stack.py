"""``clary stack``: make, list, show, choose and delete the places where runs happen."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import click

from clary.cli import output, stack_text
from clary.cli.commands import Group, Lazy
from clary.cli.output import say
from clary.cli.stack_options import creation_options, verify, wished
from clary.errors import UsageError
from clary.stacks import describe, service
from clary.stacks.model import SANDBOX

if TYPE_CHECKING:
    from clary.stacks.entries import Entry

SANDBOX_INSTALL = 'pip install "clary[sandbox]"'
_COMPOSE, _FILES, _ELSEWHERE = ("clary.cli.stack_compose", "clary.cli.stack_files", "clary.cli.elsewhere")


@click.group(
    "stack",
    cls=Group,
    aliases={"describe": "show", "set": "use", "get": "current"},
    lazy_after={
        "register": Lazy(f"{_COMPOSE}:register", "Compose the stack NAME of registered components."),
        "update": Lazy(f"{_COMPOSE}:update", "Change the stack NAME."),
        "remove-component": Lazy(f"{_COMPOSE}:remove_component", "Take components out of the stack NAME."),
        "rename": Lazy(f"{_COMPOSE}:rename", "Give the stack NAME another name."),
        "copy": Lazy(f"{_COMPOSE}:copy", "Make the stack TARGET like the stack SOURCE."),
        "export": Lazy(f"{_FILES}:export", "Write the stack NAME as a file that makes it again."),
        "import": Lazy(f"{_FILES}:import_", "Make a stack from an exported file."),
        "diff": Lazy(f"{_FILES}:diff", "Show in what two stacks differ."),
        "export-requirements": Lazy(f"{_FILES}:requirements", "List the packages that a stack needs on this machine."),
    },
    lazy_hidden={
        "connect": Lazy(f"{_ELSEWHERE}:stack_connect", "Not here."),
        "deploy": Lazy(f"{_ELSEWHERE}:stack_deploy", "Not here."),
        "register-secrets": Lazy(f"{_ELSEWHERE}:stack_register_secrets", "Not here."),
    },
)
def stack() -> None:
    """Make and choose the places where runs happen."""


@stack.command("create")
@click.argument("name", required=False)
@creation_options
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be made; store nothing.")
def create(name: str | None, dry_run: bool, **options: Any) -> None:
    """Make the stack NAME, with components of its own, and use it from now on.

    A sagemaker stack needs an artifact store, a container registry, a region and an execution role. A sandbox stack
    takes them from the local SageMaker, which is started if it does not run. The command line wins over the file.
    Nothing is stored when something is refused.
    """
    wish = wished(name, options)
    place = None
    if wish.draft.type == SANDBOX:
        service.check_new(wish.draft)
        from clary.cli.sandbox import refresh_stacks, running_place

        place = running_place()
        if wish.draft.name != SANDBOX:
            refresh_stacks(place)
    created = service.create(
        wish.draft, activate=wish.activate, dry_run=dry_run, verify=verify if wish.verify else None, place=place
    )
    show_created(created, dry_run=dry_run)


def show_created(created: service.Created, *, dry_run: bool = False) -> None:
    """Print a stack that was made, or would be, and what to be warned of."""
    for warning in created.warnings:
        output.warn(warning)
    item = stack_text.created_item(created) | ({"dry_run": True} if dry_run else {})
    output.item(item, lambda: stack_text.print_created(created, "Would create" if dry_run else "Created"))


@stack.command("list")
@click.option("--name", "pattern", metavar="[MATCH:]TEXT", help="equals:, contains:, startswith: or endswith: a text.")
@click.option("--type", "type_", metavar="TYPE", help="Only stacks of this type.")
@click.option("--sort-by", "--sort_by", "sort_by", metavar="[desc:]COLUMN", default="", help="name, type or created.")
@click.option("--page", type=click.IntRange(1), default=1, help="Which page.")
@click.option("--size", type=click.IntRange(1), help="Stacks a page. Default: all.")
def list_(pattern: str | None, type_: str | None, sort_by: str, page: int, size: int | None) -> None:
    """List the stacks of this machine; the current one is marked active."""
    listing = service.listing()
    found = [entry for entry in listing.entries if _matches(entry, pattern, type_)]
    if sort_by:
        found = _sorted(found, sort_by)
    data = [_row(entry, listing.current.value) for entry in found]
    if listing.sandbox_missing and not pattern and type_ in (None, "sagemaker"):
        data.append(_missing_sandbox())
    if size is not None:
        data = data[(page - 1) * size : page * size]
    output.items(data, lambda: _print_list(data))


@stack.command("show")
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Show one stack, named by name or id, part by part, and every setting that holds. Default: the current one."""
    entry = service.current()[0] if name is None else service.find(name)
    active = service.listing().current.value == entry.stack.name
    parts, settings = describe.components(entry), describe.settings(entry)
    data = {
        **stack_text.identity(entry),
        "is_active": active,
        "stack_type": entry.stack.type,
        "components": [part.to_dict() for part in parts],
        "settings": [{"name": one.name, "value": one.value, "origin": one.origin} for one in settings],
    }
    output.item(data, lambda: stack_text.print_show(entry, parts, settings, active=active))


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
@click.option("--recursive", "-r", is_flag=True, help="Delete its components too, but for those of other stacks.")
@click.option("--force", is_flag=True, help="Delete it even if it is the current stack; local becomes current.")
@click.option("--yes", "-y", is_flag=True, help="Accepted for scripts of other tools; nothing is asked.")
def delete(name: str, recursive: bool, force: bool, yes: bool) -> None:  # noqa: ARG001 nothing is asked
    """Forget the stack NAME. Nothing in AWS and no stored run is touched."""
    deleted = service.delete(name, force=force, recursive=recursive)
    for warning in deleted.warnings:
        output.warn(warning)
    data: dict[str, Any] = {
        "deleted_stack": deleted.entry.stack.name,
        "components_deleted": [{"name": part.name, "type": part.kind} for part in deleted.components],
        "components_kept": [{"name": part.name, "type": part.kind} for part in (*deleted.kept, *deleted.shared)],
        "secrets_deleted": list(deleted.secrets),
        "new_active_stack": deleted.new_current,
        "recursive": recursive,
    }

    def text() -> None:
        say(f"Deleted stack: {deleted.entry.stack.name}")
        if deleted.components:
            say(f"Deleted components: {stack_text.named(deleted.components)}")
        stack_text.say_deleted_secrets(deleted.secrets)
        if deleted.kept:
            say(f"Kept components: {stack_text.named(deleted.kept)} (--recursive deletes them too)")
        if deleted.shared:
            say(f"Kept components, which other stacks have: {stack_text.named(deleted.shared)}")
        if deleted.new_current:
            say(f"Active stack: {deleted.new_current}")

    output.item(data, text)


def _matches(entry: Entry, pattern: str | None, type_: str | None) -> bool:
    if type_ is not None and entry.stack.type != type_:
        return False
    if pattern is None:
        return True
    how, colon, text = pattern.partition(":")
    if not colon:
        return entry.stack.name == pattern
    name = entry.stack.name
    ways = {
        "equals": name == text,
        "contains": text in name,
        "startswith": name.startswith(text),
        "endswith": name.endswith(text),
    }
    if how not in ways:
        raise UsageError(
            "stack.bad_filter",
            f"{how!r} is no way to match a name.",
            next_step=f"The ways are: {', '.join(ways)}.",
            field="name",
        )
    return ways[how]


def _sorted(found: list[Entry], sort_by: str) -> list[Entry]:
    column = sort_by.removeprefix("desc:").removeprefix("asc:")
    keys = {
        "name": lambda entry: entry.stack.name,
        "type": lambda entry: (entry.stack.type, entry.stack.name),
        "created": lambda entry: entry.created or 0.0,
    }
    if column not in keys:
        raise UsageError(
            "stack.bad_filter",
            f"Stacks cannot be sorted by {column!r}.",
            next_step=f"Sort by one of: {', '.join(keys)}; desc:COLUMN turns the order about.",
            field="sort_by",
        )
    return sorted(found, key=keys[column], reverse=sort_by.startswith("desc:"))


def _row(entry: Entry, current_name: str) -> dict[str, Any]:
    return {
        **stack_text.identity(entry),
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


def _print_list(data: list[dict[str, Any]]) -> None:
    for row in data:
        if "needs" in row:
            say(f"{row['name']}: not made yet; it needs: {row['needs']}")
            continue
        active = output.style(" (active)", "green") if row["is_active"] else ""
        place = ", ".join(part for part in (row["stack_type"], row["region"], row["artifact_store"]) if part)
        say(f"{output.style(row['name'], bold=True)}: {row['id']}{active}  {place}")
