"""The one writer of a log: numbers, nonces, fencing, shared writes, and signals that break in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from clary.errors import AwsError, Fenced, JournalError, Retry, StopRequested
from clary.journal import records, writer
from clary.journal.state import RunState
from clary.journal.writer import Journal, append
from durable import KINDS, RUN, Disturbed, begin, call_paths, claim, open_log, state_of, written

if TYPE_CHECKING:
    from pathlib import Path

    from clary.journal.log import Log
    from clary.journal.records import Entry, Record


@pytest.fixture(params=KINDS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    log, store = open_log(request.param, tmp_path)
    begin(log, store)
    return log


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.5)


def opened(log: Log, attempt: int = 1) -> Journal:
    journal = Journal(log, attempt)
    journal.open(host="here", pid=1)
    return journal


def call(path: str) -> Record:
    return {"kind": records.CALL, "path": path, "name": "f", "inputs": {}, "source": "s", "output": {"c": "plain"}}


def test_each_write_is_one_entry_at_the_next_number(log: Log) -> None:
    journal = opened(log)
    journal.write(call("a"), call("b"))
    journal.write(call("c"))
    assert [len(entry["records"]) for entry in log.read()] == [2, 1, 2, 1]
    assert call_paths(log) == ["a", "b", "c"]
    assert journal.state == state_of(log)


def test_records_of_many_threads_share_writes(log: Log) -> None:
    writes: list[int] = []
    all_wait = threading.Event()

    def slow(inner: Log, entry: Entry) -> bool:
        if entry["records"][0]["kind"] == records.CALL:
            writes.append(len(entry["records"]))
            assert all_wait.wait(30)
        return inner.create(entry)

    journal = opened(Disturbed(log, slow))
    threads = [threading.Thread(target=journal.write, args=(call(f"c{number}"),)) for number in range(32)]
    for thread in threads:
        thread.start()
    while journal.waiting < 32:
        threading.Event().wait(0.001)
    all_wait.set()
    for thread in threads:
        thread.join(30)
    assert sorted(call_paths(log)) == sorted(f"c{number}" for number in range(32))
    assert sum(writes) == 32
    assert len(writes) == 2


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("as_error", [True, False])
def test_a_refused_write_is_no_proof_of_losing(log: Log, stored: bool, as_error: bool) -> None:
    seen: set[int] = set()

    def refuse_once(inner: Log, entry: Entry) -> bool:
        if entry["seq"] in seen:
            return inner.create(entry)
        seen.add(entry["seq"])
        if stored:
            assert inner.create(entry)
        if as_error:
            raise AwsError("store.unavailable", "no reply", next_step="-", retry=Retry.LATER)
        return False

    journal = opened(Disturbed(log, refuse_once))
    for path in "abc":
        journal.write(call(path))
    assert call_paths(log) == ["a", "b", "c"]
    assert [entry["seq"] for entry in log.read()] == [1, 2, 3, 4, 5]


def test_what_others_wrote_meanwhile_is_absorbed(log: Log) -> None:
    journal = opened(log)
    append(log, RunState(), lambda _state: [records.stop_requested("somebody")])
    journal.write(call("a"))
    assert journal.state.stop_requested
    assert [record["kind"] for record in written(log)][-2:] == [records.STOP_REQUESTED, records.CALL]
    append(log, RunState(), lambda _state: [{"kind": "of a later version"}])
    journal.absorb()
    journal.write(call("b"))
    assert call_paths(log) == ["a", "b"]


@pytest.mark.parametrize("by", ["opened", "stopped", "completed", "failed", "attempt_ended"])
def test_whoever_was_overtaken_writes_nothing_more(log: Log, by: str) -> None:
    late = opened(log)
    late.write(call("a"))
    if by == "attempt_ended":
        append(log, RunState(), lambda _state: [records.attempt_ended(1, "interrupted", None)])
    else:
        claim(log, 2)
        other = opened(log, 2)
        if by == "stopped":
            other.write(records.stopped("-"))
        if by == "completed":
            other.write(records.completed({}))
        if by == "failed":
            other.write(records.failed({}, [], "user_code"))
    before = list(log.read())
    for _ in range(2):
        with pytest.raises(Fenced):
            late.write(call("b"))
    with pytest.raises(Fenced):
        late.absorb()
    assert list(log.read()) == before


def test_a_claim_alone_fences_nobody(log: Log) -> None:
    journal = opened(log)
    claim(log, 2)
    journal.write(call("a"))
    assert call_paths(log) == ["a"]


def test_the_end_of_an_earlier_attempt_fences_nobody(log: Log) -> None:
    claim(log, 2)
    journal = opened(log, 2)
    append(log, RunState(), lambda _state: [records.attempt_ended(1, "interrupted", None)])
    journal.write(call("a"))
    assert call_paths(log) == ["a"]


def test_the_same_attempt_may_open_again_and_fences_its_former_process(log: Log) -> None:
    former = opened(log)
    former.write(call("a"))
    again = opened(log)
    again.write(call("b"))
    with pytest.raises(Fenced):
        former.write(call("c"))
    assert call_paths(log) == ["a", "b"]


def test_who_may_not_open(log: Log, tmp_path: Path) -> None:
    claim(log, 2)
    with pytest.raises(Fenced):
        opened(log, 1)
    append(log, RunState(), lambda _state: [records.stop_requested("somebody")])
    with pytest.raises(StopRequested):
        opened(log, 2)
    empty, _ = open_log("objects", tmp_path / "empty")
    with pytest.raises(JournalError, match="no record") as caught:
        opened(empty)
    assert caught.value.retry is Retry.NO


def test_a_completed_run_is_opened_by_nobody_even_when_it_completed_after_the_claim(log: Log) -> None:
    first = opened(log)
    claim(log, 2)
    first.write(records.completed({}))
    with pytest.raises(Fenced, match="completed"):
        opened(log, 2)


def test_a_failure_after_the_claim_does_not_hold_for_the_attempt_that_opens(log: Log) -> None:
    first = opened(log)
    claim(log, 2)
    first.write({**call("a"), "kind": records.CALL_FAILED, "error": {}})
    first.write(records.failed({}, ["a"], "user_code"))
    assert "a" not in opened(log, 2).state.calls


def test_an_outage_longer_than_the_patience_is_final(log: Log) -> None:
    def down(inner: Log, entry: Entry) -> bool:
        if entry["attempt"]:
            return False
        return inner.create(entry)

    journal = Journal(Disturbed(log, down), 1)
    with pytest.raises(JournalError) as caught:
        journal.open(host="here", pid=1)
    assert caught.value.code == "journal.unwritable"
    assert caught.value.retry is Retry.LATER


def test_a_refusal_for_good_is_raised_at_once_and_to_all(log: Log) -> None:
    journal = opened(log)

    def denied(inner: Log, entry: Entry) -> bool:
        raise AwsError("aws.access_denied", "no", next_step="-", retry=Retry.NO)

    journal.log = Disturbed(log, denied)
    for _ in range(2):
        with pytest.raises(AwsError, match="no"):
            journal.write(call("a"))


@pytest.mark.parametrize("signal", [StopRequested, KeyboardInterrupt, TimeoutError])
@pytest.mark.parametrize("stored", [True, False])
def test_a_signal_in_a_write_loses_and_doubles_nothing(log: Log, signal: type[BaseException], stored: bool) -> None:
    broken = threading.Event()

    def break_in(inner: Log, entry: Entry) -> bool:
        if entry["records"][0].get("path") == "a" and not broken.is_set():
            if stored:
                inner.create(entry)
            broken.set()
            raise signal
        return inner.create(entry)

    journal = opened(Disturbed(log, break_in))
    with pytest.raises(signal):
        journal.write(call("a"))
    journal.write(call("b"))
    assert call_paths(log) == ["a", "b"]
    assert journal.state == state_of(log)


def test_a_signal_in_a_shared_write_does_not_lose_the_records_of_others(log: Log) -> None:
    """The thread that is broken into writes for all; the others must neither hang nor believe they were written."""
    first, broken = threading.Event(), threading.Event()

    def break_in(inner: Log, entry: Entry) -> bool:
        paths = [record.get("path") for record in entry["records"]]
        if "first" in paths:
            first.set()
            while journal.waiting < 3:
                threading.Event().wait(0.001)
        elif not broken.is_set() and len(paths) > 1:
            broken.set()
            raise StopRequested
        return inner.create(entry)

    journal = opened(Disturbed(log, break_in))
    raised: list[str] = []

    def write(path: str) -> None:
        try:
            journal.write(call(path))
        except StopRequested:
            raised.append(path)

    threads = [threading.Thread(target=write, args=(path,), daemon=True) for path in ("first", "second", "third")]
    threads[0].start()
    assert first.wait(30)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(raised) == 1
    assert sorted(call_paths(log)) == ["first", "second", "third"]


def test_a_signal_while_the_log_is_opened_fences_not_oneself(log: Log) -> None:
    def stored_then_broken(inner: Log, entry: Entry) -> bool:
        inner.create(entry)
        raise StopRequested

    journal = Journal(Disturbed(log, stored_then_broken), 1)
    with pytest.raises(StopRequested):
        journal.open(host="here", pid=1)
    journal.log = log
    journal.absorb()
    journal.write(call("a"))
    assert call_paths(log) == ["a"]


def test_records_are_announced_in_the_order_of_the_log(log: Log) -> None:
    journal = opened(log)
    heard: list[str] = []
    journal.listener = lambda record: heard.append(record["path"])
    threads = [threading.Thread(target=journal.write, args=(call(f"c{number}"),)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert heard == call_paths(log)
    assert len(heard) == 20


def test_a_closed_journal_refuses(log: Log) -> None:
    journal = opened(log)
    journal.close(Fenced("over"))
    with pytest.raises(Fenced, match="over"):
        journal.write(call("a"))


def test_clients_append_at_the_same_time_and_all_are_kept(log: Log) -> None:
    def add(number: int) -> None:
        append(log, RunState(), lambda _state: [{"kind": records.LOGGED, "values": {str(number): number}}])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert state_of(log).logged == {str(number): number for number in range(8)}


def test_a_client_with_nothing_left_to_write_writes_nothing(log: Log) -> None:
    before: list[Any] = list(log.read())
    assert not append(log, RunState(), lambda state: None if state.run == RUN else [])
    assert list(log.read()) == before
