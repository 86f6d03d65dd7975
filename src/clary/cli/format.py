"""Times and durations as people read them."""

from __future__ import annotations

import time


def moment(epoch: float | None, *, now: float | None = None) -> str:
    """Return a time in the person's zone and how long ago it was: ``2026-11-22 03:10:05 (2 min ago)``.

    ``epoch`` and ``now`` in epoch seconds; an unknown time is ``-``.
    """
    if epoch is None:
        return "-"
    return f"{local_time(epoch)} ({ago(epoch, now=now)})"


def local_time(epoch: float) -> str:
    """Return a time in the person's zone, ``2026-11-22 03:10:05``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))


def clock(epoch: float) -> str:
    """Return the time of day in the person's zone, ``03:10:05``."""
    return time.strftime("%H:%M:%S", time.localtime(epoch))


def ago(epoch: float, *, now: float | None = None) -> str:
    """Return how long ago a time was, in its largest unit; a time ahead (another machine's clock) is ``in …``."""
    seconds = (time.time() if now is None else now) - epoch
    size = abs(seconds)
    if size < 2:
        return "just now"
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (float("inf"), 86400, "d")):
        if size < limit:
            text = f"{int(size // unit)} {name}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    raise AssertionError


def duration(seconds: float | None) -> str:
    """Return a duration: ``3 ms``, ``0.42 s``, ``12.3 s``, ``2 min 5 s``, ``3 h 4 min``; an unknown one is ``-``."""
    if seconds is None:
        return "-"
    seconds = max(seconds, 0.0)
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 or seconds == 0 else "<1 ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    if whole < 86400:
        return _two(whole // 60, 60, "h", "min")
    return _two(whole // 3600, 24, "d", "h")


def _two(amount: int, base: int, large: str, small: str) -> str:
    whole, rest = divmod(amount, base)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"
