"""The engine against a model of the record: flows as data, attempts that are disturbed in any way, and answers, stops,
changed code and passing time in between.

The model is what the script of the flow says (values, paths, how often a body may fail), what the raw entries of the
log say, and what was done from outside. Nothing in it is asked of the engine or of the fold.
"""

from __future__ import annotations

import contextvars
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import programs
from clary.agent import answers
from clary.engine import suspension
from clary.errors import AwsError, ConflictError, Retry, StopRequested, ThrottledError
from clary.journal import records
from clary.journal.state import SETTLED, WAITING, RunState, fold
from clary.journal.writer import append
from durable import Disturbed, attempt, begin, claim, open_log
from programs import CALLS, DEAD, EARLY, EXPIRES, FINE, ILL, LATE, SLEEP, Paths, Process, Step

if TYPE_CHECKING:
    from clary.engine.attempt import Outcome
    from clary.journal.log import Log
    from clary.journal.records import Entry, Record

ENDS = (records.COMPLETED, records.FAILED, records.STOPPED)
"""Of an attempt for good; one that was suspended may go on."""
DEATHS = ("die before", "die behind")
BEARABLE = ("lose reply", "lose reply loudly", "refuse", "fail", "throttle", "answer", "abort", "foreign", "claim")
HARD = (*DEATHS, "stop", "signal", "overtake")


def _steps(*modes: str) -> Any:
    """Return a strategy for what a body does."""

    def call(inner: Any) -> Any:
        made = st.fixed_dictionaries(
            {
                "do": st.sampled_from(CALLS),
                "mode": st.sampled_from(modes),
                "retries": st.integers(0, programs.MOST_RETRIES),
                "fails": st.integers(1, programs.MOST_RETRIES),
                "inner": inner,
            }
        )
        return st.lists(st.one_of(made.map(_sound), st.just({"do": "value"})), max_size=3)

    return st.recursive(st.just([]), call, max_leaves=5)


def _sound(step: Step) -> Step:
    """Let what fails and is tried again have the tries that it needs."""
    flaky = step["mode"] in (EARLY, LATE)
    return {**step, "retries": max(step["retries"], step["fails"])} if flaky else {**step, "fails": 0}


WELL = (FINE, FINE, FINE, EARLY, LATE, DEAD)
PARTS = st.lists(
    st.one_of(
        _steps(*WELL).map(lambda steps: {"do": "steps", "steps": steps}),
        _steps(FINE, LATE, ILL, ILL).map(lambda steps: {"do": "steps", "steps": steps}),
        st.sampled_from(["plain", "expires", "default"]).map(lambda kind: {"do": "wait", "kind": kind}),
        st.just({"do": "sleep"}),
    ),
    min_size=1,
    max_size=4,
)
DISTURBANCES = st.dictionaries(st.integers(1, 8), st.sampled_from([*BEARABLE, *HARD]), max_size=3)


class Death(BaseException):
    """Ends the process of an attempt, as it were."""


class _Clock:
    """Wakes by the world's clock; the machine's rules do it."""

    def check(self) -> None:
        pass

    def wake_at(self, moment: float) -> None:
        pass

    def stay(self) -> None:
        pass

    def now(self) -> float:
        return programs.world.clock


class Engine(RuleBasedStateMachine):
    """One run."""

    kind = "sqlite"
    examples = 60

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(suspension, "_POLL", 0.005)
        self.patches.setattr(suspension, "IN_PROCESS", 0.0)  # else the world's clock would have to go on meanwhile
        self.folder = tempfile.TemporaryDirectory()
        self.world = programs.new_world()
        self.log, self.store = open_log(self.kind, Path(self.folder.name))
        self.versions: dict[str, int] = {}
        self.latest = 0
        self.lost: list[Process] = []
        """Processes that did not end by a record of their own."""
        self.chosen: dict[str, list[int]] = {}
        """What may come of each wait, by name."""

    @initialize(
        parts=PARTS,
        in_a_loop=st.booleans(),
        workers=st.integers(1, 3),
        fails=st.integers(0, 1),
        retries=st.integers(0, 1),
    )
    def write(self, parts: list[Step], in_a_loop: bool, workers: int, fails: int, retries: int) -> None:
        self.parts = [{**part, "name": f"w{number}"} for number, part in enumerate(parts)]
        self.in_a_loop = in_a_loop
        self.retries = max(fails, retries)
        self.flow = programs.make_flow(
            self.parts, in_a_loop=in_a_loop, workers=workers, fails=fails, retries=self.retries
        )
        paths = Paths(in_a_loop=in_a_loop)
        self.steps: dict[str, tuple[Step, list[Step]]] = {}
        for part in self.parts:
            placed = list(paths.of(part.get("steps", []), "", []))
            self.steps |= {path: (step, above) for path, step, above in placed}
            part["paths"] = [path for path, _, above in placed if not above]
        self.ill = any(step["mode"] == ILL for step, _ in self.steps.values())
        self.waits = [part for part in self.parts if part["do"] == "wait"]
        begin(self.log, self.store)
        self.latest = 1

    # What may be done

    @precondition(lambda self: not self.is_completed())
    @rule(
        disturbances=DISTURBANCES,
        second=DISTURBANCES,
        on_change=st.sampled_from(["error", "error", "rerun", "accept"]),
        seen=st.booleans(),
    )
    def run(self, disturbances: dict[int, str], second: dict[int, str], on_change: str, seen: bool) -> None:
        self.take_over(on_change)
        self.run_attempt(self.latest, on_change, dict(disturbances), {**second})
        self.look(seen=seen)

    @precondition(lambda self: self.entries())
    @rule(back=st.integers(0, 2))
    def start_again(self, back: int) -> None:
        """A container is started anew for an attempt that may be long over: only if it is not does it run."""
        number = max(1, self.latest - back)
        before = self.entries()
        over = any(_ends(entry, number) for entry in before) or self.is_completed()
        outcome = self.run_attempt(number, "error", {}, {})
        if number < self.latest or over:
            assert outcome is not None
            assert outcome.status in ("fenced", "stopped", "interrupted")
            added = [one["kind"] for entry in self.entries()[len(before) :] for one in entry["records"]]
            assert added in ([], [records.STOPPED])
        self.look(seen=True)

    @precondition(lambda self: self.asked())
    @rule(data=st.data(), value=st.integers(1, 9), times=st.integers(1, 2), abort=st.booleans())
    def answer(self, data: Any, value: int, times: int, abort: bool) -> None:
        name = data.draw(st.sampled_from(self.asked()))
        for more in range(times):
            self.give_answer(name, value + more, abort=abort)

    @rule(seconds=st.sampled_from([EXPIRES / 2, EXPIRES + 1, SLEEP + 1]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock += seconds

    @rule()
    def mend(self) -> None:
        self.world.mended = True

    @rule(name=st.sampled_from(["n0", "n1", "n2", "a0", "a1", "a2"]))
    def change_code(self, name: str) -> None:
        self.versions[name] = self.versions.get(name, 0) + 1

    @precondition(lambda self: not self.is_completed())
    @rule(claimed=st.booleans())
    def ask_to_stop(self, claimed: bool) -> None:
        """A stop that comes before an attempt has begun is heard by it."""
        if claimed:
            self.take_over("error")
        append(self.log, RunState(), lambda _state: [records.stop_requested("somebody")])
        before = len(self.entries())
        outcome = self.run_attempt(self.latest, "error", {}, {})
        assert outcome is not None
        assert outcome.status in ("stopped", "fenced")
        assert not [entry for entry in self.entries()[before:] if entry["records"][0]["kind"] != records.STOPPED]

    # How it is done

    def take_over(self, on_change: str) -> None:
        self.latest += 1
        claim(self.log, self.latest, on_change=on_change)

    def run_attempt(
        self, number: int, on_change: str, disturbances: dict[int, str], second: dict[int, str]
    ) -> Outcome | None:
        """Run an attempt to its end; None if it died."""
        process = Process(number, on_change, programs.set_sources(self.versions))
        disturber = _Disturber(self, process, disturbances, second)
        found: list[Outcome | BaseException] = []

        def opened(journal: Any) -> None:
            process.opened_at = journal.state.seq

        def act() -> None:
            programs.process_here.set(process)
            log = Disturbed(self.log, disturber.write)
            disturber.main = threading.current_thread()
            try:
                found.append(attempt(log, self.store, self.flow, number, waker=_Clock(), on_open=opened))
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=contextvars.Context().run, args=(act,))
        before = set(threading.enumerate())
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), "an attempt hangs"
        for one in set(threading.enumerate()) - before:
            if one.name.startswith("clary-call"):
                one.join(30)  # a real death would have ended it
        outcome = found[0]
        if isinstance(outcome, BaseException) and not isinstance(outcome, Death):
            raise outcome
        if isinstance(outcome, Death):
            assert disturber.is_dead
            self.lost.append(process)
            return None
        self.check_outcome(outcome, process, disturber)
        return outcome

    def check_outcome(self, outcome: Outcome, process: Process, disturber: _Disturber) -> None:
        """Check that an attempt ended as it may."""
        status, done = outcome.status, disturber.done
        if status in ("fenced", "interrupted") or (status == "failed" and outcome.failure is None):
            self.lost.append(process)
        if status in ("completed", "waiting", "stopped") or outcome.failure:
            assert fold(self.log.read()).status == status
        if status == "completed":
            assert outcome.value == self.value()
        elif status == "failed":
            outdated = process.on_change == "error" and self.outdated(process)
            assert self.ill or outdated, outcome.error
        elif status == "waiting":
            assert self.waits or any(part["do"] == "sleep" for part in self.parts)
        elif status == "interrupted":
            assert "signal" in done
        elif status == "stopped":
            assert self.stop_was_asked(process)
        else:
            assert status == "fenced"
        if not done and status in ("failed", "waiting", "completed") and process.opened_at:
            assert status in self.expected(process), (status, self.expected(process))

    def look(self, *, seen: bool) -> None:
        """See, as an observer does, that no process is there; then nothing may show as running."""
        if seen and not fold(self.log.read()).idle:
            ended = records.attempt_ended(self.latest, "interrupted", None)
            append(self.log, RunState(), lambda _state: [ended])
            assert fold(self.log.read()).idle

    def give_answer(self, name: str, value: int, *, abort: bool = False) -> None:
        """Answer a wait as a client does."""
        how = records.ABORTED if abort else records.ANSWERED
        before = [record["how"] for record in self.raw(records.ANSWER) if self.name_of(record["path"]) == name]
        settled = any(_settles(entry) for entry in self.entries()[-1:])

        def answered(now: RunState) -> list[Record]:
            return [records.answer(answers._asked(now, name)["path"], how, value, "somebody")]

        try:
            append(self.log, RunState(), answered)
        except ConflictError as error:
            refused = error.code
        else:
            refused = ""
        if refused:
            assert before or settled or refused == "run.not_waiting"
            return
        assert not before  # the first answer holds: a second one is refused
        self.chosen[name] = [programs.ABORTED if abort else value]

    # The model

    def entries(self) -> list[Entry]:
        return list(self.log.read())

    def raw(self, *kinds: str) -> list[Record]:
        return [one for entry in self.entries() for one in entry["records"] if one["kind"] in kinds]

    def is_completed(self) -> bool:
        return bool(self.raw(records.COMPLETED))

    def name_of(self, path: str) -> str:
        return path.removeprefix("~wait:").split("#")[0]

    def asked(self) -> list[str]:
        """Return the names of all waits that the log holds."""
        return [record["name"] for record in self.raw(records.WAIT)]

    def stop_was_asked(self, process: Process) -> bool:
        asked = [entry["seq"] for entry in self.entries() if _holds(entry, records.STOP_REQUESTED)]
        claimed = [
            entry["seq"] for entry in self.entries() for one in entry["records"] if one.get("n") == process.attempt
        ]
        return bool(asked) and max(asked) > min(claimed)

    def outdated(self, process: Process) -> bool:
        """Tell whether the record holds calls of checkpoints whose code is another now."""
        held = self.raw(records.CALL, records.CALL_FAILED)
        return any(record["source"] != process.sources[record["name"]] for record in held)

    def outcomes_of(self, wait: Step) -> list[int]:
        """Return what may come of a wait, by its first end on record."""
        for record in self.raw(records.ANSWER):
            if self.name_of(record["path"]) == wait["name"]:
                if wait["name"] in self.chosen:
                    assert record["how"] in (records.ANSWERED, records.ABORTED)
                    return self.chosen[wait["name"]]
                asked = next(one for one in self.raw(records.WAIT) if one["name"] == wait["name"])
                assert asked["expires_at"] <= self.world.clock
                return [programs.DEFAULT if wait["kind"] == "default" else programs.EXPIRED]
        return []

    def value(self) -> int:
        """Return what the run comes to."""
        total = sum(programs.worth(part["steps"]) for part in self.parts if part["do"] == "steps")
        for wait in self.waits:
            total += self.outcomes_of(wait)[0]
        return total

    def expected(self, process: Process) -> set[str]:
        """Return how an attempt that nothing disturbed may end, by the script and the record as it is now."""
        timers = {record["path"]: record["until"] for record in self.raw(records.TIMER)}
        held = {record["path"]: record for record in self.raw(records.CALL)}
        checks = process.on_change == "error"
        found = {"failed"} if checks and self.outdated(process) else set()
        failed_before = self.raw(records.CALL_FAILED, records.TRY_FAILED)
        slept = 0
        for part in self.parts:
            if part["do"] == "steps":
                kept = [held[path] for path in part["paths"] if path in held]
                if checks and any(record["source"] != process.sources[record["name"]] for record in kept):
                    return {"failed"}
                if _may_be_ill(part["steps"]):
                    if not self.world.mended:
                        return {"failed"}
                    found |= {"failed"} if failed_before else set()  # a failure on record is told once more
            elif part["do"] == "wait" and not self.outcomes_of(part):
                return found | {"waiting"}
            elif part["do"] == "sleep":
                slept += 1
                if timers.get(f"~sleep#{slept}", self.world.clock + 1) > self.world.clock:
                    return found | {"waiting"}
        return found | {"completed"}

    # What must always hold

    @invariant()
    def what_must_hold(self) -> None:
        self.the_log_has_no_gap()
        self.a_call_is_recorded_once()
        self.what_is_recorded_never_runs_again()
        self.no_body_runs_more_often_than_it_may()
        self.nobody_wakes_early()

    def the_log_has_no_gap(self) -> None:
        entries = self.entries()
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
        assert len({entry["nonce"] for entry in entries}) == len(entries)

    def a_call_is_recorded_once(self) -> None:
        kept = Counter((record["path"], record["source"]) for record in self.raw(records.CALL))
        assert not [path for path, count in kept.items() if count > 1]
        values = Counter(record["path"] for record in self.raw(records.VALUE, records.TIMER, records.WAIT))
        assert not [path for path, count in values.items() if count > 1]
        assert {record["path"] for record in self.raw(records.CALL, records.CALL_FAILED)} <= set(self.steps)
        assert len(self.raw(records.COMPLETED)) <= 1

    def what_is_recorded_never_runs_again(self) -> None:
        held = [
            (entry["seq"], record)
            for entry in self.entries()
            for record in entry["records"]
            if record["kind"] == records.CALL
        ]
        for ran in self.world.ran:
            for seq, record in held:
                if record["path"] != ran.path or seq > ran.process.opened_at:
                    continue
                changed = record["source"] != ran.process.sources[record["name"]]
                assert changed, f"{ran.path} ran again"
                assert ran.process.on_change == "rerun"

    def no_body_runs_more_often_than_it_may(self) -> None:
        by_place: dict[tuple[Process, str], list[bool | None]] = {}
        for ran in self.world.ran:
            by_place.setdefault((ran.process, ran.path), []).append(ran.returned)
        for (_, path), ends in by_place.items():
            assert True not in ends[:-1], f"{path} ran again behind its return: {ends}"
            step, above = self.steps[path]
            most = 1
            for one in [step, *above]:
                most *= 1 + one["retries"]
            assert ends.count(False) <= most * (1 + self.retries), (path, ends)
        changed = any(self.versions.values())
        for path, (step, above) in self.steps.items():
            if step["mode"] == DEAD and not changed and _alone([step, *above]) and not _may_be_ill(step["inner"]):
                ends = [ran.returned for ran in self.world.ran if ran.path == path]
                lost = sum(any(ran.path == path and ran.process is one for ran in self.world.ran) for one in self.lost)
                assert len(ends) <= 1 + step["retries"] + lost + self.broken_off(path), (path, ends, lost)
                tried = [one for one in self.raw(records.TRY_FAILED) if one["path"] == path]
                assert [one["n"] for one in tried] == list(range(1, len(tried) + 1))
                assert len(tried) <= step["retries"]

    def broken_off(self, path: str) -> int:
        """Return how often a body was broken off in a process that was not lost: it was suspended, or stopped."""
        ran = [one for one in self.world.ran if one.path == path and one.process not in self.lost]
        return sum(one.returned is None for one in ran)

    def nobody_wakes_early(self) -> None:
        until = [record["until"] for record in self.raw(records.TIMER)]
        for number, woke in self.world.woke:
            assert woke >= until[number]

    def teardown(self) -> None:
        """Help the run to its end, and look at every state that its log has gone through."""
        try:
            if self.latest:
                self.finish()
                self.what_must_hold()
                _check_states(self.entries())
        finally:
            getattr(self.log, "close", lambda: None)()
            self.folder.cleanup()
            self.patches.undo()

    def finish(self) -> None:
        self.world.mended = True
        for _ in range(40):
            if self.is_completed():
                return
            self.world.clock += SLEEP + 1
            for name in self.asked():
                if not self.outcomes_of({"name": name, "kind": ""}) and not fold(self.log.read()).settled:
                    self.give_answer(name, 7)
            self.take_over("accept")
            self.run_attempt(self.latest, "accept", {}, {})
        raise AssertionError("the run never completes")


class _Disturber:
    """Lets the writes of one process happen, or does something else, by their number."""

    def __init__(self, machine: Engine, process: Process, disturbances: dict[int, str], second: dict[int, str]) -> None:
        self.machine = machine
        self.process = process
        self.disturbances = disturbances
        self.second = second
        self.main: threading.Thread | None = None
        self.is_dead = False
        self.done: list[str] = []
        self._number = 0
        self._signals: list[str] = []
        self._was_signalled = False
        self._lock = threading.RLock()

    def write(self, log: Log, entry: Entry) -> bool:
        with self._lock:
            if self.is_dead:
                raise Death
            self._number += 1
            how = self.disturbances.pop(self._number, None)
            if how is None:
                stored = log.create(entry)
            else:
                self.done.append(how)
                stored = self._act(how, log, entry)
            if self._signals and threading.current_thread() is self.main:
                self._signals.clear()
                if not self._was_signalled:  # a process hears the first signal only
                    self._was_signalled = True
                    raise StopRequested("asked")
            return stored

    def _act(self, how: str, log: Log, entry: Entry) -> bool:
        if how in ("lose reply", "lose reply loudly", "die behind"):
            log.create(entry)
        if how in DEATHS:
            self.is_dead = True
            raise Death
        if how in ("fail", "lose reply loudly"):
            raise AwsError("store.unavailable", "down", next_step="-", retry=Retry.LATER)
        if how == "throttle":
            raise ThrottledError("aws.throttled", "slow down", next_step="-")
        if how in ("lose reply", "refuse"):
            return False
        self._from_outside(how, log)
        return log.create(entry)

    def _from_outside(self, how: str, log: Log) -> None:
        machine = self.machine
        if how in ("answer", "abort"):
            for name in machine.asked():
                machine.give_answer(name, 5, abort=how == "abort")
        elif how == "foreign":
            append(log, RunState(), lambda _state: [{"kind": "of a later version"}])
        elif how == "claim":
            machine.take_over("accept")
        elif how in ("stop", "signal"):
            if how == "stop":
                append(log, RunState(), lambda _state: [records.stop_requested("somebody")])
            self._signals.append(how)
        elif how == "overtake" and not machine.is_completed():
            machine.take_over("accept")
            machine.run_attempt(machine.latest, "accept", self.second, {})


def _holds(entry: Entry, *kinds: str) -> bool:
    return any(record["kind"] in kinds for record in entry["records"])


def _ends(entry: Entry, number: int) -> bool:
    """Tell whether an entry ends an attempt."""
    own = entry["attempt"] == number and _holds(entry, *ENDS)
    return own or any(one["kind"] == records.ATTEMPT_ENDED and one["n"] == number for one in entry["records"])


def _settles(entry: Entry) -> bool:
    return _holds(entry, records.COMPLETED, records.FAILED, records.STOPPED, records.ATTEMPT_ENDED)


def _alone(chain: list[Step]) -> bool:
    """Tell whether every call of a chain is asked for where it is made, so that no failure of it goes unseen."""
    return all(step["do"] == "call" for step in chain)


def _may_be_ill(steps: list[Step]) -> bool:
    return any(step["do"] in CALLS and (step["mode"] == ILL or _may_be_ill(step["inner"])) for step in steps)


def _check_states(entries: list[Entry]) -> None:
    """Check that every prefix of the log amounts to a state that may be."""
    state = RunState()
    running = {"preparing", "submitted", "running", "stopping"}
    for entry in entries:
        completed = state.status == "completed"
        state.apply(entry)
        assert state.status in SETTLED | running | {WAITING}
        assert not completed or state.status == "completed", "a completed run went on"
        assert state.status != WAITING or state.suspension is not None
        assert (state.output is not None) == (state.status == "completed")
        assert not state.idle or state.opener is None
        assert state.status != "running" or state.opener is not None
        assert set(state.answers) <= set(state.waits)
        assert state.attempt is not None


class EngineOverObjects(Engine):
    """The same over objects, where events are written in threads of their own."""

    kind = "objects"
    examples = 25


def _prepared(machine: type[Engine]) -> Any:
    case = machine.TestCase
    case.settings = settings(
        max_examples=machine.examples,
        stateful_step_count=8,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    return case


TestOverSqlite = _prepared(Engine)
TestOverObjects = _prepared(EngineOverObjects)
