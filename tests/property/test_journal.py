"""The record of a run against a simple model: attempts, clients, fences, lost replies and signals in any order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clary.errors import AwsError, Fenced, Retry, StopRequested
from clary.journal import records
from clary.journal.state import RunState, fold
from clary.journal.writer import Journal, append
from durable import Disturbed, begin, open_log

if TYPE_CHECKING:
    from clary.journal.log import Log
    from clary.journal.records import Entry

ENDS = ("completed", "failed", "stopped")


class RecordOfARun(RuleBasedStateMachine):
    """The model: which attempt may write, and the list of what was promised to be durable."""

    kind = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.log: Log = open_log(self.kind, Path(self.folder.name))[0]
        self.journals: list[Journal] = []
        self.owner: Journal | None = None
        """Who may write: the last to open, unless the run or its attempt has been ended since."""
        self.latest = 1
        self.durable: list[str] = []
        self.uncertain: str | None = None
        """What a signal broke into: it may be in the record, or not, until the same journal writes again."""
        self.stop = False
        self.status = "submitted"
        self.numbered = 0
        self.fault: str | None = None

    @initialize()
    def create(self) -> None:
        begin(self.log, open_log("objects", Path(self.folder.name))[1])

    def disturb(self, inner: Log, entry: Entry) -> bool:
        fault, self.fault = self.fault, None
        if fault in ("lost reply", "lost reply and error", "signal behind"):
            inner.create(entry)
        if fault in ("error", "lost reply and error"):
            raise AwsError("store.unavailable", "-", next_step="-", retry=Retry.LATER)
        if fault in ("signal before", "signal behind"):
            raise StopRequested
        return inner.create(entry) if fault is None else False

    def name(self) -> str:
        self.numbered += 1
        return f"call#{self.numbered}"

    @rule(fault=st.sampled_from([None, None, "lost reply", "refused", "error", "lost reply and error"]))
    def next_write_suffers(self, fault: str | None) -> None:
        self.fault = fault

    @rule(back=st.integers(0, 1))
    def open_an_attempt(self, back: int) -> None:
        attempt = max(1, self.latest - back)
        journal = Journal(Disturbed(self.log, self.disturb), attempt)
        over = self.state().attempts[attempt].outcome is not None
        may = attempt == self.latest and not over and self.status != "completed" and not self.stop
        try:
            journal.open(host="here", pid=1)
        except Fenced:
            assert not may
            return
        except StopRequested:
            assert self.stop
            return
        assert may
        self.settle_uncertain()
        self.owner = journal
        self.journals.append(journal)
        self.status = "running"

    @precondition(lambda self: self.journals)
    @rule(data=st.data(), count=st.integers(1, 3))
    def write_calls(self, data: Any, count: int) -> None:
        journal = data.draw(st.sampled_from(self.journals))
        names = [self.name() for _ in range(count)]
        try:
            journal.write(*[{"kind": records.CALL, "path": name} for name in names])
        except Fenced:
            assert journal is not self.owner
            return
        assert journal is self.owner
        self.settle_uncertain()
        self.durable += names

    @precondition(lambda self: self.owner is not None and self.uncertain is None)
    @rule(behind=st.booleans())
    def a_signal_breaks_into_a_write(self, behind: bool) -> None:
        assert self.owner is not None
        name = self.name()
        self.fault = "signal behind" if behind else "signal before"
        try:
            self.owner.write({"kind": records.CALL, "path": name})
        except StopRequested:
            self.uncertain = name

    @precondition(lambda self: self.owner is not None)
    @rule(how=st.sampled_from(ENDS))
    def end_the_run(self, how: str) -> None:
        assert self.owner is not None
        end = {
            "completed": records.completed({"c": "plain", "v": 1}),
            "failed": records.failed({}, [], "user_code"),
            "stopped": records.stopped("asked"),
        }
        self.owner.write(end[how])
        self.settle_uncertain()
        self.owner.close(Fenced("over"))
        self.owner, self.status = None, how

    @rule()
    def ask_to_stop(self) -> None:
        append(self.log, RunState(), lambda _state: [records.stop_requested("somebody")])
        self.stop = True

    @precondition(lambda self: self.status != "completed")
    @rule(ended=st.booleans())
    def claim_the_next_attempt(self, ended: bool) -> None:
        before = [records.attempt_ended(self.latest, "interrupted", None)] if ended else []
        self.latest += 1
        claim = records.attempt(self.latest, job=None, request=None, spec={})
        append(self.log, RunState(), lambda _state: [*before, claim])
        if ended and self.owner is not None and self.owner.attempt <= self.latest - 1:
            self.forget_owner()
        self.stop, self.status = False, "submitted"

    @precondition(lambda self: self.status != "completed")
    @rule()
    def see_the_attempt_dead(self) -> None:
        append(self.log, RunState(), lambda _state: [records.attempt_ended(self.latest, "interrupted", None)])
        self.forget_owner()

    @precondition(lambda self: self.journals)
    @rule(data=st.data())
    def look(self, data: Any) -> None:
        journal: Journal = data.draw(st.sampled_from(self.journals))
        try:
            journal.absorb()
        except Fenced:
            assert journal is not self.owner
            return
        if self.owner is journal:
            self.settle_uncertain()
            assert journal.state == self.state()

    def forget_owner(self) -> None:
        self.owner = None

    def settle_uncertain(self) -> None:
        """The write that was broken into has found its end: stored once by its writer, or for ever without it."""
        if self.uncertain is not None:
            if self.uncertain in self.state().calls:
                self.durable.append(self.uncertain)
            self.uncertain = None

    def state(self) -> RunState:
        return fold(self.log.read())

    @invariant()
    def the_record_is_what_was_promised(self) -> None:
        entries = list(self.log.read())
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
        assert len({entry["nonce"] for entry in entries}) == len(entries)
        paths = [one["path"] for entry in entries for one in entry["records"] if one["kind"] == records.CALL]
        assert len(paths) == len(set(paths))
        assert [path for path in paths if path != self.uncertain] == self.durable

    def teardown(self) -> None:
        getattr(self.log, "close", lambda: None)()
        self.folder.cleanup()


class RecordInObjects(RecordOfARun):
    """The same over objects."""

    kind = "objects"


def _prepared(machine: type[RecordOfARun]) -> Any:
    case = machine.TestCase
    case.settings = settings(
        max_examples=25,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    return case


TestOverSqlite = _prepared(RecordOfARun)
TestOverObjects = _prepared(RecordInObjects)
