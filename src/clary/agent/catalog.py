"""Finding runs: the stack's own record is the truth; what this machine has seen of it makes that quicker."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from clary.agent import lifecycle
from clary.agent.place import Place, place_of
from clary.agent.present import run_view
from clary.agent.views import ArtifactView, AttemptView, CallView, FailureView, PhaseView, RunView, TryView
from clary.control import database, projects, runs
from clary.errors import AwsError, ClaryError, ConflictError, NotFoundError, UsageError
from clary.ids import LENGTH, is_id
from clary.stacks import service as stacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from clary.stacks.model import Stack

_READERS = 8
"""Runs that are read at once; a few Describes beside each other stay far below the published rates."""
_SHOWN = 5


def remember(view: RunView) -> RunView:
    """Keep what was seen of a run on this machine, where that is possible, and return it."""
    with contextlib.suppress(ClaryError), database.local().transaction() as connection:
        runs.remember(connection, view.to_dict())
    return view


def remember_project(run: str, root: Path) -> None:
    """Keep where the code of a run lies on this machine."""
    with contextlib.suppress(ClaryError), database.local().transaction() as connection:
        projects.remember(connection, run, root)


def project_of(run: str) -> Path | None:
    """Return where the code of a run lies, if it was submitted from this machine and the folder is still there."""
    with contextlib.suppress(ClaryError), database.local().reading() as connection:
        root = projects.root_of(connection, run)
        return root if root is not None and root.is_dir() else None
    return None


def newest(place: Place, *, limit: int, status: str | None, flow: str | None) -> list[RunView]:
    """Return up to ``limit`` runs of a stack, newest first, brought up to date; of one state and flow, if named."""
    found: list[RunView] = []
    waiting = place.run_ids()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="clary-runs") as pool:
        while waiting and len(found) < limit:
            batch, waiting = waiting[: max(limit, _READERS)], waiting[max(limit, _READERS) :]
            known = _completed(batch, place.stack)
            views = pool.map(lambda run: known.get(run) or _looked_at(place, run), batch)  # noqa: B023 - used at once
            seen = [view for view in views if view is not None]
            found += [view for view in seen if status in (None, view.status) and flow in (None, view.flow)]
    return found[:limit]


def find(prefix: str, stack: Stack | None) -> tuple[Stack, str]:
    """Return the stack and the full id of the run whose id begins with ``prefix`` (any case).

    ``stack`` limits the search. Else the runs that this machine has seen are looked at, then the stacks: the current
    one first, then all others.

    Raises NotFoundError (``run.not_found``), UsageError (``run.ambiguous``), and what is wrong with the current stack
    where that could not be looked at; another one out of reach is told with ``run.not_found``.
    """
    wanted = prefix.upper()
    if stack is not None:
        return stack, _only(prefix, [run for run in place_of(stack).run_ids() if run.startswith(wanted)], [stack])
    seen = _seen(wanted)
    if seen is not None:
        return seen
    searched: list[Stack] = []
    out_of_reach: dict[str, ClaryError] = {}
    current = stacks.listing().current.value
    for candidate in _stacks():
        try:
            matching = [run for run in place_of(candidate).run_ids() if run.startswith(wanted)]
        except ClaryError as error:  # one stack out of reach must not hide a run of another
            out_of_reach[candidate.name] = error
            continue
        searched.append(candidate)
        if matching:
            return candidate, _only(prefix, matching, searched)
    if current in out_of_reach:
        raise out_of_reach[current]
    raise _nowhere(prefix, searched, out_of_reach)


def _nowhere(prefix: str, searched: list[Stack], out_of_reach: Mapping[str, ClaryError]) -> NotFoundError:
    reasons = "".join(f" {name} could not be looked at: {error.summary}" for name, error in out_of_reach.items())
    return NotFoundError(
        "run.not_found",
        f"No run begins with {prefix!r} on: {', '.join(stack.name for stack in searched)}.{reasons}",
        next_step="`clary runs list` shows the runs of a stack.",
        field="run",
        details={"out_of_reach": {name: error.code for name, error in out_of_reach.items()}} if out_of_reach else None,
    )


def _only(prefix: str, matching: list[str], searched: list[Stack]) -> str:
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise _nowhere(prefix, searched, {})
    shown = ", ".join(matching[:_SHOWN]) + (" …" if len(matching) > _SHOWN else "")
    raise UsageError(
        "run.ambiguous",
        f"{len(matching)} runs begin with {prefix!r}: {shown}",
        next_step="Give more of the id.",
        field="run",
        details={"runs": matching[:20]},
    )


def _seen(wanted: str) -> tuple[Stack, str] | None:
    """Return the run of that full id, if this machine has seen it on a stack that is still there."""
    if len(wanted) != LENGTH or not is_id(wanted):
        return None
    try:
        with database.local().reading() as connection:
            row = runs.get(connection, wanted)
        return None if row is None else (stacks.find(row.stack).stack, row.id)
    except ClaryError:
        return None


def _stacks() -> Iterator[Stack]:
    listing = stacks.listing()
    entries = sorted(listing.entries, key=lambda entry: entry.stack.name != listing.current.value)
    return (entry.stack for entry in entries)


def _completed(batch: list[str], stack: Stack) -> dict[str, RunView]:
    """Return the runs that were completed when they were last seen: that is the one state that no resume leaves."""
    if stack.type == "local":
        return {}  # reading them takes no longer
    try:
        with database.local().reading() as connection:
            rows = [row for run in batch if (row := runs.get(connection, run)) is not None]
    except ClaryError:
        return {}
    return {row.id: _view(row.view) for row in rows if row.status == "completed" and row.stack == stack.name}


def _looked_at(place: Place, run: str) -> RunView | None:
    """Advance a run and return it; None for one whose record is not there (it is being made, or was deleted).

    Where its job cannot be looked at (too many requests, no right to), the record alone is shown.
    """
    try:
        return remember(lifecycle.advance(place, run, finish=False).view)
    except NotFoundError as error:
        if error.code != "run.not_found":
            raise
        return None
    except (AwsError, ConflictError):
        return run_view(place.read(run), place.store)


def _view(data: dict[str, Any]) -> RunView:
    failure = data["failure"]
    attempts = [
        AttemptView(**{**attempt, "phases": tuple(PhaseView(**phase) for phase in attempt["phases"])})
        for attempt in data["attempts"]
    ]
    return RunView(
        **{
            **data,
            "failure": None if failure is None else FailureView(**{**failure, "frames": tuple(failure["frames"])}),
            "attempts": tuple(attempts),
            "calls": tuple(_call_view(call) for call in data["calls"]),
            "artifacts": tuple(ArtifactView(**artifact) for artifact in data["artifacts"]),
        }
    )


def _call_view(data: dict[str, Any]) -> CallView:
    failed = tuple(TryView(**one) for one in data.get("failed_tries", ()))
    return CallView(**{**data, "failed_tries": failed})
