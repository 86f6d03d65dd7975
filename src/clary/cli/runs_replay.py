"""``clary runs retry|replay``: run what failed again; begin a new run with the record of another."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clary.cli import following, output, params
from clary.cli.commands import Choice, Command
from clary.errors import ClaryError, UsageError

if TYPE_CHECKING:
    from clary.agent.replay import Changes
    from clary.agent.views import Observer, RunView
    from clary.stacks.model import Stack

_stack = click.option("--stack", "stack_name", metavar="NAME", help="Look on this stack only.")


class Json(click.ParamType[dict[str, Any]]):
    """A JSON object, or ``@file`` with one."""

    name = "JSON|@FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the object."""
        if isinstance(value, dict):
            return value
        text = str(value)
        try:
            found = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
        except OSError as error:
            self.fail(f"{text[1:]} cannot be read: {error.strerror}.", param, ctx)
        except ValueError as error:
            self.fail(f"it is no JSON: {error}.", param, ctx)
        if not isinstance(found, dict):
            self.fail('it is no JSON object, such as {"train": {"input": {"rate": 0.1}}}.', param, ctx)
        return found


@dataclass(frozen=True)
class _Replayed:
    """What became of one run of a list."""

    source: str
    run: RunView | None = None
    error: ClaryError | None = None

    @property
    def went_wrong(self) -> bool:
        return self.run is None or self.run.status in ("failed", "timed_out", "lost", "interrupted", "stopped")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, an item of ``-o json``."""
        return {
            "source": self.source,
            "run": self.run.to_dict() if self.run else None,
            "error": self.error.to_dict() if self.error else None,
        }


@click.command("retry", cls=Command)
@click.argument("run", metavar="RUN")
@_stack
@click.option(
    "--follow/--detach", default=True, help="Follow the run to its end, or return when its job was asked for."
)
def retry(run: str, stack_name: str | None, follow: bool) -> int:
    """Run what failed in a run again, and only that.

    The run keeps its id. What is recorded does not run again.
    """
    from clary.agent import service

    stack, identifier = params.find_run(run, stack_name)
    following.check_detach(stack, detach=not follow)
    return following.follow(
        stack, lambda observer: service.retry(stack, identifier, observer=observer), detach=not follow
    )


@click.command("replay", cls=Command)
@click.argument("run", metavar="[RUN]", required=False)
@_stack
@click.option("--at", required=True, metavar="CALL", help="From this call on everything runs: train#2, or train.")
@click.option("--flow-overrides", type=Json(), default={}, help="Inputs of the flow, by name.")
@click.option(
    "--checkpoint-overrides",
    type=Json(),
    default={},
    help='For all calls of a checkpoint: {"train": {"input": {"rate": 0.1}}} or {"score": {"output": 0.9}}.',
)
@click.option("--invocation-overrides", type=Json(), default={}, help="The same for one call, by its path.")
@click.option("--skip", multiple=True, metavar="NAME", help="Calls that keep their result. May be repeated.")
@click.option("--ids-file", type=click.Path(dir_okay=False), metavar="FILE", help="Replay these runs, one id a line.")
@click.option("--tag", metavar="WORD", help="A word to know the replay by.")
@click.option(
    "--on-change",
    type=Choice(["error", "rerun", "accept"]),
    help="A copied call that is another now: refuse, run it again, or keep its value. Default: error, unless "
    "configured.",
)
@click.option(
    "--on-error",
    type=Choice(["stop", "continue"]),
    default="stop",
    show_default=True,
    help="With --ids-file: whether to go on with the other runs when one cannot be replayed, or fails.",
)
@click.option("--wait/--detach", default=True, help="Wait for the end, or return when the jobs were asked for.")
def replay(
    run: str | None,
    stack_name: str | None,
    at: str,
    flow_overrides: dict[str, Any],
    checkpoint_overrides: dict[str, Any],
    invocation_overrides: dict[str, Any],
    skip: tuple[str, ...],
    ids_file: str | None,
    tag: str | None,
    on_change: str | None,
    on_error: str,
    wait: bool,
) -> int:
    """Start a new run that begins with a copy of another's record.

    Up to the call --at all is as RUN has recorded it; from there on everything runs. The code is
    that of the project as it is now. The exit code is 0 if the replay completes and 1 if it does not.
    """
    from clary.agent import service

    changes = service.Changes(flow_overrides, checkpoint_overrides, invocation_overrides, skip)
    batch = _Batch(stack_name, at, changes, tag, on_change, detach=not wait)
    if (run is None) == (ids_file is None):
        raise UsageError(
            "replay.which_run",
            "Which run is to be replayed is not said." if run is None else "RUN and --ids-file are both given.",
            next_step="Give RUN or --ids-file.",
            field="run",
        )
    if run is not None:
        stack, identifier = params.find_run(run, stack_name)
        following.check_detach(stack, detach=not wait)
        return following.follow(stack, lambda observer: batch.begin(stack, identifier, observer), detach=not wait)
    assert ids_file is not None
    return batch.run(_ids(ids_file), go_on=on_error == "continue")


@dataclass(frozen=True)
class _Batch:
    """Replays of several runs, all in the same way."""

    stack_name: str | None
    at: str
    changes: Changes
    tag: str | None
    on_change: str | None
    detach: bool

    def begin(self, stack: Stack, run: str, observer: Observer) -> RunView:
        """Start one replay."""
        from clary.agent import service

        return service.replay(
            stack, run, self.at, self.changes, tag=self.tag, on_change=self.on_change, observer=observer
        )

    def run(self, ids: list[str], *, go_on: bool) -> int:
        """Start a replay of each run, wait for all, and print what became of them; return the exit code."""
        replayed: list[tuple[Stack | None, _Replayed]] = []
        for identifier in ids:
            replayed.append(self._one(identifier))
            if replayed[-1][1].went_wrong and not go_on:
                break
        ended = [one if self.detach or stack is None else _waited(stack, one) for stack, one in replayed]
        output.items([one.to_dict() for one in ended], lambda: _say(ended, ids[len(ended) :]))
        return 1 if any(one.went_wrong for one in ended) or len(ended) < len(ids) else 0

    def _one(self, given: str) -> tuple[Stack | None, _Replayed]:
        from clary.cli.live import SilentView

        try:
            stack, identifier = params.find_run(given, self.stack_name)
            following.check_detach(stack, detach=self.detach)
            with following.clean_stdout(stack):
                return stack, _Replayed(identifier, self.begin(stack, identifier, SilentView()))
        except ClaryError as error:
            return None, _Replayed(given, error=error)


def _waited(stack: Stack, one: _Replayed) -> _Replayed:
    from clary.agent import service

    return one if one.run is None else _Replayed(one.source, service.wait(stack, one.run.id))


def _ids(file: str) -> list[str]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as error:
        raise UsageError(
            "replay.no_ids",
            f"{file} cannot be read: {error.strerror}.",
            next_step="Name a file with a run's id in each line, or - for the standard input.",
            field="ids_file",
        ) from error
    ids = [line.partition("#")[0].strip() for line in text.splitlines()]
    if found := [one for one in ids if one]:
        return list(dict.fromkeys(found))
    raise UsageError(
        "replay.no_ids", f"{file} names no run.", next_step="Write a run's id in each line.", field="ids_file"
    )


def _say(ended: list[_Replayed], left_out: list[str]) -> None:
    rows = [
        [one.source, one.run.id, one.run.status, one.run.result or (one.run.failure.summary if one.run.failure else "")]
        if one.run is not None
        else [one.source, "", "refused", one.error.summary if one.error else ""]
        for one in ended
    ]
    output.table(("RUN", "REPLAY", "STATUS", "RESULT"), rows)
    for one in ended:
        if one.error is not None:
            output.say(f"{one.source}: {one.error.next_step} [{one.error.code}]")
    if left_out:
        output.say(f"Not replayed, since one went wrong: {', '.join(left_out)}. --on-error continue goes on.")
