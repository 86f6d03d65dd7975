"""What ``clary secrets`` is given: names, values and passphrases, from the command line, files, pipes and a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from clary.cli import state
from clary.errors import UsageError, nearest
from clary.secrets import given, names

BACKUP_FILE = "clary-secrets.backup"
PASSPHRASE_VARIABLE = "CLARY_SECRETS_PASSPHRASE"  # noqa: S105 - the variable's name
_IN_CLEAR = (
    "the shell's history and the list of processes show a value that is typed into a command; safer are --KEY=@FILE, "
    "--KEY=- (from the standard input) and -i."
)
_OPTIONS = ("private", "interactive", "values", "stack", "backend", "output", "debug", "help", "remove", "remove-keys")


def read(words: Sequence[str], options: dict[str, Any]) -> tuple[str, dict[str, str], list[str]]:
    """Return the secret's name, the values that were given, and warnings.

    Raises UsageError: ``cli.usage`` without a name, ``secret.not_interactive``, those of ``given.read``.
    """
    found = given.read(words, options["values"], _stdin)
    if len(found.words) != 1:
        problem = "is no name" if not found.words else "are several words that are no option"
        raise UsageError(
            "cli.usage",
            f"There {problem} on the command line.",
            next_step="Write NAME --KEY=VALUE …; a value stands in one word with its key, behind '='.",
            field="name",
        )
    name = found.words[0]
    names.check_name(name)
    warnings = [_IN_CLEAR] if found.in_clear else []
    for key in found.values:
        meant = nearest(key, _OPTIONS, cutoff=0.8)
        if meant:
            warnings.append(f"--{key} was taken as a key of the secret; the option is called --{meant}.")
    if options["interactive"]:
        found.values.update(_asked(name))
    return name, found.values, warnings


def passphrase(*, new: bool) -> str:
    """Return the passphrase of a backup, from its variable or asked for; ``new`` asks twice.

    Raises UsageError (``secret.not_interactive``).
    """
    if set_already := os.environ.get(PASSPHRASE_VARIABLE):
        return set_already
    if not state.interactive():
        raise UsageError(
            "secret.not_interactive",
            "The passphrase cannot be asked for: this is no terminal.",
            next_step=f"Give it in the variable {PASSPHRASE_VARIABLE}.",
        )
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))


def backup_text(file: str) -> str:
    """Return the text of a backup's file; raises UsageError (``secret.bad_file``)."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(
            "secret.bad_file",
            f"The file {file} cannot be taken: {reason}.",
            next_step="Name the file that `clary secrets backup` has written.",
            field="file",
        ) from None


def _stdin() -> str:
    return sys.stdin.read(given.LARGEST_FILE)


def _asked(name: str) -> dict[str, str]:
    if not state.interactive():
        raise UsageError(
            "secret.not_interactive",
            "Nobody can be asked for values: this is no terminal.",
            next_step="Give them by --KEY=@FILE, --KEY=- or --values @FILE.",
            field="interactive",
        )
    click.echo(f"Keys of the secret {name}; an empty one ends.", err=True)
    asked: dict[str, str] = {}
    while key := click.prompt("Key", default="", show_default=False, err=True).strip():
        names.check_key(key)
        asked[key] = click.prompt(f"Value of {key}", hide_input=True, err=True)
    return asked
