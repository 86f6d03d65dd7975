"""Commands of Kitaru's command line that are refused with what to do instead, and its words in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clary.cli.commands import Command
from clary.cli.other_commands import OTHER_COMMANDS, OTHER_RUN_COMMANDS
from clary.cli.state import current
from clary.errors import UsageError

if TYPE_CHECKING:
    from clary.agent.views import RunView

_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command("other", cls=Command, context_settings=_ANYTHING)
@click.pass_context
def other(ctx: click.Context) -> None:
    """Not here: the answer says why, and what to do instead."""
    name = str(ctx.info_name)
    in_runs = ctx.parent is not None and ctx.parent.info_name == "runs"
    reason, step = (OTHER_RUN_COMMANDS if in_runs else OTHER_COMMANDS)[name]
    raise UsageError("cli.not_here", reason, next_step=step, details={"command": name})


def run_item(view: RunView) -> dict[str, Any]:
    """Return a run as plain data; of ``clary executions`` with Kitaru's names beside ours."""
    shown = view.to_dict()
    if not current().kitaru:
        return shown
    from clary.kitaru.models import failure_info, fields_of, pending_wait

    fields = fields_of(view)
    failure = failure_info(view)
    open_ = [pending_wait(one) for one in view.waits if one.outcome is None]
    theirs = {
        **{name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()},
        "status": str(fields["status"]),
        "pending_wait": None if not open_ else {**vars(open_[0]), "entered_waiting_at": _moment(open_[0])},
    }
    own = {"clary_status": view.status, "failure": None if failure is None else {**shown["failure"], **vars(failure)}}
    return {**shown, **theirs, **own}


def _moment(wait: Any) -> str | None:
    return None if wait.entered_waiting_at is None else str(wait.entered_waiting_at.isoformat())
