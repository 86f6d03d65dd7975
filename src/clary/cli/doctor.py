"""``clary doctor``: whether a stack can run, and what to do where it cannot."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from clary.cli import output, state
from clary.cli.commands import Command
from clary.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.doctor.findings import Finding, Report, Result, Status

_WORDS = {"unchecked": "not checked"}
"""Statuses that people are told in other words."""
_CLEAR = "\r\x1b[2K"
"""Takes the line of progress away: back to its beginning, erase it (ECMA-48)."""


@click.command("doctor", cls=Command)
@click.option("--stack", "stack_name", metavar="NAME", help="The stack to examine. Default: the current one.")
def doctor(stack_name: str | None) -> int:
    """Check whether a stack can run, and say how to mend what is wrong.

    Looks at the identity, the region, the bucket, the registry and its image, the roles and their permissions, the
    network and the quotas, all at once. Each line is ok, a warning, failed, or not checked, with the reason. The only
    thing it writes is a small object in the artifact store, which it takes away again. The exit code is 1 if anything
    failed.
    """
    from clary.doctor.service import examine
    from clary.stacks.service import resolve

    stack = resolve(stack_name)
    tell, clear = _progress()
    try:
        report = examine(stack, tell=tell)
    finally:
        clear()
    output.item(report.to_dict(), lambda: _print(report))
    return 0 if report.healthy else 1


def _progress() -> tuple[Callable[[Result], None], Callable[[], None]]:
    """Return what shows a line of progress on a terminal, and what takes it away; elsewhere both do nothing."""
    if not sys.stderr.isatty() or state.current().json:
        return (lambda _: None), (lambda: None)
    done = 0

    def tell(result: Result) -> None:
        nonlocal done
        done += 1
        click.echo(f"{_CLEAR}{done} done: {result.check.title}", nl=False, err=True)

    return tell, lambda: click.echo(_CLEAR, nl=False, err=True)


def _print(report: Report) -> None:
    say(f"Stack: {output.style(report.stack, bold=True)}")
    say()
    output.table(
        ("Check", "Result", "Found"),
        [(result.check.title, _word(result.finding.status), result.finding.summary) for result in report.results],
    )
    for titles, finding in _fixes(report):
        say()
        say(f"{output.style(', '.join(titles), bold=True)} ({output.status(_word(finding.status))})")
        say(f"  {finding.fix}")
        for statement in finding.statements:
            say(f"    {json.dumps(dict(statement))}")
    say()
    say(_sum(report))


def _fixes(report: Report) -> list[tuple[list[str], Finding]]:
    """Return what there is to do, each with the titles of the checks that it is for: one cause breaks several."""
    found: dict[str, tuple[list[str], Finding]] = {}
    for result in report.results:
        finding = result.finding
        if finding.fix:
            same = json.dumps([finding.status, finding.fix, list(finding.statements)], default=dict)
            found.setdefault(same, ([], finding))[0].append(result.check.title)
    return list(found.values())


def _sum(report: Report) -> str:
    return ", ".join(f"{number} {output.status(_word(status))}" for status, number in report.counts.items() if number)


def _word(status: Status) -> str:
    return _WORDS.get(status, str(status))
