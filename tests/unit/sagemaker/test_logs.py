"""Every line once, in order, from every host; against moto's CloudWatch, and scripted where that cannot misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clary.sagemaker.logs import TRAINING_GROUP, LogLine, Tail, last_lines
from clary.sagemaker.session import Aws
from scripted_aws import ScriptedAws, refusal

HOUR = 3_600_000


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def cloud_place(moto_url: str) -> Iterator[Aws]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        place = Aws("eu-west-1", endpoint_url=moto_url)
        place.client("logs")
    yield place
    place.close()


@pytest.fixture
def cloud(cloud_place: Aws) -> Iterator[Aws]:
    """moto's CloudWatch, empty."""
    yield cloud_place
    with cloud_place.call("logs:DeleteLogGroup") as client:
        for group in client.describe_log_groups()["logGroups"]:
            client.delete_log_group(logGroupName=group["logGroupName"])


@pytest.fixture
def now() -> int:
    import time

    return int(time.time() * 1000) - HOUR


Write = Callable[[str, list[tuple[int, str]]], None]


@pytest.fixture
def write(cloud: Aws, now: int) -> Write:
    """Write (milliseconds after the beginning, text) into a stream, which is made when it is new."""

    def put(stream: str, lines: list[tuple[int, str]]) -> None:
        with cloud.call("logs:PutLogEvents") as client:
            if not client.describe_log_groups(logGroupNamePrefix=TRAINING_GROUP)["logGroups"]:
                client.create_log_group(logGroupName=TRAINING_GROUP)
            known = client.describe_log_streams(logGroupName=TRAINING_GROUP, logStreamNamePrefix=stream)["logStreams"]
            if not known:
                client.create_log_stream(logGroupName=TRAINING_GROUP, logStreamName=stream)
            events = [{"timestamp": now + at, "message": text} for at, text in lines]
            client.put_log_events(logGroupName=TRAINING_GROUP, logStreamName=stream, logEvents=events)

    return put


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def nothing() -> None:
    pass


def followed(aws: Aws, *before: Callable[[], None]) -> list[LogLine]:
    """Read as often as there is something to be done before it."""
    tail = Tail(aws, "digits")
    lines: list[LogLine] = []
    for act in before:
        act()
        lines += tail.new_lines()
    return lines


def test_a_job_without_output_has_no_lines(cloud: Aws) -> None:
    assert followed(cloud, nothing, nothing) == []
    assert last_lines(cloud, "digits", 10) == []


def test_lines_come_once_from_all_hosts_in_the_order_of_time(cloud: Aws, write: Write, now: int) -> None:
    lines = followed(
        cloud,
        nothing,
        lambda: write("digits/algo-1-1700000000", [(0, "a"), (20, "c"), (30, "d")]),
        lambda: write("digits/algo-2-1700000000", [(10, "b"), (40, "e")]),
        lambda: write("digits/algo-1-1700000000", [(50, "f"), (50, "f")]),
        nothing,
    )
    assert texts(lines) == ["a", "c", "d", "b", "e", "f", "f"]
    assert lines[0] == LogLine("algo-1", now, "a")
    assert lines[3] == LogLine("algo-2", now + 10, "b")


def test_hosts_are_merged_within_a_poll(cloud: Aws, write: Write) -> None:
    write("digits/algo-1-1700000000", [(0, "a"), (20, "c")])
    write("digits/algo-2-1700000000", [(10, "b"), (30, "d")])
    assert texts(followed(cloud, nothing)) == ["a", "b", "c", "d"]


def test_a_job_with_a_longer_name_is_another(cloud: Aws, write: Write) -> None:
    write("digits-2/algo-1-1700000000", [(0, "theirs")])
    write("digits/algo-1-1700000000", [(0, "ours")])
    assert texts(followed(cloud, nothing)) == ["ours"]


def test_the_last_lines_of_all_hosts(cloud: Aws, write: Write) -> None:
    write("digits/algo-1-1700000000", [(at, f"one {at}") for at in range(0, 100, 10)])
    write("digits/algo-2-1700000000", [(at, f"two {at}") for at in range(5, 100, 10)])
    assert texts(last_lines(cloud, "digits", 3)) == ["two 85", "one 90", "two 95"]
    assert len(last_lines(cloud, "digits", 100)) == 20
    assert last_lines(cloud, "digits", 0) == []


STREAM = {"logStreams": [{"logStreamName": "digits/algo-1-1700000000"}]}


def page(token: str, *events: tuple[int, str]) -> tuple[int, dict[str, Any]]:
    shown = [{"timestamp": at, "message": text, "ingestionTime": at} for at, text in events]
    return 200, {"events": shown, "nextForwardToken": token, "nextBackwardToken": token}


def test_an_empty_page_is_not_the_end_and_an_unchanged_token_is(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("DescribeLogStreams", (200, STREAM))
    scripted.answers("GetLogEvents", page("f/1"), page("f/2"), page("f/3", (1, "late")), page("f/3"))
    assert texts(followed(aws, nothing)) == ["late"]
    assert len(scripted.requests("GetLogEvents")) == 4


def test_every_page_of_streams_is_read(aws: Aws, scripted: ScriptedAws) -> None:
    second = {"logStreams": [{"logStreamName": "digits/algo-51-1700000000"}]}
    scripted.answers("DescribeLogStreams", (200, STREAM | {"nextToken": "more"}), (200, second))
    scripted.answers(
        "GetLogEvents",
        lambda request: page("f/1", *([] if "nextToken" in request else [(1, request["logStreamName"])])),
    )
    assert {line.host for line in followed(aws, nothing)} == {"algo-1", "algo-51"}
    assert [request.get("nextToken") for request in scripted.requests("DescribeLogStreams")] == [None, "more"]


def test_an_expired_token_loses_and_repeats_nothing(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("DescribeLogStreams", (200, STREAM))
    scripted.answers(
        "GetLogEvents",
        page("f/1", (1, "a"), (2, "b"), (2, "b")),
        page("f/1"),
        refusal("InvalidParameterException", "The specified nextToken is invalid."),
        page("f/9", (2, "b"), (2, "b"), (2, "b"), (3, "c")),
        page("f/9"),
    )
    assert texts(followed(aws, nothing, nothing)) == ["a", "b", "b", "b", "c"]
    assert scripted.requests("GetLogEvents")[3]["startTime"] == 2


def test_throttling_only_delays(aws: Aws, scripted: ScriptedAws) -> None:
    throttled = refusal("ThrottlingException", "Rate exceeded")
    scripted.answers("DescribeLogStreams", throttled, (200, STREAM))
    scripted.answers("GetLogEvents", throttled, page("f/1", (1, "a")), page("f/1"))
    assert texts(followed(aws, nothing, nothing, nothing)) == ["a"]


def test_the_last_lines_go_back_over_empty_pages(aws: Aws, scripted: ScriptedAws) -> None:
    scripted.answers("DescribeLogStreams", (200, STREAM))
    scripted.answers("GetLogEvents", page("b/1"), page("b/2", (2, "b")), page("b/3", (1, "a")), page("b/3"))
    assert texts(last_lines(aws, "digits", 5)) == ["a", "b"]
