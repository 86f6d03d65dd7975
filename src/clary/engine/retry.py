"""How often a failed call or flow is tried again, after which pause, and for which exceptions."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from clary.errors import ClaryError, Retry, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

_DAY = 86400.0

Worth: TypeAlias = "type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]"


def _kinds(given: Any) -> Any:
    """Return one class, or a list of them, as a tuple; anything else as it is."""
    if isinstance(given, list):
        return tuple(given)
    return (given,) if _is_kind(given) else given


def _within(value: Any, least: float, most: float = math.inf) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most


def _is_kind(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


@dataclass(frozen=True)
class Retries:
    """Tries after the first, and the pauses before them.

    The pause before try ``n`` (from 1) is ``delay * backoff ** (n - 1)`` seconds, ``max_delay`` at most; with
    ``jitter`` any time between half of it and the whole, so that many calls do not come back at once.
    """

    count: int
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 300.0
    jitter: bool = True
    on: Worth = (Exception,)
    """Exceptions that are worth another try, or a function that says so of one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", _kinds(self.on))
        given: dict[str, Any] = vars(self)
        fine = {
            "count": isinstance(given["count"], int) and _within(given["count"], 0),
            "delay": _within(given["delay"], 0, _DAY),
            "backoff": _within(given["backoff"], 1, 100),
            "max_delay": _within(given["max_delay"], 0, _DAY),
            "on": all(map(_is_kind, given["on"])) if isinstance(given["on"], tuple) else callable(given["on"]),
        }
        for name in (name for name, is_fine in fine.items() if not is_fine):
            raise UsageError(
                "retries.out_of_range",
                f"retries.{name} is {getattr(self, name)!r}.",
                next_step="count is 0 or more, delay and max_delay are 0 to 86400 seconds, backoff is 1 to 100, on is "
                "classes of exceptions or a function of one.",
                field=f"retries.{name}",
            )

    def allows(self, number: int, error: BaseException) -> bool:
        """Tell whether try ``number`` after the first may follow on this failure."""
        if number > self.count or (isinstance(error, ClaryError) and error.retry is Retry.NO):
            return False
        if isinstance(self.on, tuple):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def pause(self, number: int) -> float:
        """Return the seconds before try ``number`` after the first."""
        try:
            whole = min(self.delay * self.backoff ** (number - 1), self.max_delay)
        except OverflowError:  # after a thousand tries or so
            whole = self.max_delay if self.delay else 0.0
        return whole * random.uniform(0.5, 1) if self.jitter else whole


NONE = Retries(0)

RetriesLike: TypeAlias = "int | dict[str, Any] | Retries | None"


def retries_from(given: RetriesLike) -> Retries:
    """Return the policy that a decorator was given: a count, the fields of ``Retries``, or one made.

    Raises UsageError ``retries.bad_value``.
    """
    if isinstance(given, Retries):
        return given
    if given is None:
        return NONE
    try:
        if isinstance(given, int) and not isinstance(given, bool):
            return Retries(given)
        if isinstance(given, dict):
            _check_fields(given)
            return Retries(**given)
    except TypeError as error:
        raise _bad(given, str(error)) from None
    raise _bad(given, "it is neither a number nor Retries(…)")


def _check_fields(given: dict[str, Any]) -> None:
    known = [one.name for one in fields(Retries)]
    for name in (name for name in given if name not in known):
        meant = nearest(str(name), known)
        raise UsageError(
            "retries.bad_value",
            f"retries has no field {name!r}.",
            next_step=f"Did you mean {meant!r}?" if meant else f"Its fields are: {', '.join(known)}.",
            field="retries",
        )


def _bad(given: Any, reason: str) -> UsageError:
    return UsageError(
        "retries.bad_value",
        f"retries={given!r} is no policy of retries: {reason}.",
        next_step="Write retries=3, or retries=Retries(count=3, delay=1, backoff=2, on=(ConnectionError,)).",
        field="retries",
    )
