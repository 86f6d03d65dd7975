"""A run in words: its line in a table, its page, and the summary that ends a followed run."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from clary.agent.views import SETTLED, AttemptView, CallJobView, CallView, FailureView, ProgressView, RunView, WaitView
from clary.cli import format as human
from clary.cli import output
from clary.cli.output import say
from clary.engine.failure import MEMBER
from clary.files import size_text
from clary.images.pulling import pull_text

COLUMNS: dict[str, Callable[[RunView], str]] = {
    "RUN": lambda run: run.id,
    "FLOW": lambda run: textwrap.shorten(run.flow, 40, placeholder="…"),
    "STATUS": lambda run: run.status,
    "STARTED": lambda run: human.moment(run.started or run.created),
    "AGE": lambda run: human.ago(run.started or run.created),
    "DURATION": lambda run: human.duration(elapsed(run)),
    "STACK": lambda run: run.stack,
}
"""The columns of a list of runs, with what they say of a run."""
_WITH_VALUE = frozenset({"answered", "defaulted"})
"""Ends of a wait that have a value."""
_SANDBOX_IMAGE = "/clary-sandbox/python"
"""In the address of an image that holds what the sandbox was started with."""
_BAR = 20
"""Columns of a bar."""
OUTER_FRAMES, INNER_FRAMES = 4, 12
LONGEST_SUMMARY = 2000
"""Of a failure, what people are shown; ``-o json`` has all of it."""
LAYOUTS = (
    ("RUN", "FLOW", "STATUS", "STARTED", "DURATION", "STACK"),
    ("RUN", "FLOW", "STATUS", "AGE", "DURATION", "STACK"),
    ("RUN", "FLOW", "STATUS", "AGE", "DURATION"),
    ("RUN", "FLOW", "STATUS"),
    ("RUN", "STATUS"),
)
"""What is shown of them, the widest first: an id that is folded could not be copied."""


def listing(runs: Sequence[RunView]) -> None:
    """Print a table of runs, with as many columns as the terminal has room for."""
    width = output.terminal_width()
    for layout in LAYOUTS:
        body = [[COLUMNS[name](run) for name in layout] for run in runs]
        if width is None or output.table_width(layout, body) <= width:
            break
    output.table(layout, body)


def elapsed(run: RunView) -> float | None:
    """Return the seconds that a run which is over took, or None; the time between its attempts does not count."""
    if run.started is None or run.ended is None:
        return None
    if len(run.attempts) == 1:
        return run.ended - run.started
    return sum(one.ended - one.started for one in run.attempts if one.started is not None and one.ended is not None)


def billable(run: RunView) -> int | None:
    """Return the billable seconds of all attempts, or None where none is known (local runs)."""
    known = [attempt.billable_seconds for attempt in run.attempts if attempt.billable_seconds is not None]
    return sum(known) if known else None


def page(run: RunView) -> None:
    """Print everything known of a run."""
    output.rows(
        [
            ("Run", run.id),
            ("Flow", run.flow),
            ("Status", output.status(run.status)),
            ("Stack", run.stack),
            ("Created", human.moment(run.created)),
            ("Started", human.moment(run.started) if run.started else None),
            ("Ended", human.moment(run.ended) if run.ended else None),
            ("Duration", human.duration(elapsed(run)) if run.ended else None),
            ("Billable", _billable_text(run)),
            ("Inputs", ", ".join(f"{name}={value}" for name, value in run.inputs.items())),
            ("Replay of", _replay_text(run)),
            ("Result", run.result),
        ]
    )
    for attempt in run.attempts:
        _attempt(attempt)
    _calls(run.calls)
    _call_jobs(run.call_jobs)
    _waits(run)
    for line in run.progress:
        say(f"  {progress_line(line)}")
    _facts(run)
    _artifacts(run)
    if run.failure is not None:
        _failure(run.failure)
    next_steps(run, shown=True)


def summary(run: RunView) -> None:
    """Print how a followed run ended and what to do next."""
    ended = f" after {human.duration(elapsed(run))}" if elapsed(run) is not None else ""
    paid = _billable_text(run)
    say()
    say(f"{output.status(run.status)}{ended}" + (f", {paid} billable" if paid else ""))
    if run.result is not None:
        output.rows([("Result", run.result)])
    _facts(run)
    _artifacts(run)
    _waits(run)
    if run.failure is not None:
        _failure(run.failure)
    next_steps(run)


def specification(spec: dict[str, Any]) -> None:
    """Print what a run was specified to run with."""
    flow = spec["flow"]

    def text() -> None:
        output.rows(
            [
                ("Flow", f"{flow.get('file') or flow.get('module')}:{flow['name']}"),
                ("Code", spec["code"]),
                ("Python", spec["python"]),
            ]
        )
        values = [[one["name"], str(one["value"]), one["source"]] for one in spec["values"]]
        if values:
            say()
            output.table(["NAME", "VALUE", "FROM"], values)

    output.item(spec, text)


def _outer_and_inner(frames: Sequence[str]) -> list[str]:
    """Return the frames to show: of a deep recursion, where it began and where it ended; a group's exceptions all."""
    own = list(takewhile(lambda frame: not frame.startswith(MEMBER), frames))
    members = frames[len(own) :]
    left_out = len(own) - OUTER_FRAMES - INNER_FRAMES
    if left_out <= 1:
        return [*own, *members]
    return [*own[:OUTER_FRAMES], f"… {left_out:,} more", *own[-INNER_FRAMES:], *members]


def explained(run: RunView) -> RunView:
    """Return the run with a next step that fits the sandbox, where a package was missing in the sandbox's own image."""
    missing = re.match(r"ModuleNotFoundError: No module named '(\w+)", run.failure.summary) if run.failure else None
    image = (run.attempts[-1].image or "") if run.attempts else ""
    if missing is None or run.failure is None or _SANDBOX_IMAGE not in image:
        return run
    step = (
        f"On the sandbox: `clary sandbox stop`, then `clary sandbox start --detach --with {missing[1]}` (or the "
        f"package's name on PyPI, if that is another). {run.failure.next_step}"
    )
    return replace(run, failure=replace(run.failure, next_step=step))


def next_steps(run: RunView, *, shown: bool = False) -> None:
    """Print commands worth typing next; ``shown`` leaves out the one that shows what was just shown."""
    say()
    say("Next:")
    for command in next_commands(run):
        if not (shown and command.startswith("clary runs show")):
            say(f"  {command}")


def next_commands(run: RunView) -> list[str]:
    """Return commands worth typing next, the most useful first."""
    if run.status == "waiting":
        asked = [wait for wait in run.waits if wait.outcome is None]
        answers = [f"clary runs answer {run.id} {wait.name} VALUE" for wait in asked]
        if _is_here(run) and (not asked or (run.wakes is not None and run.wakes <= time.time())):
            answers.insert(0, f"clary runs resume {run.id}")
        return [*answers, f"clary runs show {run.id}", f"clary runs stop {run.id}"]
    if run.status == "completed":
        return [f"clary runs show {run.id}", f"clary runs logs {run.id}", "clary runs list"]
    if run.status in SETTLED:
        return [f"clary runs resume {run.id}", f"clary runs logs {run.id}", f"clary runs show {run.id}"]
    return [f"clary runs logs {run.id} -f", f"clary runs wait {run.id}", f"clary runs stop {run.id}"]


def call_line(call: CallView) -> str:
    """Return the line of one recorded call: ``✓ train#3  0.42 s``."""
    failed = call.status == "failed"
    mark = output.style("✗", "red") if failed else output.style("✓", "green")
    took = human.duration(call.ended - call.started) if call.origin is None else origin_text(call)
    tries = f"  {call.tries} tries" if call.tries > 1 else ""
    return f"{mark} {call.path}  {took}{tries}" + ("  failed" if failed else "")


def log_line(host: str, text: str, hosts: set[str]) -> str:
    """Return a line of output with its host once there are several in ``hosts``, which takes it in.

    That of a call in a job of its own, ``fit#1 algo-1``, is always named: its lines are not the flow's.
    """
    hosts.add(host)
    return f"[{host}] {text}" if len(hosts) > 1 or " " in host else text


def origin_text(call: CallView) -> str:
    """Return where a result that was not computed in its run comes from: ``reused from run 01K…``."""
    origin = call.origin or {}
    words = {"cache": "reused from run", "replay": "copied from run", "skip": "kept from run"}
    return f"{words[origin['kind']]} {origin['run']}" if origin.get("kind") in words else "given"


def _replay_text(run: RunView) -> str | None:
    if run.replay_of is None:
        return None
    tag = f" ({run.replay_of['tag']})" if run.replay_of["tag"] else ""
    changes = f", with {'; '.join(run.replay_of['changes'])}" if run.replay_of["changes"] else ""
    return f"{run.replay_of['run']} from {run.replay_of['at']} on{tag}{changes}"


def progress_line(line: ProgressView) -> str:
    """Return the line of one call's progress: ``train#3  ━━━━────── 4/10  epoch 4``."""
    bar = ""
    if line.total:
        share = min(max(line.done / line.total, 0.0), 1.0)
        full = round(share * _BAR)
        bar = f"{output.style('━' * full, 'cyan')}{'─' * (_BAR - full)} "
    count = f"{line.done:g}" if line.total is None else f"{line.done:g}/{line.total:g}"
    return "  ".join(part for part in (line.path, f"{bar}{count}", line.message) if part)


def _billable_text(run: RunView) -> str | None:
    seconds = billable(run)
    return None if seconds is None else human.duration(seconds) if seconds >= 60 else f"{seconds} s"


def _attempt(attempt: AttemptView) -> None:
    say()
    job = f", job {attempt.job}" if attempt.job else ""
    count = f"{attempt.instance_count} x " if (attempt.instance_count or 1) > 1 else ""
    on = f", on {count}{attempt.instance_type}" if attempt.instance_type else ""
    say(output.style(f"Attempt {attempt.number}", bold=True) + f": {attempt.status}{job}{on}")
    if attempt.image:
        size = f" ({pull_text(attempt.image_size)})" if attempt.image_size else ""
        say(f"  Image {attempt.image}{size}")
    for phase in attempt.phases:
        when = human.clock(phase.started) if phase.started is not None else "-"
        took = human.duration(phase.ended - phase.started) if phase.started and phase.ended else ""
        say(f"  {when}  {phase.name:<12} {took:>9}  {phase.message}".rstrip())


def _calls(calls: tuple[CallView, ...]) -> None:
    if not calls:
        return
    say()
    say(output.style("Checkpoints", bold=True))
    for call in calls:
        preview = textwrap.shorten(call.preview, 60, placeholder="…")
        shown = [
            call_line(call),
            f"attempt {call.attempt}" if call.origin is None else "",
            preview,
            call.artifact or "",
        ]
        say("  " + "  ".join(part for part in shown if part))
        for one in call.failed_tries:
            error = textwrap.shorten(one.error, 100, placeholder="…")
            say(f"      try {one.number} failed at {human.clock(one.at)}: {error}")


def _call_jobs(jobs: tuple[CallJobView, ...]) -> None:
    if not jobs:
        return
    say()
    say(output.style("Jobs of checkpoints", bold=True))
    for job in jobs:
        count = f"{job.instance_count} x " if (job.instance_count or 1) > 1 else ""
        on = f"{count}{job.instance_type}" if job.instance_type else ""
        took = human.duration(job.seconds) if job.seconds is not None else ""
        say("  " + "  ".join(part for part in (job.path, job.status, took, on, job.job) if part))


def _waits(run: RunView) -> None:
    if run.waits:
        say()
        say(output.style("Questions", bold=True))
    for wait in run.waits:
        value = f": {wait.answer!r}" if wait.outcome in _WITH_VALUE else ""
        by = f" by {wait.by}" if wait.by else ""
        say(f"  {wait.name}: {wait.question}" + (f"  → {wait.outcome}{value}{by}" if wait.outcome else ""))
        if wait.outcome is None:
            wait_details(wait, indent="    ")
    if run.wakes is not None and _is_here(run):
        say(f"A resume goes on without an answer from {human.moment(run.wakes)} on.")
    elif run.wakes is not None:
        say(f"Goes on by {human.moment(run.wakes)} in any case.")


def _is_here(run: RunView) -> bool:
    """Tell whether the run has no jobs, so that nobody but a resume wakes it."""
    return all(attempt.job is None for attempt in run.attempts)


def wait_details(wait: WaitView, *, indent: str = "  ") -> None:
    """Print what helps to answer a question."""
    about = "".join(f"{name}={value!r} " for name, value in wait.metadata.items()).strip()
    output.rows(
        [
            ("Expected", wait.expected),
            ("Asked", human.moment(wait.asked)),
            ("Expires", human.moment(wait.expires) if wait.expires else None),
            ("Reminder", wait.reminder),
            ("About", about),
        ],
        indent=indent,
    )


def _facts(run: RunView) -> None:
    if not run.facts:
        return
    say(output.style("Facts", bold=True))
    output.rows(
        [(name, textwrap.shorten(str(value), 200, placeholder="…")) for name, value in run.facts.items()], indent="  "
    )


def _artifacts(run: RunView) -> None:
    if not run.artifacts:
        return
    say(output.style("Artifacts", bold=True))
    width = min(max(len(artifact.name) for artifact in run.artifacts), output.LONGEST_NAME)
    for artifact in run.artifacts:
        about = ", ".join(part for part in (artifact.type, size_text(artifact.size) if artifact.size else "") if part)
        say(f"  {artifact.name:<{width}}  {artifact.location}" + (f"  ({about})" if about else ""))


def _failure(failure: FailureView) -> None:
    code = f", exit code {failure.exit_code}" if failure.exit_code is not None else ""
    say()
    told = failure.summary
    if len(told) > LONGEST_SUMMARY:
        told = f"{told[:LONGEST_SUMMARY]}… ({len(told):,} characters)"
    summary = textwrap.indent(told, "  ").lstrip()  # an exception's text may have several lines
    say(output.style("Why", "red", bold=True) + f": {summary} ({failure.cause.replace('_', ' ')}{code})")
    for frame in _outer_and_inner(failure.frames):
        say(textwrap.indent(frame.rstrip(), "  "))
    say(f"Next step: {failure.next_step}")
