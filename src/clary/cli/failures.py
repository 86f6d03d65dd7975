"""How a refused command ends: a sentence, a next step and a code, as text or as JSON on stderr; and the exit code."""

from __future__ import annotations

import errno

import click

from clary.cli.commands import command_name
from clary.cli.other_commands import OTHER_OPTIONS
from clary.cli.state import INTERRUPTED, State
from clary.errors import ClaryError, ConfigError, UsageError

_WRAPPERS = frozenset({"internal.unexpected", "files.no_space", "files.not_allowed"})
"""Codes of errors made here, at the end: their traceback is that of the cause."""


def refuse(state: State, error: ClaryError) -> int:
    """Print an error and return its exit code. The traceback is shown only with ``--debug``."""
    from clary.cli import output

    _name_the_sandbox(error)
    if state.json:
        data = error.to_dict()
        if state.debug:
            data["traceback"] = _traceback(error)
        output.document({"command": state.command, "error": data}, error=True)
        return error.exit_code
    if state.debug:
        click.echo(_traceback(error), err=True)
    click.echo(output.style("Error: ", "red", bold=True, error=True) + error.summary, err=True)
    click.echo(f"  Next step: {error.next_step}", err=True)
    click.echo(output.style(f"  Code: {error.code}", "bright_black", error=True), err=True)
    return error.exit_code


def interrupted(state: State) -> int:
    """Say in one line that Ctrl-C ended the command; return the exit code that shells expect."""
    if state.json:
        summary, step = "The command was interrupted.", "Run it again."
        return refuse(state, ClaryError("cli.interrupted", summary, next_step=step)) and INTERRUPTED
    click.echo("Interrupted.", err=True)
    return INTERRUPTED


def from_click(state: State, error: click.ClickException) -> UsageError:
    """Give one of click's own errors a code and a next step."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is not None:
        state.command = command_name(ctx)
    path = f"clary {state.command}".rstrip()
    meant = error.possibilities if isinstance(error, click.NoSuchOption) else None
    parameter = error.param if isinstance(error, click.BadParameter) else None
    instead = OTHER_OPTIONS.get(state.command, {}).get(str(getattr(error, "option_name", "")))
    if isinstance(error, click.NoSuchOption):
        code, summary = "cli.no_such_option", f"There is no option {error.option_name}."
    else:
        code, summary = "cli.usage", error.format_message()
    return UsageError(
        code,
        summary,
        next_step=instead or (f"Did you mean {' or '.join(meant)}?" if meant else f"Run `{path} --help`."),
        field=parameter.name if parameter is not None else None,
    )


def unexpected(error: Exception) -> ClaryError:
    """Wrap an error that nobody foresaw: a disk that takes no more, else code ``internal.unexpected``."""
    wrapped = (_of_the_disk(error) if isinstance(error, OSError) else None) or ClaryError(
        "internal.unexpected",
        f"Clary met an error it did not expect: {type(error).__name__}: {error}",
        next_step="Run the command again with --debug for the traceback, and open an issue of the project with it.",
    )
    wrapped.__cause__ = error
    return wrapped


def _of_the_disk(error: OSError) -> ClaryError | None:
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ConfigError(
            "files.no_space",
            f"The disk is full; this could not be written:{where or ' a file'}.",
            next_step="Make room, or set CLARY_HOME (and TMPDIR) to folders on another disk.",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR):
        return ConfigError(
            "files.not_allowed",
            f"The system does not allow the use of{where or ' a file'}: {error.strerror}.",
            next_step="Correct the rights, or set CLARY_HOME to a folder that you may write.",
        )
    return None


def _name_the_sandbox(error: ClaryError) -> None:
    """Say how to start the sandbox when nothing answers on this machine: only the command line knows of it."""
    endpoint = str(error.details.get("endpoint") or "")
    if error.code != "aws.unreachable":
        return
    from clary.sagemaker.translation import is_loopback

    if is_loopback(endpoint):
        error.next_step = f"If {endpoint} is the sandbox, run `clary sandbox start --detach`. Else: {error.next_step}"


def _traceback(error: ClaryError) -> str:
    import traceback

    shown = error.__cause__ if error.code in _WRAPPERS and error.__cause__ else error
    return "".join(traceback.format_exception(shown)).rstrip()
