"""Where a checkpoint runs: what ``@checkpoint(runtime="isolated", …)`` says, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from clary.errors import UsageError, nearest

if TYPE_CHECKING:
    from clary.image import Image

INLINE, ISOLATED = "inline", "isolated"
HOSTS, TORCHRUN, MPI = "hosts", "torchrun", "mpi"
DISTRIBUTIONS = (HOSTS, TORCHRUN, MPI)
HOSTS_VARIABLE, RANK_VARIABLE = "CLARY_HOSTS", "CLARY_HOST_RANK"
"""Set on each host of a call's job: the names of all, with commas between, and the number of this one, from 0."""
DEFAULT_LIMIT = 10
"""Calls of one checkpoint that run at once, each in a job of its own, unless the checkpoint says otherwise."""

Distribution: TypeAlias = "Literal['hosts', 'torchrun', 'mpi'] | Mapping[str, Any]"


@dataclass(frozen=True)
class Isolation:
    """How the calls of a checkpoint run in jobs of their own."""

    resources: Mapping[str, Any]
    """Settings of the job, over those of stack and flow."""
    image: str | Image | None = None
    """None: the flow's."""
    limit: int = DEFAULT_LIMIT
    distribution: str | None = None
    """One of ``DISTRIBUTIONS``; None for a job of one host."""
    processes: int | None = None
    """Processes on each host, for launchers; None: one for each GPU, or one."""


def isolation_of(
    name: str,
    runtime: str,
    resources: Mapping[str, Any] | None,
    image: str | Image | None,
    distribution: Distribution | None,
    limit: int | None,
) -> Isolation | None:
    """Return how a checkpoint is isolated, None for one that runs in the flow's own process.

    Raises UsageError: ``checkpoint.bad_runtime``, ``checkpoint.only_isolated``, ``checkpoint.bad_limit``,
    ``checkpoint.bad_distribution``, ``checkpoint.no_distribution``.
    """
    if runtime not in (INLINE, ISOLATED):
        raise UsageError(
            "checkpoint.bad_runtime",
            f"runtime={runtime!r} of the checkpoint {name} is no place to run.",
            next_step="“inline” runs it in the flow's job, “isolated” in a job of its own.",
            field="runtime",
        )
    given = {"resources": resources, "image": image, "distribution": distribution, "limit": limit}
    if runtime == INLINE:
        _refuse_for_inline(name, [option for option, value in given.items() if value is not None])
        return None
    if limit is not None and (limit is True or limit < 1):
        raise UsageError(
            "checkpoint.bad_limit",
            f"limit={limit!r} of the checkpoint {name} is no number of jobs.",
            next_step="Give 1 or more.",
            field="limit",
        )
    launcher, processes = _distribution(name, distribution)
    wanted = dict(resources or {})
    if launcher is None and _hosts(wanted) > 1:
        raise UsageError(
            "checkpoint.no_distribution",
            f"The checkpoint {name} asks for {_hosts(wanted)} hosts and does not say what starts on them.",
            next_step='Give distribution="torchrun", "mpi" or "hosts" (the function on each of them).',
            field="distribution",
        )
    return Isolation(wanted, image, DEFAULT_LIMIT if limit is None else limit, launcher, processes)


def _hosts(resources: Mapping[str, Any]) -> int:
    count = resources.get("instance_count", 1)
    return count if isinstance(count, int) else 1  # what is wrong with it is said at submit, with all else


def _refuse_for_inline(name: str, given: list[str]) -> None:
    if given:
        raise UsageError(
            "checkpoint.only_isolated",
            f"{given[0]}= of the checkpoint {name} is for a job of its own, and it runs in the flow's job.",
            next_step='Give runtime="isolated" too, or set the flow\'s: @flow(instance_type=…, image=…, workers=…).',
            field=given[0],
        )


def _distribution(name: str, given: Distribution | None) -> tuple[str | None, int | None]:
    """Return the launcher and the processes on each host, from ``"torchrun"`` or ``{"torchrun": 4}``."""
    if given is None:
        return None, None
    launcher, processes = next(iter(given.items()), ("", None)) if isinstance(given, Mapping) else (given, None)
    whole = processes is None or (isinstance(processes, int) and not isinstance(processes, bool) and processes > 0)
    if launcher in DISTRIBUTIONS and whole and (launcher != HOSTS or processes is None):
        return str(launcher), processes
    meant = nearest(str(launcher), DISTRIBUTIONS)
    hint = f"Did you mean {meant!r}? " if meant is not None and meant != launcher else ""
    raise UsageError(
        "checkpoint.bad_distribution",
        f"distribution={given!r} of the checkpoint {name} names no launcher.",
        next_step=f'{hint}Give "torchrun", "mpi" or "hosts"; {{"torchrun": 4}} starts 4 processes on each host.',
        field="distribution",
    )
