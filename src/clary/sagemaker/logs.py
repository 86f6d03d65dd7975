"""The output of a job, from CloudWatch Logs, as it is written.

Groups and streams do not exist until the first byte, so a missing one is normal. Streams are ``<job>/<host>-<epoch>``.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from clary.errors import NotFoundError, ThrottledError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.sagemaker.session import Aws

TRAINING_GROUP = "/aws/sagemaker/TrainingJobs"
PROCESSING_GROUP = "/aws/sagemaker/ProcessingJobs"
POLL_SECONDS = 2.0
# Pages of one stream in one poll, so that a stream that never rests leaves room for the others.
_PAGES_PER_POLL = 50
_PAGES_BACK = 20


class LogLine(NamedTuple):
    """One line of a job's output."""

    host: str
    """``algo-1`` …"""
    timestamp_ms: int
    text: str


def tail(
    aws: Aws,
    job_name: str,
    *,
    since: int | None = None,
    stop: Callable[[], bool],
    poll_seconds: float = POLL_SECONDS,
    group: str = TRAINING_GROUP,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[LogLine]:
    """Yield the job's lines as they come, each once, in the order of time within a poll.

    Args:
        aws: where.
        job_name: the job.
        since: only lines of this moment or later, in epoch milliseconds.
        stop: asked once before each poll; when it says yes, that poll is the last one.
        poll_seconds: pause between polls.
        group: the log group.
        pause: sleeps for that many seconds.
    """
    streams: dict[str, _Stream] = {}
    while True:
        last = stop()
        for name in _stream_names(aws, group, job_name):
            streams.setdefault(name, _Stream(aws, group, name, since))
        yield from heapq.merge(*(stream.new_lines() for stream in streams.values()), key=_moment)
        if last:
            return
        pause(poll_seconds)


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
    since: int | None
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
        self.start = self.since if self.moment < 0 else self.moment
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
