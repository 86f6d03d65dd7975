"""The output of a job, from CloudWatch Logs, as it is written.

Groups and streams do not exist until the first byte, so a missing one is normal. Streams are ``<job>/<host>-<epoch>``.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from clary.errors import NotFoundError, ThrottledError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.sagemaker.session import Aws

TRAINING_GROUP = "/aws/sagemaker/TrainingJobs"
PROCESSING_GROUP = "/aws/sagemaker/ProcessingJobs"
# Pages of one stream in one poll, so that a stream that never rests leaves room for the others.
_PAGES_PER_POLL = 50
_PAGES_BACK = 20


class LogLine(NamedTuple):
    """One line of a job's output."""

    host: str
    """``algo-1`` …"""
    timestamp_ms: int
    text: str


class Tail:
    """The output of one job, read as it comes: each line once, through outages and pauses of any length."""

    def __init__(self, aws: Aws, job_name: str, *, group: str = TRAINING_GROUP) -> None:
        self._aws = aws
        self._job = job_name
        self._group = group
        self._streams: dict[str, _Stream] = {}

    def new_lines(self) -> Iterator[LogLine]:
        """Yield what has come since the last time, in the order of time."""
        for name in _stream_names(self._aws, self._group, self._job):
            self._streams.setdefault(name, _Stream(self._aws, self._group, name))
        yield from heapq.merge(*(stream.new_lines() for stream in self._streams.values()), key=_moment)


def last_lines(aws: Aws, job_name: str, n: int, *, group: str = TRAINING_GROUP) -> list[LogLine]:
    """Return the job's last ``n`` lines over all hosts, oldest first; fewer when there are fewer."""
    found: list[LogLine] = []
    for name in _stream_names(aws, group, job_name):
        found += _last_of_stream(aws, group, name, n)
    return sorted(found, key=_moment)[-n:] if n > 0 else []


def _moment(line: LogLine) -> int:
    return line.timestamp_ms


def _host(stream: str) -> str:
    """Return ``algo-1`` for ``job/algo-1-1700000000``."""
    return stream.rpartition("/")[2].rpartition("-")[0]


def _line(stream: str, event: dict[str, Any]) -> LogLine:
    return LogLine(_host(stream), event["timestamp"], event["message"].rstrip("\n"))


def _stream_names(aws: Aws, group: str, job_name: str) -> list[str]:
    """Return the job's streams. The slash keeps jobs with longer names out."""
    names: list[str] = []
    query = {"logGroupName": group, "logStreamNamePrefix": f"{job_name}/"}
    try:
        while True:
            with aws.call("logs:DescribeLogStreams", resource=group) as client:
                page = client.describe_log_streams(**query)
            names += [stream["logStreamName"] for stream in page["logStreams"]]
            if not page.get("nextToken"):
                return names
            query["nextToken"] = page["nextToken"]
    except (NotFoundError, ThrottledError):
        return names


@dataclass
class _Stream:
    """A place in one stream."""

    aws: Aws
    group: str
    name: str
    token: str | None = None
    # Where the pages of this token begin: it goes with the token, which counts from there.
    start: int | None = None
    # How many of the last lines had the last moment: enough to go on by time when the token has expired.
    moment: int = -1
    lines_at_moment: int = field(default=0)

    def new_lines(self) -> Iterator[LogLine]:
        """Yield what has come since the last time. An empty page is not the end; an unchanged token is."""
        for _ in range(_PAGES_PER_POLL):
            try:
                page = self._page()
            except (NotFoundError, ThrottledError):
                return
            for event in page["events"]:
                self._note(event["timestamp"])
                yield _line(self.name, event)
            unchanged = page["nextForwardToken"] == self.token
            self.token = page["nextForwardToken"]
            if unchanged:
                return

    def _page(self) -> dict[str, Any]:
        if self.token is not None:
            try:
                return self._get()
            except ValidationError:  # tokens expire after a day
                self.token = None
        self.start = None if self.moment < 0 else self.moment
        page = self._get()
        return page | {"events": self._without_seen(page["events"])}

    def _get(self) -> dict[str, Any]:
        where = {"startTime": self.start, "nextToken": self.token}
        with self.aws.call("logs:GetLogEvents", resource=self.name) as client:
            page: dict[str, Any] = client.get_log_events(
                logGroupName=self.group,
                logStreamName=self.name,
                startFromHead=True,
                **{name: value for name, value in where.items() if value is not None},
            )
        return page

    def _without_seen(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        again = sum(1 for event in events if event["timestamp"] == self.moment)
        return events[min(again, self.lines_at_moment) :]

    def _note(self, moment: int) -> None:
        self.lines_at_moment = self.lines_at_moment + 1 if moment == self.moment else 1
        self.moment = moment


def _last_of_stream(aws: Aws, group: str, stream: str, n: int) -> list[LogLine]:
    lines: list[LogLine] = []
    query: dict[str, Any] = {"logGroupName": group, "logStreamName": stream, "startFromHead": False}
    for _ in range(_PAGES_BACK):
        try:
            with aws.call("logs:GetLogEvents", resource=stream) as client:
                page = client.get_log_events(**query, limit=min(max(n, 1), 10_000))
        except NotFoundError:
            break
        lines = [_line(stream, event) for event in page["events"]] + lines
        if len(lines) >= n or page["nextBackwardToken"] == query.get("nextToken"):
            break
        query["nextToken"] = page["nextBackwardToken"]
    return lines
