"""``clary runs``: list, show, follow, stop and resume runs. Each command advances the run that it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clary.agent.views import SETTLED, STATUSES, RunView
from clary.cli import call_options, output, params, run_text, state
from clary.cli import format as human
from clary.cli.commands import Choice, Group, Lazy
from clary.cli.kitaru import run_item
from clary.cli.other_commands import OTHER_RUN_COMMANDS
from clary.cli.output import say

if TYPE_CHECKING:
    from clary.agent.views import Observer

_run = click.argument("run", metavar="RUN")
_stack = click.option("--stack", "stack_name", metavar="NAME", help="Look on this stack only.")


@click.group(
    "runs",
    cls=Group,
    aliases={"get": "show", "input": "answer", "cancel": "stop"},
    lazy_after={
        "retry": Lazy("clary.cli.runs_replay:retry", "Run what failed in a run again, and only that."),
        "replay": Lazy("clary.cli.runs_replay:replay", "Start a new run that begins with a copy of another's record."),
        "waits": Lazy("clary.cli.runs_answer:waits", "List what runs ask."),
        "answer": Lazy("clary.cli.runs_answer:answer", "Answer what a run asks, and let it go on."),
    },
    lazy_hidden={name: Lazy("clary.cli.kitaru:other", "Not here.") for name in OTHER_RUN_COMMANDS},
)
def runs() -> None:
    """List, show, follow, stop and resume runs.

    RUN is a run's id, the beginning of one (4 characters or more), or 'latest'.
    """


@runs.command("list")
@click.option("--stack", "stack_name", metavar="NAME", help="The stack to list. Default: the current one.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first.")
@click.option("--status", type=Choice(STATUSES), metavar="STATUS", help=f"Only runs that are {', '.join(STATUSES)}.")
@click.option("--flow", metavar="NAME", help="Only runs of the flow of this name.")
def list_(stack_name: str | None, limit: int, status: str | None, flow: str | None) -> None:
    """List the runs of a stack, newest first."""
    from clary.agent import service
    from clary.stacks.service import resolve

    stack = resolve(stack_name)
    found = service.list_runs(stack, limit=limit, status=status, flow=flow)

    def text() -> None:
        if found:
            run_text.listing(found)
        else:
            of_flow = f" of {flow}" if flow else ""
            say(f"No runs{of_flow} on {stack.name} " + (f"are {status}." if status else "yet."))

    output.items([run_item(run) for run in found], text)


@runs.command("show")
@_run
@_stack
@click.option("--spec", is_flag=True, help="Show what its last attempt was specified to run with, and who said so.")
def show(run: str, stack_name: str | None, spec: bool) -> None:
    """Show one run: attempts with their phases, checkpoints, artifacts, and why it failed."""
    from clary.agent import service

    stack, identifier = params.find_run(run, stack_name)
    if spec:
        run_text.specification(service.specification(stack, identifier))
        return
    found = run_text.explained(service.get_run(stack, identifier))
    output.item(run_item(found), lambda: run_text.page(found))


@runs.command("logs")
@_run
@_stack
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
def logs(run: str, stack_name: str | None, follow: bool) -> int:
    """Print the output of a run's jobs, oldest first.

    With --follow the exit code is 0 if the run completes, 3 if it waits for an answer or a moment, and 1 if it does not
    complete. With -o json each line is a JSON object.
    """
    from clary.agent import service

    stack, identifier = params.find_run(run, stack_name)
    lines = service.logs(stack, identifier, follow=follow)
    if state.current().json and not follow:
        output.items([_log_event(*line) for line in lines], lambda: None)
        return 0
    hosts: set[str] = set()
    for host, when, text in lines:
        if state.current().json:
            output.line(_log_event(host, when, text))
        else:
            say(run_text.log_line(host, text, hosts))
    return _end_of_logs(service.get_run(stack, identifier)) if follow else 0


@runs.command("wait")
@_run
@_stack
@click.option("--timeout", type=params.Seconds(), metavar="DURATION", help="How long at most, such as 90s, 5m or 2h.")
def wait(run: str, stack_name: str | None, timeout: float | None) -> int:
    """Wait until nothing runs for a run any more.

    The exit code is 0 if it completes, 3 if it waits for an answer or a moment, and 1 if it does not complete, or not
    in time.
    """
    from clary.agent import service

    stack, identifier = params.find_run(run, stack_name)
    ended = run_text.explained(service.wait(stack, identifier, timeout))
    output.item(ended.to_dict(), lambda: run_text.summary(ended))
    return state.exit_code(ended.status)


@runs.command("stop")
@_run
@_stack
def stop(run: str, stack_name: str | None) -> None:
    """Stop a run. Its job gets a signal and time to end; what was recorded is kept."""
    from clary.agent import service

    stack, identifier = params.find_run(run, stack_name)
    stopped = service.stop(stack, identifier)

    def text() -> None:
        if stopped.status in SETTLED:
            say(f"Run {stopped.id} is {output.status(stopped.status)}.")
        else:
            what = "job" if stopped.attempts and stopped.attempts[-1].job else "process"
            say(f"Run {stopped.id} is {output.status(stopped.status)}: its {what} was asked to stop.")
            say(f"`clary runs wait {stopped.id}` waits until it is gone.")

    output.item(stopped.to_dict(), text)


@runs.command("resume")
@_run
@_stack
@click.option(
    "--on-change",
    type=Choice(["error", "rerun", "accept"]),
    help="A recorded checkpoint whose code changed: refuse, run it again, or keep its value. Default: error, unless "
    "configured.",
)
@call_options.call_options
@click.option(
    "--follow/--detach", default=True, help="Follow the run to its end, or return when its job was asked for."
)
def resume(run: str, stack_name: str | None, on_change: str | None, follow: bool, **options: Any) -> int:
    """Go on with a run that ended without a result, under the same id. Recorded checkpoints do not run again.

    Options hold as they did when it was started, but for those that are given here, that are in the flow's code, or
    that belong to the stack.
    """
    from clary.agent import service
    from clary.cli import following

    stack, identifier = params.find_run(run, stack_name)
    following.check_detach(stack, detach=not follow)
    call = call_options.given(options)

    def begin(observer: Observer) -> RunView:
        return service.resume(stack, identifier, on_change=on_change, observer=observer, call=call)

    return following.follow(stack, begin, detach=not follow)


def _log_event(host: str, when: float, text: str) -> dict[str, object]:
    return {"event": "log", "host": host, "time": when, "line": text}


def _end_of_logs(run: RunView) -> int:
    if state.current().json:
        output.line({"event": "terminal" if run.status in SETTLED else run.status, "run": run.id, "status": run.status})
    else:
        took = run_text.elapsed(run)
        say()
        say(f"{output.status(run.status)}" + (f" after {human.duration(took)}" if took is not None else ""))
    return state.exit_code(run.status)
