"""Replies of stored writes are lost, and writes are refused with nothing stored: nothing is lost or doubled."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

import crashing
from clary.errors import AwsError, Retry
from clary.journal import records
from clary.journal.log import Log, ObjectLog
from durable import KINDS, RUN, Disturbed, attempt, claim, open_log, state_of
from s3_proxy import FAULTS, S3, s3_on_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clary.journal.records import Entry


def lose_reply(inner: Log, entry: Entry) -> bool:
    inner.create(entry)
    return False


def lose_reply_loudly(inner: Log, entry: Entry) -> bool:
    inner.create(entry)
    raise AwsError("store.unavailable", "no reply", next_step="-", retry=Retry.LATER)


def refuse(_inner: Log, _entry: Entry) -> bool:
    return False


def fail(_inner: Log, _entry: Entry) -> bool:
    raise AwsError("store.unavailable", "down", next_step="-", retry=Retry.LATER)


def foreign_first(inner: Log, entry: Entry) -> bool:
    inner.create({**entry, "nonce": "of another", "attempt": 0, "records": [{"kind": "of a later version"}]})
    return inner.create(entry)


DISTURBANCES = (lose_reply, lose_reply_loudly, refuse, fail, foreign_first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flow", crashing.STRAIGHT)
@pytest.mark.parametrize("how", [*DISTURBANCES, None])
def test_every_write_is_disturbed_and_nothing_is_lost_or_doubled(
    kind: str, flow: str, how: Any, tmp_path: Path
) -> None:
    ways = itertools.cycle(DISTURBANCES if how is None else [how])
    nonces: set[str] = set()

    def disturb(inner: Log, entry: Entry) -> bool:
        if entry["nonce"] in nonces:
            return inner.create(entry)
        nonces.add(entry["nonce"])
        if how is foreign_first and len(nonces) % 2:  # else every number would be taken by somebody else
            return inner.create(entry)
        return bool(next(ways)(inner, entry))

    log, store = open_log(kind, tmp_path)
    crashing.prepare(log, store, tmp_path)
    assert crashing.run_attempt(Disturbed(log, disturb), store, tmp_path, flow, 1, crashing.Death()) == 0
    crashing.check_log(log, store, tmp_path, flow)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_on_loopback() as found:
        yield found


@pytest.mark.parametrize("flow", crashing.STRAIGHT)
@pytest.mark.parametrize("fault", [*FAULTS, "each in turn"])
def test_every_write_to_s3_is_disturbed_once(s3: S3, flow: str, fault: str, tmp_path: Path) -> None:
    turn = itertools.cycle(FAULTS if fault == "each in turn" else [fault])

    def first_time(method: str, _path: str, before: int) -> str | None:
        return next(turn) if method == "PUT" and before == 0 else None

    store = s3.store()
    log = ObjectLog(store, RUN)
    crashing.prepare(log, store, tmp_path)
    s3.plan.fault, s3.plan.done = first_time, []
    try:
        assert crashing.run_attempt(log, store, tmp_path, flow, 1, crashing.Death()) == 0
    finally:
        s3.plan.fault = lambda _method, _path, _before: None
    disturbed = {path for _, _, path in s3.plan.done}
    assert len([path for path in disturbed if "/log/" in path]) >= 4
    assert flow == "tasks" or [path for path in disturbed if "/values/" in path]
    crashing.check_log(log, store, tmp_path, flow)


def test_every_reading_of_s3_is_disturbed_once(s3: S3, tmp_path: Path) -> None:
    turn = itertools.cycle(["503", "500", "reset", "lose reply", "cut reply"])
    store = s3.store()
    log = ObjectLog(store, RUN)
    crashing.prepare(log, store, tmp_path)
    assert crashing.run_attempt(log, store, tmp_path, "threads", 1, crashing.Death()) == 0
    s3.plan.fault = lambda method, _path, before: next(turn) if method == "GET" and before % 2 == 0 else None
    s3.plan.seen.clear()
    try:
        assert state_of(log).status == "completed"
        crashing.check_log(log, store, tmp_path, "threads")
    finally:
        s3.plan.fault = lambda _method, _path, _before: None


def test_two_attempts_over_s3(s3: S3, tmp_path: Path) -> None:
    """The first dies with a write whose fate it does not know; the second goes on and the first is fenced."""
    store = s3.store()
    log = ObjectLog(store, RUN)
    crashing.prepare(log, store, tmp_path)

    class Pause(BaseException):
        pass

    def stored_then_gone(inner: Log, entry: Entry) -> bool:
        stored = inner.create(entry)
        if len(state_of(inner).calls) > 4:
            raise Pause
        return stored

    with pytest.raises(Pause):
        crashing.run_attempt(Disturbed(log, stored_then_gone), store, tmp_path, "threads", 1, crashing.Death())
    assert len(state_of(log).calls) > 4
    claim(log, 2)
    assert crashing.run_attempt(log, store, tmp_path, "threads", 2, crashing.Death()) == 0
    crashing.check_log(log, store, tmp_path, "threads")
    late = attempt(log, store, crashing.FLOWS["threads"], 1)
    assert late.exit_code == 76
    assert records.COMPLETED in [record["kind"] for entry in log.read() for record in entry["records"]]
