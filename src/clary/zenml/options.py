"""Options of ``@step`` and ``@pipeline``, but for ``settings``: what is refused with the way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from clary.engine.retry import NONE, Retries, retries_from
from clary.errors import UsageError, nearest


@dataclass(frozen=True)
class StepRetryConfig:
    """How often a step is tried again; each pause is ``backoff`` times the one before."""

    max_retries: int = 1
    delay: float = 0
    """Seconds before the second try."""
    backoff: float = 1


class StepRuntime(StrEnum):
    """Where a step runs."""

    INLINE = "inline"
    ISOLATED = "isolated"


def retries_of(given: Any) -> Retries:
    """Return the policy for ``retry=``: a ``StepRetryConfig``, a mapping of its fields, or None."""
    if given is None:
        return NONE
    if isinstance(given, Mapping):
        given = StepRetryConfig(**given)
    # ZenML's 0, its default, would take the pause away after the first retry
    return retries_from(Retries(count=given.max_retries, delay=given.delay, backoff=given.backoff or 1))


def refuse(what: str, reason: str, next_step: str) -> NoReturn:
    """Refuse what has no place: raises UsageError ``zenml.not_available``."""
    raise UsageError("zenml.not_available", f"{what} is not available here: {reason}", next_step=next_step)


def refuse_options(what: str, given: Mapping[str, Any], *, more: Mapping[str, tuple[str, str]] | None = None) -> None:
    """Refuse options that have no place, and unknown ones: UsageError ``zenml.not_available``, ``zenml.bad_option``.

    ``more`` are options that have no place just there: why, and what to do instead.
    """
    from clary.zenml.missing import NO_EFFECT, OPTIONS

    table = {**OPTIONS, **(more or {})}
    for name, value in given.items():
        if name in NO_EFFECT or (name in table and value in (None, {}, [])):
            continue
        if name in table:
            refuse(f"{what}({name}=)", *table[name])
        known = [*table, *NO_EFFECT, "name", "enable_cache", "retry", "settings", "runtime", "dynamic"]
        meant = nearest(name, [one for one in known if one != name])
        raise UsageError(
            "zenml.bad_option",
            f"{what} has no option {name!r}.",
            next_step=f"Did you mean {meant!r}?" if meant else "docs/how-to/migrate-from-zenml.md lists them.",
            field=name,
        )
