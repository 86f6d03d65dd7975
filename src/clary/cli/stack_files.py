"""``clary stack export|import|diff|export-requirements``: stacks as files and side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clary.cli import output, stack_text
from clary.cli.commands import Command
from clary.cli.output import say
from clary.cli.stack import show_created
from clary.cli.stack_options import ComposeCommand, no_verify_option, verify
from clary.errors import ConfigError, NotFoundError, UsageError
from clary.files import write_whole
from clary.stacks import describe, service
from clary.stacks.draft import read_file, wish

if TYPE_CHECKING:
    from clary.stacks.components import Component

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("export", cls=Command)
@click.argument("name", required=False)
@click.argument("file", required=False, type=_FILE)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
def export(name: str | None, file: Path | None, overwrite: bool) -> None:
    """Write the stack NAME (default: the current one) as YAML that makes it again, to FILE or to stdout.

    There is no secret in it: credentials and secrets are references.
    """
    from clary.stacks.export import document, to_yaml

    entry = service.find(name) if name else service.current()[0]
    text = to_yaml(entry)
    if file is None:
        output.item({"name": entry.stack.name, "stack": document(entry)}, lambda: say(text.rstrip()))
        return
    _refuse_existing(file, overwrite)
    write_whole(file, text)
    item = {"name": entry.stack.name, "file": str(file), "stack": document(entry)}
    output.item(item, lambda: say(f"Exported stack: {entry.stack.name} → {file}"))


@click.command("import", cls=Command)
@click.argument("name")
@click.option("-f", "--filename", "--file", "file", type=_FILE, help="Default: NAME.yaml.")
@click.option("--ignore-version-mismatch", is_flag=True, hidden=True, expose_value=False)
@no_verify_option
def import_(name: str, file: Path | None, no_verify: bool) -> None:
    """Make the stack NAME from an exported file; the current stack stays what it is."""
    wished = wish(name, {}, read_file(file or Path(f"{name}.yaml")))
    created = service.create(wished.draft, activate=False, verify=None if no_verify else verify)
    show_created(created)


@click.command("diff", cls=Command)
@click.argument("left")
@click.argument("right")
def diff(left: str, right: str) -> None:
    """Show in what the stacks LEFT and RIGHT differ: every setting that holds, and the kinds of their parts."""
    one, other = service.find(left), service.find(right)
    found = describe.differences(one, other)

    def text() -> None:
        if found:
            stack_text.print_differences(found, one.stack.name, other.stack.name)
        else:
            say(f"{one.stack.name} and {other.stack.name} do not differ.")

    output.items(stack_text.difference_items(found), text)


@click.command("export-requirements", cls=ComposeCommand)
@click.argument("name", required=False)
@click.option("-o", "--output-file", "file", type=_FILE, metavar="FILE", help="Write them there.")
@click.option("-ov", "--overwrite", is_flag=True, help="Replace FILE if it is there.")
def requirements(name: str | None, file: Path | None, overwrite: bool) -> None:
    """List the packages that the stack NAME (default: the current one) needs on this machine.

    They are Clary itself and the packages whose flavors it has. Jobs need nothing installed: Clary sends its runtime.
    """
    entry = service.find(name) if name else service.current()[0]
    found = sorted({_package(part) for part in entry.components})
    if file is not None:
        _refuse_existing(file, overwrite)
        write_whole(file, "".join(f"{line}\n" for line in found))
    output.items([{"requirement": line} for line in found], lambda: say("\n".join(found)))


def _package(part: Component) -> str:
    from clary.stacks import flavors

    try:
        return flavors.package_of(part.kind, part.flavor)
    except NotFoundError as error:
        raise ConfigError(
            "flavor.package_gone",
            f"The {part.title} is of the flavor {part.flavor!r}, and the package that offers it is not installed here.",
            next_step="Install that package and run the command again; where the stack still works, "
            f"`clary {flavors.KINDS[part.kind].command} flavor list` names it.",
            field=part.kind,
        ) from error


def _refuse_existing(file: Path, overwrite: bool) -> None:
    if file.exists() and not overwrite:
        raise UsageError(
            "stack.file_exists",
            f"There is a file {file} already.",
            next_step="Give --overwrite, or another name.",
            field="file",
        )
