"""When a schedule is due: the ``at``, ``rate`` and ``cron`` expressions of EventBridge Scheduler.

Source: the service's user guide, "Schedule types": six fields (minutes, hours, day of month, month, day of week, year),
one of the two days is "?"; Sunday is 1; L, W and # as described there; a local time that a clock change leaves out is
left out, one that comes twice is taken once. No library knows this dialect: those for cron count weekdays from 0, have
no years, and know neither W nor "?" as Scheduler means them.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Protocol

_AT = re.compile(r"at\((\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\)")
_RATE = re.compile(r"rate\(\s*([1-9]\d*)\s+(minutes?|hours?|days?)\s*\)")
_CRON = re.compile(r"cron\(\s*(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s*\)")
_SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_YEARS = (1970, 2199)


class Expression(Protocol):
    """When a schedule is due. All times are epoch seconds."""

    def next(self, after: float, begin: float) -> float | None:
        """Return the first time later than ``after`` of a schedule that began at ``begin``; None when there is none."""


@dataclass(frozen=True)
class At:
    """Once."""

    moment: float

    def next(self, after: float, begin: float) -> float | None:
        """See ``Expression``."""
        del begin
        return self.moment if self.moment > after else None


@dataclass(frozen=True)
class Rate:
    """At a steady rate from the beginning on, which is the first time."""

    seconds: float

    def next(self, after: float, begin: float) -> float | None:
        """See ``Expression``."""
        return begin if begin > after else begin + self.seconds * ((after - begin) // self.seconds + 1)


@dataclass(frozen=True)
class Cron:
    """By the calendar of a time zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: frozenset[int]
    years: frozenset[int]
    zone: tzinfo

    def next(self, after: float, begin: float) -> float | None:
        """See ``Expression``."""
        after = max(after, begin - 1e-3)
        day = datetime.fromtimestamp(after, self.zone).date() - timedelta(days=1)  # a change of clocks goes back hours
        last = date(max(self.years), 12, 31)
        while day <= last:
            if day.year not in self.years:
                day = date(day.year + 1, 1, 1)
                continue
            if day.month in self.months and self.days.has(day):
                found = self._on(day, after)
                if found is not None:
                    return found
            day += timedelta(days=1)
        return None

    def _on(self, day: date, after: float) -> float | None:
        for hour in self.hours:
            for minute in self.minutes:
                local = datetime.combine(day, time(hour, minute), self.zone)
                moment = local.timestamp()
                there = datetime.fromtimestamp(moment, self.zone).replace(tzinfo=None) == local.replace(tzinfo=None)
                if there and moment > after:
                    return moment
        return None


@dataclass(frozen=True)
class Days:
    """The two fields for days, of which one is "?"."""

    of_month: str
    of_week: str

    def has(self, day: date) -> bool:
        """Tell whether a day is meant."""
        if self.of_week == "?":
            return any(_is_day_of_month(part, day) for part in self.of_month.split(","))
        return any(_is_day_of_week(part, day) for part in self.of_week.split(","))


def parse(text: str, zone: tzinfo = UTC) -> Expression:
    """Read an expression; raises ValueError for what is none."""
    if found := _AT.fullmatch(text):
        return At(datetime.fromisoformat(found[1]).replace(tzinfo=zone).timestamp())
    if found := _RATE.fullmatch(text):
        return Rate(int(found[1]) * _SECONDS[found[2].rstrip("s")])
    if found := _CRON.fullmatch(text):
        minutes, hours, of_month, months, of_week, years = (field.upper() for field in found.groups())
        return Cron(
            tuple(sorted(_numbers(minutes, 0, 59))),
            tuple(sorted(_numbers(hours, 0, 23))),
            _days(of_month, of_week),
            frozenset(_numbers(months, 1, 12, _MONTHS)),
            frozenset(_numbers(years, *_YEARS)),
            zone,
        )
    raise ValueError(f"{text!r} is neither at(yyyy-mm-ddThh:mm:ss), rate(value unit) nor cron(six fields)")


def _numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    """Return the numbers that a field means: ``*``, ``a``, ``a-b``, each with ``/step``, and lists of them."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        every = _number(step, 1, high, None) if slash else 1
        if span == "*":
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _number(start, low, high, names)
            last = _number(end, low, high, names) if dash else (high if slash else first)
        if first > last:
            raise ValueError(f"{part!r} ends before it begins")
        found |= set(range(first, last + 1, every))
    return found


def _number(text: str, low: int, high: int, names: dict[str, int] | None) -> int:
    number = (names or {}).get(text)
    if number is None and text.isascii() and text.isdecimal():
        number = int(text)
    if number is None or not low <= number <= high:
        raise ValueError(f"{text!r} is not between {low} and {high}")
    return number


def _days(of_month: str, of_week: str) -> Days:
    if (of_month == "?") == (of_week == "?"):
        raise ValueError("one of the day of month and the day of week has to be “?”")
    days = Days(of_month, of_week)
    for part in (of_month if of_week == "?" else of_week).split(","):
        if of_week == "?":
            if part not in ("L", "LW"):
                _number(part[:-1], 1, 31, None) if part.endswith("W") else _numbers(part, 1, 31)
        elif "#" in part:
            weekday, _, nth = part.partition("#")
            _number(weekday, 1, 7, _WEEKDAYS)
            _number(nth, 1, 5, None)
        elif part != "L":
            _number(part[:-1], 1, 7, _WEEKDAYS) if _is_last(part) else _numbers(part, 1, 7, _WEEKDAYS)
    return days


def _is_last(part: str) -> bool:
    return part.endswith("L") and len(part) > 1


def _is_day_of_month(part: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if part == "L":
        return day.day == last
    if part == "LW":
        return day.day == _nearest_weekday(day.replace(day=last), last)
    if part.endswith("W"):
        wanted = int(part[:-1])
        return wanted <= last and day.day == _nearest_weekday(day.replace(day=wanted), last)
    return day.day in _numbers(part, 1, 31)


def _nearest_weekday(day: date, last: int) -> int:
    """Return the day of the same month that is the nearest one from Monday to Friday."""
    if day.weekday() == calendar.SATURDAY:
        return day.day - 1 if day.day > 1 else day.day + 2
    if day.weekday() == calendar.SUNDAY:
        return day.day + 1 if day.day < last else day.day - 2
    return day.day


def _is_day_of_week(part: str, day: date) -> bool:
    weekday = day.isoweekday() % 7 + 1
    if "#" in part:
        wanted, _, nth = part.partition("#")
        return weekday == _number(wanted, 1, 7, _WEEKDAYS) and (day.day - 1) // 7 + 1 == int(nth)
    if part == "L":
        return weekday == _WEEKDAYS["SAT"]
    if _is_last(part):
        is_last = day.day + 7 > calendar.monthrange(day.year, day.month)[1]
        return weekday == _number(part[:-1], 1, 7, _WEEKDAYS) and is_last
    return weekday in _numbers(part, 1, 7, _WEEKDAYS)
