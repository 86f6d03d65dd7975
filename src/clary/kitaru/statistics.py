"""Counting executions by what they have in common, in Kitaru's shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from clary.kitaru.errors import KitaruUsageError

if TYPE_CHECKING:
    from clary.kitaru.models import Execution


class ExecutionStatisticsDimension(StrEnum):
    """By what executions are counted."""

    STATUS = "status"
    FLOW = "flow"
    STACK = "stack"
    TIME = "time"
    METADATA = "metadata"


class ExecutionStatisticsTimeGranularity(StrEnum):
    """Into which spans time is cut."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class ExecutionStatisticsMetricSource(StrEnum):
    """What is measured of each execution."""

    DURATION = "duration"
    STEP_COUNT = "step_count"
    METADATA = "metadata"


class ExecutionStatisticsMetricAggregation(StrEnum):
    """How the figures of a group become one."""

    AVG = "avg"
    SUM = "sum"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True)
class ExecutionStatisticsGrouping:
    """One dimension; ``time`` needs a granularity, ``metadata`` the name of a fact."""

    dimension: ExecutionStatisticsDimension | str
    name: str | None = None
    time_granularity: ExecutionStatisticsTimeGranularity | str | None = None
    metadata_key: str | None = None


@dataclass(frozen=True)
class ExecutionStatisticsMetric:
    """One figure of each group; ``metadata`` needs the name of a fact."""

    name: str
    source: ExecutionStatisticsMetricSource | str
    aggregation: ExecutionStatisticsMetricAggregation | str
    metadata_key: str | None = None


@dataclass(frozen=True)
class ExecutionStatisticsGroup:
    """Executions that have the keys in common."""

    keys: dict[str, Any]
    execution_count: int
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class ExecutionStatistics:
    """All groups, the largest first."""

    groups: list[ExecutionStatisticsGroup]
    truncated: bool


def collect(
    executions: Sequence[Execution], group_by: Sequence[Any], metrics: Sequence[Any], max_groups: int
) -> ExecutionStatistics:
    """Return the groups; raises KitaruUsageError ``kitaru.bad_statistics``."""
    groupings = [_grouping(one) for one in group_by]
    measures = [_metric(one) for one in metrics]
    members: dict[tuple[Any, ...], list[Execution]] = {}
    for one in executions:
        members.setdefault(tuple(_key(grouping, one) for grouping in groupings), []).append(one)
    names = [str(one.name or one.metadata_key or one.time_granularity or one.dimension) for one in groupings]
    groups = [
        ExecutionStatisticsGroup(
            dict(zip(names, keys, strict=True)), len(found), {one.name: _figure(one, found) for one in measures}
        )
        for keys, found in members.items()
    ]
    groups.sort(key=lambda group: -group.execution_count)
    return ExecutionStatistics(groups[:max_groups], len(groups) > max_groups)


def _grouping(given: Any) -> ExecutionStatisticsGrouping:
    if not isinstance(given, ExecutionStatisticsGrouping):  # such as flow, time:day, metadata:team
        dimension, _, detail = str(given).partition(":")
        given = ExecutionStatisticsGrouping(
            dimension,
            time_granularity=detail if dimension == "time" else None,
            metadata_key=detail if dimension == "metadata" else None,
        )
    _one_of(ExecutionStatisticsDimension, given.dimension, "group_by")
    if given.dimension == "time":
        _one_of(ExecutionStatisticsTimeGranularity, given.time_granularity, "time_granularity")
    found: ExecutionStatisticsGrouping = given
    return found


def _metric(given: Any) -> ExecutionStatisticsMetric:
    if isinstance(given, str):  # such as slowest:duration:max, cost:metadata:cost:sum, or in short duration:max
        parts = given.split(":")
        name = parts.pop(0) if len(parts) > 2 else given
        source, *key = parts[:-1] or parts
        aggregation = parts[-1] if parts[1:] else "avg"
        given = ExecutionStatisticsMetric(name, source, aggregation, ":".join(key) or None)
    if isinstance(given, Mapping):
        given = ExecutionStatisticsMetric(**given)
    _one_of(ExecutionStatisticsMetricSource, given.source, "metrics")
    _one_of(ExecutionStatisticsMetricAggregation, given.aggregation, "metrics")
    found: ExecutionStatisticsMetric = given
    return found


def _one_of(words: type[StrEnum], given: Any, field: str) -> None:
    known = [str(one) for one in words]
    if str(given) not in known:
        raise KitaruUsageError(
            "kitaru.bad_statistics",
            f"{given!r} is nothing to count executions by.",
            next_step=f"Give one of: {', '.join(known)}.",
            field=field,
        )


def _key(grouping: ExecutionStatisticsGrouping, one: Execution) -> Any:
    if grouping.dimension == "metadata":
        return one.metadata.get(str(grouping.metadata_key))
    if grouping.dimension != "time":
        plain = {"status": str(one.status), "flow": one.flow_name, "stack": one.stack_name}
        return plain[str(grouping.dimension)]
    began = one.started_at
    if began is None:
        return None
    spans = {
        "hour": began.replace(minute=0, second=0, microsecond=0),
        "day": began.date(),
        "week": began.date() - timedelta(days=began.weekday()),
        "month": began.date().replace(day=1),
    }
    return spans[str(grouping.time_granularity)].isoformat()


def _figure(metric: ExecutionStatisticsMetric, members: Sequence[Execution]) -> float | None:
    figures = [figure for one in members if (figure := _measured(metric, one)) is not None]
    if not figures:
        return None
    ways: dict[str, Callable[[list[float]], float]] = {
        "avg": lambda all_: sum(all_) / len(all_),
        "sum": sum,
        "min": min,
        "max": max,
    }
    return ways[str(metric.aggregation)](figures)


def _measured(metric: ExecutionStatisticsMetric, one: Execution) -> float | None:
    if metric.source == "step_count":
        return float(len(one.checkpoints))
    if metric.source == "duration":
        if one.started_at is None or one.ended_at is None:
            return None
        return (one.ended_at - one.started_at).total_seconds()
    value = one.metadata.get(str(metric.metadata_key))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
