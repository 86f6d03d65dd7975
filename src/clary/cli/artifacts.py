"""``clary artifacts``: list, show and get what a run has kept. Nothing that a value carries is run."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clary.cli import artifact_text, output, params, state
from clary.cli.commands import Group
from clary.cli.output import say
from clary.errors import UsageError
from clary.files import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.artifacts.export import Export

_run = click.argument("run", metavar="RUN")
_what = click.argument("what", metavar="NAME")
_stack = click.option("--stack", "stack_name", metavar="STACK", help="Look on this stack only.")


@click.group("artifacts", cls=Group)
def artifacts() -> None:
    """List, show and get what a run has kept.

    RUN is a run's id, the beginning of one, or 'latest'. NAME is the name that a value was saved by, the path of a
    checkpoint's call such as 'train#1', the checkpoint's name where it was called once, 'result', or a digest.
    """


@artifacts.command("list")
@_run
@_stack
@click.option("--name", metavar="NAME", help="Only what was saved by this name, or is an output of this checkpoint.")
def list_(run: str, stack_name: str | None, name: str | None) -> None:
    """List saved values, outputs of checkpoints and the result of a run."""
    from clary.agent import artifacts as kept

    stack, identifier = params.find_run(run, stack_name)
    found = kept.list_artifacts(stack, identifier, name=name)

    def text() -> None:
        if found:
            artifact_text.listing(found)
        else:
            say(f"Run {identifier} has kept nothing yet.")

    output.items([one.to_dict() for one in found], text)


@artifacts.command("show")
@_run
@_what
@_stack
def show(run: str, what: str, stack_name: str | None) -> None:
    """Show one artifact: type, size, address, and a preview."""
    from clary.agent import artifacts as kept

    stack, identifier = params.find_run(run, stack_name)
    found = kept.describe(stack, identifier, what)
    output.item(found.to_dict(), lambda: artifact_text.page(found))


@artifacts.command("get")
@_run
@_what
@_stack
@click.option(
    "-f", "--file", "file", metavar="FILE", type=click.Path(path_type=Path), help="Write to this file or folder."
)
@click.option("--trust", is_flag=True, help="Get it though it is pickled: whoever reads it back runs code it carries.")
def get(run: str, what: str, stack_name: str | None, file: Path | None, trust: bool) -> None:
    """Write one artifact to a file or folder, or to stdout.

    Bytes, texts and files come as they are, arrays as .npy, frames as Parquet or Arrow, tensors as .safetensors, plain
    data as JSON. A container with such parts becomes a folder.
    """
    from clary.agent import artifacts as kept

    stack, identifier = params.find_run(run, stack_name)
    export = kept.export(stack, identifier, what, trust=trust)
    if file is None:
        _to_stdout(export, what)
        return
    with _progress(what):
        target = export.to_path(file)
    about = {"name": what, "file": str(target), "folder": export.is_folder, "size": export.total}
    output.item(about, lambda: say(f"Wrote {target} ({size_text(export.total)})."))


def _to_stdout(export: Export, what: str) -> None:
    if state.current().json and export.is_text:
        output.item({"name": what, "value": export.plain()}, lambda: None)
        return
    reason = None
    if export.is_folder:
        reason = f"“{what}” is a folder of files."
    elif state.current().json or (sys.stdout.isatty() and not export.is_text):
        reason = f"“{what}” is no text."
    if reason is not None:
        raise UsageError(
            "artifact.needs_file",
            reason,
            next_step=f"Name a place for it: -f {export.file_name}.",
            field="file",
        )
    sys.stdout.flush()
    with _progress(what):
        export.to_stream(sys.stdout.buffer)
    sys.stdout.buffer.flush()


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Show how far a large value is, where stderr is a terminal."""
    if not sys.stderr.isatty() or state.current().json:
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from clary.artifacts import progress_to

    columns: Any = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None, visible=False)
        with progress_to(lambda _what, done, total: bars.update(task, completed=done, total=total, visible=True)):
            yield
