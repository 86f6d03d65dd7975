"""``clary secrets``: keep, show, change and carry secrets. ``clary secret`` is the same group."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clary.cli import format as human
from clary.cli import output, secret_input, state
from clary.cli.commands import Choice, Group
from clary.cli.output import say
from clary.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from clary.secrets.store import SecretStore

MASK = "***"
_FLEXIBLE = {"ignore_unknown_options": True}
"""Any ``--KEY=VALUE`` is a key of the secret, not a misspelt option."""

_stack = click.option("--stack", "stack_name", metavar="NAME", help="Whose secrets. Default: the current stack.")
_backend = click.option(
    "--backend", type=Choice(["aws", "ssm", "local"]), help="Where. Default: the stack's secrets manager."
)
_private = click.option("-p", "--private", is_flag=True, help="Mark it as yours (see docs/how-to/secrets.md).")
_words = click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="NAME --KEY=VALUE...")
_values = click.option("-v", "--values", metavar="JSON|YAML|@FILE|-", help="Keys and values in one.")
_interactive = click.option("-i", "--interactive", is_flag=True, help="Ask for keys and values; values stay hidden.")


def _giving(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what every command that takes values has."""
    for decorate in reversed((_words, _values, _interactive, _private, _stack, _backend)):
        command = decorate(command)
    return command


@click.group("secrets", cls=Group, aliases={"get": "show"})
def secrets() -> None:
    """Keep secrets, and refer to them as {{secrets.NAME.KEY}}.

    Where they are kept: AWS Secrets Manager for a sagemaker stack, an encrypted file of this machine for a local one,
    or what the stack's secrets manager says.
    """


@secrets.command("set", context_settings=_FLEXIBLE)
@_giving
def set_(words: Sequence[str], **options: Any) -> None:
    """Make the secret NAME, or set some of its keys.

    Values: --KEY=@FILE, --KEY=- for the standard input, -i to be asked, or --KEY=VALUE, which the shell's history
    keeps.
    """
    from clary.secrets import changes

    name, values, warnings = secret_input.read(words, options)
    store, owner = _open(options), _owner(options)
    new = changes.put(store, name, values, private_to=owner)
    _print_changed("Created" if new else "Changed", store, name, values, owner, warnings)


@secrets.command("create", context_settings=_FLEXIBLE)
@_giving
def create(words: Sequence[str], **options: Any) -> None:
    """Make the secret NAME; one that is there is not touched. Values as for set."""
    from clary.secrets import changes

    name, values, warnings = secret_input.read(words, options)
    store, owner = _open(options), _owner(options)
    changes.create(store, name, values, private_to=owner)
    _print_changed("Created", store, name, values, owner, warnings)


@secrets.command("update", context_settings=_FLEXIBLE)
@_giving
@click.option("-r", "--remove", "--remove-keys", "remove", multiple=True, metavar="KEY", help="Take a key away.")
def update(words: Sequence[str], remove: tuple[str, ...], **options: Any) -> None:
    """Set or take away keys of the secret NAME. Values as for set."""
    from clary.secrets import changes

    name, values, warnings = secret_input.read(words, options)
    store, owner = _open(options), _owner(options)
    changes.update(store, name, values, remove, private_to=owner)
    _print_changed("Changed", store, name, values, owner, warnings, removed=remove)


@secrets.command("list")
@_stack
@_backend
def list_(**options: Any) -> None:
    """List the names of the secrets; no value is read."""
    store = _open(options)
    entries = store.entries()
    data = [
        {"name": one.name, "backend": store.flavor, "changed": one.changed, "private_to": one.private_to}
        for one in entries
    ]

    def text() -> None:
        if not entries:
            say(f"No secrets in {store.place}.")
            return
        body = [[one.name, human.ago(one.changed) if one.changed else "-", one.private_to or ""] for one in entries]
        output.table(["NAME", "CHANGED", "PRIVATE TO"], body)

    output.items(data, text)


@secrets.command("show")
@click.argument("name")
@click.option("--show-values", is_flag=True, help="Show the values themselves.")
@_stack
@_backend
def show(name: str, show_values: bool, **options: Any) -> None:
    """Show the keys of the secret NAME, and with --show-values what they hold. `get` is the same."""
    store = _open(options)
    held = store.read(name)
    shown = {key: value if show_values else MASK for key, value in sorted(held.items())}

    def text() -> None:
        output.rows([("Name", name), ("Kept in", store.place)])
        output.table(["KEY", "VALUE"], [[key, value] for key, value in shown.items()])

    output.item({"name": name, "backend": store.flavor, "values_shown": show_values, "values": shown}, text)


@secrets.command("rename")
@click.argument("name")
@click.argument("new", required=False)
@click.option("-n", "--new-name", "--new_name", "option", metavar="NEW", help="The new name, as an option.")
@_stack
@_backend
def rename(name: str, new: str | None, option: str | None, **options: Any) -> None:
    """Give the secret NAME the name NEW. References to the old name are not changed."""
    from clary.secrets import changes

    wanted = new or option
    if wanted is None or (new and option and new != option):
        raise UsageError(
            "cli.usage",
            "One new name is needed.",
            next_step="Write: clary secrets rename NAME NEW.",
            field="new",
        )
    store = _open(options)
    until = changes.rename(store, name, wanted)
    data = {"name": wanted, "renamed_from": name, "backend": store.flavor, "old_kept_until": until}

    def text() -> None:
        say(f"Renamed secret: {name} → {wanted}")
        if until:
            say(f"The old one can be brought back until {human.moment(until)}.")

    output.item(data, text)


@secrets.command("delete")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="AWS Secrets Manager: delete it at once, with no way back.")
@_stack
@_backend
def delete(name: str, yes: bool, force: bool, **options: Any) -> None:
    """Delete the secret NAME. In AWS Secrets Manager it can be brought back for 30 days, unless --force is given."""
    store = _open(options)
    if not yes and not state.current().json and state.interactive():
        click.confirm(f"Delete the secret {name} in {store.place}?", abort=True, err=True)
    until = store.delete(name, force=force)

    def text() -> None:
        say(f"Deleted secret: {name}")
        if until:
            say(f"It can be brought back until {human.moment(until)}: aws secretsmanager restore-secret.")

    output.item({"deleted_secret": name, "backend": store.flavor, "recoverable_until": until}, text)


@secrets.command("export")
@click.argument("name")
@click.option(
    "-f", "--file", "--filename", "file", metavar="FILE", help="Default: NAME.yaml; - is the standard output."
)
@click.option("-y", "--yes", is_flag=True, help="Replace a file that is there; write onto a terminal.")
@_stack
@_backend
def export(name: str, file: str | None, yes: bool, **options: Any) -> None:
    """Write the secret NAME in clear, as YAML that `--values @FILE` reads back; only you can read the file."""
    store = _open(options)
    file = file or f"{name}.yaml"
    _check_target(file, yes=yes)
    held = dict(sorted(store.read(name).items()))
    data: dict[str, Any] = {"name": name, "backend": store.flavor, "file": file}
    if file == "-":
        output.item({**data, "values": held}, lambda: say(_yaml(held).rstrip("\n")))
        return
    from clary.files import write_whole

    write_whole(Path(file), _yaml(held))
    output.item(data, lambda: say(f"Exported secret: {name} to {file}, in clear. Delete the file when it has served."))


@secrets.command("backup")
@click.argument("file", default=secret_input.BACKUP_FILE)
@click.option("-y", "--yes", is_flag=True, help="Replace a file that is there.")
@_stack
@_backend
def backup(file: str, yes: bool, **options: Any) -> None:
    """Write all secrets to FILE, encrypted with a passphrase that is asked for."""
    from clary.files import write_whole
    from clary.secrets import backup as backups

    store = _open(options)
    _check_target(file, yes=yes)
    names = [entry.name for entry in store.entries()]
    passphrase = secret_input.passphrase(new=True)
    write_whole(Path(file), backups.sealed({name: store.read(name) for name in names}, passphrase), synced=True)
    data = {"file": file, "backend": store.flavor, "names": names}
    output.item(data, lambda: say(f"Backed up {len(names)} secrets of {store.place} to {file}, encrypted."))


@secrets.command("restore")
@click.argument("file", default=secret_input.BACKUP_FILE)
@click.option("--overwrite", is_flag=True, help="Replace secrets that are there with other values.")
@_stack
@_backend
def restore(file: str, overwrite: bool, **options: Any) -> None:
    """Bring back the secrets of FILE, which `backup` wrote; nothing is written when one is there with other values."""
    from clary.secrets import backup as backups

    store = _open(options)
    text = secret_input.backup_text(file)
    done = backups.restore(store, backups.opened(text, secret_input.passphrase(new=False)), overwrite=overwrite)

    def tell() -> None:
        say(f"Restored {len(done)} secrets to {store.place}.")
        output.table(["NAME", "DONE"], [[name, what] for name, what in done.items()])

    output.item({"file": file, "backend": store.flavor, "secrets": done}, tell)


def _open(options: dict[str, Any]) -> SecretStore:
    from clary.agent.secrets import open_secrets
    from clary.stacks.service import resolve

    return open_secrets(resolve(options["stack_name"]), options["backend"])


def _owner(options: dict[str, Any]) -> str | None:
    if not options["private"]:
        return None
    from clary.agent.secrets import maker
    from clary.stacks.service import resolve

    return maker(resolve(options["stack_name"]), options["backend"])


def _print_changed(
    done: str,
    store: SecretStore,
    name: str,
    values: dict[str, str],
    owner: str | None,
    warnings: list[str],
    removed: Sequence[str] = (),
) -> None:
    if owner and store.flavor == "aws":
        warnings = [*warnings, "--private is a mark (the tag clary:private-to); who may read it, IAM decides."]
    for warning in warnings:
        output.warn(warning)
    data: dict[str, Any] = {
        "name": name,
        "backend": store.flavor,
        "created": done == "Created",
        "keys": sorted(values),
        "keys_removed": sorted(removed),
        "private_to": owner,
        "warnings": warnings,
    }

    def text() -> None:
        say(f"{done} secret: {name}")
        output.rows(
            [
                ("Kept in", store.place),
                ("Keys set", ", ".join(sorted(values))),
                ("Keys taken away", ", ".join(sorted(removed))),
                ("Refer to it as", f"{{{{secrets.{name}.{min(values)}}}}}" if values else None),
            ]
        )

    output.item(data, text)


def _check_target(file: str, *, yes: bool) -> None:
    if yes:
        return
    if file == "-":
        if not state.current().json and sys.stdout.isatty():
            raise UsageError(
                "secret.onto_terminal",
                "The values would be shown on this terminal.",
                next_step="Name a file with -f, or say --yes.",
                field="file",
            )
    elif Path(file).exists():
        raise ConflictError(
            "secret.file_exists",
            f"There is a file {file} already.",
            next_step="Name another file, or replace it with --yes.",
            field="file",
        )


def _yaml(values: dict[str, str]) -> str:
    import yaml

    return str(yaml.safe_dump(values, allow_unicode=True, sort_keys=True))
