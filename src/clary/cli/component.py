"""``clary orchestrator``, ``clary artifact-store`` and so on: one group of commands for every kind of component.

The commands are the same objects in every group; which kind they are about, the group says.
"""

from __future__ import annotations

import json
from typing import Any

import click

from clary.cli import component_text, output, stack_text
from clary.cli.commands import Command, Group, Lazy
from clary.cli.component_kind import ComponentGroup, current_kind
from clary.cli.component_options import OptionsCommand, documented_options, flavor_of, given, read
from clary.cli.output import say
from clary.errors import UsageError
from clary.stacks import parts, service
from clary.stacks.changes import no_component
from clary.stacks.flavors import KINDS, find, title_of

_OPTIONS = "[--OPTION=VALUE]..."
_FLAVORS, _ELSEWHERE = "clary.cli.component_flavors", "clary.cli.elsewhere"


class _Env(click.ParamType[tuple[str, str]]):
    name = "env"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, text = value.partition("=")
        if not equals or not name:
            self.fail("expected NAME=VALUE.", param, ctx)
        return name, text


_env = click.option(
    "--env", type=_Env(), multiple=True, metavar="NAME=VALUE", help="The same as --environment.NAME=VALUE."
)


@click.command("register", cls=OptionsCommand, options_metavar=f"{_OPTIONS} [OPTIONS]")
@click.argument("name")
@click.option("-f", "--flavor", metavar="FLAVOR", help="Which kind of it; `flavor list` shows those there are.")
@_env
@documented_options
@click.pass_context
def register(ctx: click.Context, name: str, flavor: str | None, env: tuple[tuple[str, str], ...]) -> None:
    """Make the component NAME, which any stack may have.

    Every --OPTION=VALUE is an option of the flavor; `flavor describe FLAVOR` shows them. Values are YAML, dots nest
    (--tags.team=ml), hyphens and underscores are the same. Nothing is stored when something is refused.
    """
    kind = current_kind().name
    found = flavor_of(kind, flavor, given())
    options = read(found, [*given(), *_environment(env)], ctx.command)
    component_text.changed(parts.register(kind, name, found.name, options), "Registered")


@click.command("list", cls=Command)
def list_() -> None:
    """List the components of this kind, and the stacks that have them."""
    kind = current_kind().name
    found = parts.listing(kind)
    current = service.listing().current.value
    data = [component_text.item(part) for part in found]
    output.items(data, lambda: component_text.print_list(kind, found, current))


@click.command("show", cls=Command)
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Show one component, named by name or id. Default: that of the current stack."""
    if name is None:
        _show_current()
        return
    part = parts.find(current_kind().name, name)
    output.item(component_text.item(part), lambda: component_text.print_part(part))


@click.command("get", cls=Command)
def get() -> None:
    """Show the component that the current stack has."""
    _show_current()


@click.command("update", cls=OptionsCommand, options_metavar=f"{_OPTIONS} [OPTIONS]")
@click.argument("name")
@_env
@click.option("-f", "--flavor", hidden=True)
@documented_options
@click.pass_context
def update(ctx: click.Context, name: str, env: tuple[tuple[str, str], ...], flavor: str | None) -> None:
    """Change options of the component NAME, for every stack that has it.

    Mappings are merged: --tags.team=ml leaves the other tags. `remove-attribute` takes options out.
    """
    kind = current_kind().name
    before = parts.find(kind, name).component
    if flavor not in (None, before.flavor):
        raise UsageError(
            "component.flavor_stays",
            f"The {before.title} is of the flavor {before.flavor}, which cannot be changed.",
            next_step=f"Register another one: clary {KINDS[kind].command} register NAME --flavor={flavor}.",
            field="flavor",
        )
    typed = [*given(), *_environment(env)]
    if not typed:
        raise UsageError(
            "component.nothing_to_change",
            "Nothing to change was given.",
            next_step=f"Give --OPTION=VALUE; `clary {KINDS[kind].command} flavor describe {before.flavor}` shows the "
            "options.",
        )
    options = read(find(kind, before.flavor), typed, ctx.command)
    component_text.changed(parts.update(kind, name, options), "Updated")


class _KeysCommand(Command):
    """A command whose unknown ``--KEY`` words are keys."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {spelling for param in self.get_params(ctx) for spelling in param.opts}
        plain = [word[2:] if word.startswith("--") and len(word) > 2 and word.partition("=")[0] not in known else word
                 for word in args]  # fmt: skip
        return super().parse_args(ctx, plain)


@click.command("remove-attribute", cls=_KeysCommand)
@click.argument("name")
@click.argument("keys", nargs=-1, required=True, metavar="OPTION...")
def remove_attribute(name: str, keys: tuple[str, ...]) -> None:
    """Take options out of the component NAME; --OPTION works too, and dots reach into mappings."""
    component_text.changed(parts.update(current_kind().name, name, {}, unset=keys), "Updated")


@click.command("rename", cls=Command)
@click.argument("name")
@click.argument("new_name")
def rename(name: str, new_name: str) -> None:
    """Give the component NAME another name; its id, and the stacks that have it, stay."""
    part = parts.rename(current_kind().name, name, new_name)
    title = title_of(part.component.kind)
    output.item(component_text.item(part), lambda: say(f"Renamed {title}: {name} → {new_name}"))


@click.command("copy", cls=Command)
@click.argument("source")
@click.argument("target")
def copy(source: str, target: str) -> None:
    """Make the component TARGET like the component SOURCE."""
    part = parts.copy(current_kind().name, source, target)
    title = title_of(part.component.kind)
    output.item(component_text.item(part), lambda: say(f"Copied {title}: {source} → {target}"))


@click.command("delete", cls=Command)
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Accepted for scripts of other tools; nothing is asked.")
def delete(name: str, yes: bool) -> None:  # noqa: ARG001 nothing is asked
    """Forget the component NAME, which no stack may have. Nothing in AWS is touched."""
    deleted = parts.delete(current_kind().name, name)
    gone = deleted.component
    data = {
        "deleted": {"id": gone.id, "name": gone.name, "kind": gone.kind, "flavor": gone.flavor},
        "secrets_deleted": list(deleted.secrets),
    }
    for warning in deleted.warnings:
        output.warn(warning)

    def text() -> None:
        say(f"Deleted {title_of(gone.kind)}: {gone.name}")
        stack_text.say_deleted_secrets(deleted.secrets)

    output.item(data, text)


@click.command("explain", cls=Command)
def explain() -> None:
    """Say what this kind of component is for."""
    kind = current_kind()
    text = component_text.EXPLAINED[kind.name]
    data = {"kind": kind.name, "explanation": text, "required": kind.required}
    output.item(data, lambda: say(click.wrap_text(text, 100)))


def _show_current() -> None:
    kind = current_kind().name
    entry, choice = service.current()
    made = entry.component(kind)
    if made is None:
        raise no_component(entry, kind)
    part = parts.Part(made, (entry.stack.name,)) if made.id is None else parts.find(kind, made.id)
    data = {**component_text.item(part), "active_stack": entry.stack.name}
    heading = [("Active stack", f"{entry.stack.name} ({choice.source})")]
    output.item(data, lambda: component_text.print_part(part, heading))


def _environment(env: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Return ``--env`` as the options that it stands for: the environment of jobs, values as text."""
    return [(f"environment.{name}", json.dumps(value, ensure_ascii=False)) for name, value in env]


_COMMANDS = (register, list_, show, get, update, remove_attribute, rename, copy, delete, explain)


SUMMARIES = {
    "orchestrator": "Register orchestrators: where runs happen.",
    "artifact_store": "Register artifact stores: where runs and values are kept.",
    "container_registry": "Register container registries: where images are pushed.",
    "image_builder": "Register image builders: how images are made.",
    "secrets_manager": "Register secrets managers: where secrets are kept.",
}


def _group(kind: str) -> Group:
    """Return the group of commands of a kind of component."""
    of = KINDS[kind]
    return ComponentGroup(
        of.command,
        kind=of,
        help=f"{SUMMARIES[kind]}\n\n`explain` says what this kind of component is for.",
        commands=_COMMANDS,
        aliases={"describe": "show", "remove_attribute": "remove-attribute"},
        lazy_after={"flavor": Lazy(f"{_FLAVORS}:flavor", "List and describe the flavors of this kind.")},
        lazy_hidden={name: Lazy(f"{_ELSEWHERE}:{name}", "Not here.") for name in ("logs", "connect", "disconnect")},
    )


orchestrator = _group("orchestrator")
artifact_store = _group("artifact_store")
container_registry = _group("container_registry")
image_builder = _group("image_builder")
secrets_manager = _group("secrets_manager")
