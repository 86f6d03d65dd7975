"""Isolated calls from the flow's side: queueing, adoption, failures; the flow's process killed wherever it may be.

SageMaker is stood in for by ``Region``: it takes requests by name, as the service does, and runs the same code that a
job runs (task, body, result) in a thread. The end-to-end tests run the containers.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from clary import checkpoint, current_run, flow, load, log, save
from clary.artifacts import digest, encode
from clary.engine.attempt import Outcome, run_attempt
from clary.errors import AwsError, ClaryError, Fenced, QuotaError, Retry, RunFailedError, ThrottledError, UsageError
from clary.flows.isolation import DEFAULT_LIMIT
from clary.ids import is_id
from clary.journal import records
from clary.journal.log import ObjectLog
from clary.journal.state import RunState
from clary.journal.writer import append
from clary.objects.folder import FolderStore
from clary.runtime.isolated import dispatch, tasks
from clary.runtime.isolated.body import Ender, Inside, arguments_of, run_body
from clary.runtime.isolated.calls import IsolatedCalls
from clary.runtime.isolated.finding import find_checkpoint
from clary.runtime.isolated.jobs import Job
from clary.runtime.isolated.local import LocalCalls
from durable import RUN, Disturbed, first_attempt, state_of, written
from patience import until

if TYPE_CHECKING:
    from pathlib import Path

    from clary.engine.execution import Execution
    from clary.flows import Flow
    from clary.journal.log import Log
    from clary.journal.records import Record
    from clary.objects import ObjectStore

BODIES: list[tuple[str, Any]] = []
GATE = threading.Event()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    BODIES.clear()
    GATE.clear()
    for name, seconds in (("POLL_FIRST", 0.01), ("POLL_LONGEST", 0.02), ("LOOK_FIRST", 0.03), ("LOOK_LONGEST", 0.05)):
        monkeypatch.setattr(dispatch, name, seconds)
    for name in ("LOOKS_APART", "_CREATE_PAUSE", "_QUOTA_PAUSE", "_NAP"):
        monkeypatch.setattr(dispatch, name, 0.01)
    yield
    GATE.set()


@checkpoint(runtime="isolated")
def double(number: int) -> int:
    BODIES.append(("double", number))
    return number * 2


@checkpoint(runtime="isolated", limit=2)
def few(number: int) -> int:
    BODIES.append(("few", number))
    GATE.wait(10)
    return number


@checkpoint(runtime="isolated", limit=50)
def many(number: int) -> int:
    BODIES.append(("many", number))
    GATE.wait(10)
    return number


@checkpoint(runtime="isolated")
async def later(number: int) -> int:
    await asyncio.sleep(0)
    BODIES.append(("later", number))
    return number + 1


@checkpoint(runtime="isolated", retries={"count": 1, "delay": 0})
def fails(how: str) -> str:
    BODIES.append(("fails", how))
    raise ConnectionError(how)


@checkpoint
def plain(number: int) -> int:
    return number


@checkpoint(runtime="isolated")
def nests() -> int:
    return plain(1)


@checkpoint(runtime="isolated")
def tells(name: str) -> list[object]:
    save("kept", name)
    log(told=name)
    run = current_run()
    return [load("first"), run.path, run.attempt, run.id, run.idempotency_key]


@checkpoint(runtime="isolated", timeout=0.1)
def slow(seconds: float) -> None:
    time.sleep(seconds)


@checkpoint(runtime="isolated")
def changes(given: list[int]) -> list[int]:
    given.append(1)
    return given


class Region:
    """Stands for SageMaker: jobs by name, each run once, in a thread that does what a job's process does."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.jobs: dict[str, Job] = {}
        self.stopped: list[str] = []
        self.refusals: list[ClaryError] = []
        self.dies: Callable[[str, int], Job | None] = lambda _path, _number: None
        self.lock = threading.Lock()

    def create(self, request: Record, variables: dict[str, str]) -> None:
        assert variables.items() <= request["Environment"].items()
        name = request["TrainingJobName"]
        with self.lock:
            if self.refusals:
                raise self.refusals.pop(0)
            if name in self.jobs:
                assert self.jobs[name].environment == request["Environment"]
                return
            self.jobs[name] = Job("InProgress", "Training", None, "ml.m5.large", request["Environment"])
        threading.Thread(target=self._run, args=(name, variables), daemon=True).start()

    def describe(self, name: str) -> Job | None:
        return self.jobs.get(name)

    def stop(self, name: str) -> None:
        self.stopped.append(name)
        if name in self.jobs:
            self.jobs[name] = replace(self.jobs[name], status="Stopped")

    def _run(self, name: str, variables: dict[str, str]) -> None:
        place = tasks.Place(RUN, variables[tasks.CALL_VARIABLE])
        task = tasks.read(self.store, place.task)
        assert task is not None
        if (death := self.dies(task["path"], int(place.name.rpartition("/")[2]))) is not None:
            self.jobs[name] = death
            return
        found = find_checkpoint(task["module"], task["qualname"], task["name"])
        inside = Inside(task["run"], task["attempt"], self.store)
        ended = run_body(
            inside, found, task["path"], arguments_of(found, task, self.store), ender=Ender(lambda _: None)
        )
        if self.jobs[name].status == "InProgress":
            tasks.settle(self.store, place.result, ended)
            self.jobs[name] = replace(self.jobs[name], status="Failed" if "error" in ended else "Completed")


class Killed(BaseException):
    """The flow's process has died."""


class Life:
    """Counts what the flow's process does outside itself, and kills it at one of these, before or after it is done."""

    def __init__(self, dies_at: int = 0) -> None:
        self.done = 0
        self.dies_at = dies_at

    def step(self, act: Callable[[], Any]) -> Any:
        self.done += 1
        before, after = self.dies_at == 2 * self.done - 1, self.dies_at == 2 * self.done
        if before or 0 < self.dies_at < 2 * self.done - 1:
            raise Killed
        result = act()
        if after:
            raise Killed
        return result


class Calls(IsolatedCalls):
    """Isolated calls whose jobs run in a ``Region``."""

    def __init__(self, execution: Execution, region: Region, life: Life | None = None) -> None:
        super().__init__(execution)
        self.region = region
        self.life = life or Life()

    def jobs(self) -> Any:
        outer = self

        class Seen:
            """The region, as a process with that life reaches it."""

            def create(self, request: Record, variables: dict[str, str]) -> None:
                outer.life.step(lambda: outer.region.create(request, variables))

            def __getattr__(self, name: str) -> Any:
                return getattr(outer.region, name)

        return Seen()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return FolderStore(str(tmp_path / "store"))


@pytest.fixture
def region(store: ObjectStore) -> Region:
    return Region(store)


TEMPLATE = {"request": {"RoleArn": "arn", "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}}}
SPEC = {"checkpoints": {one.name: TEMPLATE for one in (double, few, many, later, fails, nests, tells, changes)}}


def begin(store: ObjectStore, number: int = 1) -> Log:
    """Record the run, or the claim of a further attempt."""
    log_ = ObjectLog(store, RUN)
    log_.immediate = False
    request = {"Environment": {"CLARY_RUN": f"s3://bucket/runs/{RUN}", "CLARY_ATTEMPT": str(number)}}
    tasks.write(store, "specs/d.json", SPEC)
    made = [records.attempt(number, job="own", request=request, spec={"digest": "d"})]
    if number == 1:
        spec = {"digest": "d"}
        made.insert(0, records.created(RUN, flow="Flow", stack="s", spec=spec, inputs={}, by="somebody"))
    assert append(log_, RunState(), lambda _state: made)
    return log_


def attempt(
    body: Flow[Any, Any], store: ObjectStore, region: Region, number: int = 1, *, life: Life | None = None
) -> tuple[Outcome, list[Calls]]:
    log_, made = begin(store, number), []
    if life is not None:
        log_ = Disturbed(log_, lambda inner, entry: bool(life.step(lambda: inner.create(entry))))

    def extend(execution: Execution) -> None:
        execution.elsewhere = Calls(execution, region, life)
        made.append(execution.elsewhere)

    return run_attempt(log_, store, lambda _: body, number, host="here", extend=extend), made


def outcome(body: Flow[Any, Any], store: ObjectStore, region: Region, number: int = 1) -> Outcome:
    return attempt(body, store, region, number)[0]


def jobs_of(store: ObjectStore) -> list[Record]:
    state = state_of(ObjectLog(store, RUN))
    return [job for jobs in state.call_jobs.values() for job in jobs]


class TestDeclaration:
    def test_says_where_calls_run(self) -> None:
        @checkpoint(
            runtime="isolated", resources={"instance_count": 2}, distribution={"torchrun": 4}, image="i", limit=3
        )
        def one() -> None: ...

        assert one.isolation is not None
        found = one.isolation
        assert (found.distribution, found.processes, found.image, found.limit) == ("torchrun", 4, "i", 3)
        assert plain.isolation is None
        assert double.isolation is not None
        assert double.isolation.limit == DEFAULT_LIMIT

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            ({"runtime": "isolate"}, "checkpoint.bad_runtime", "isolate"),
            ({"resources": {"use_spot": True}}, "checkpoint.only_isolated", "resources="),
            ({"limit": 3}, "checkpoint.only_isolated", "limit="),
            ({"runtime": "isolated", "limit": 0}, "checkpoint.bad_limit", "limit=0"),
            ({"runtime": "isolated", "limit": True}, "checkpoint.bad_limit", "limit=True"),
            ({"runtime": "isolated", "resources": {"instance_count": 2}}, "checkpoint.no_distribution", "2 hosts"),
            ({"runtime": "isolated", "distribution": "torchrn"}, "checkpoint.bad_distribution", "torchrn"),
            ({"runtime": "isolated", "distribution": {"hosts": 2}}, "checkpoint.bad_distribution", "hosts"),
            ({"runtime": "isolated", "distribution": {"mpi": 0}}, "checkpoint.bad_distribution", "mpi"),
        ],
    )
    def test_nonsense_is_refused_at_once(self, options: dict[str, Any], code: str, said: str) -> None:
        with pytest.raises(UsageError, match=said) as caught:
            checkpoint(**options)(lambda: None)
        assert caught.value.code == code


class TestNames:
    def test_a_jobs_name_is_always_the_same_and_fits(self) -> None:
        name = tasks.job_name("Ein *langer* Name " * 5, RUN, 12, "a#1/b#2", 3)
        assert name == tasks.job_name("Ein *langer* Name " * 5, RUN, 12, "a#1/b#2", 3)
        assert len(name) <= tasks.LONGEST_NAME
        assert is_id(RUN)
        assert RUN.lower() in name
        others = {tasks.job_name("f", RUN, 1, path, n) for path in ("a#1", "a#2") for n in (1, 2)}
        assert len(others) == 4

    def test_only_what_has_the_form_of_a_place_is_one(self) -> None:
        assert tasks.Place.of(RUN, "a#1", 1).valid
        for name in ("", "../x", "0123456789abcdef/0", "0123456789abcdef/1/..", "0123456789ABCDEF/1"):
            assert not tasks.Place(RUN, name).valid


class TestCalls:
    def test_run_in_jobs_and_are_replayed(self, store: ObjectStore, region: Region) -> None:
        @flow
        def body() -> object:
            return [double(1), [future.result() for future in double.map([2, 3])], plain(4)]

        assert outcome(body, store, region).value == [2, [4, 6], 4]
        assert len(region.jobs) == 3
        ends = [job["end"] for job in jobs_of(store)]
        assert {end["outcome"] for end in ends} == {"completed"}
        assert {end["instance_type"] for end in ends} == {"ml.m5.large"}

    def test_of_async_checkpoints_hold_no_thread(self, store: ObjectStore, region: Region) -> None:
        @flow
        async def body() -> object:
            return list(await asyncio.gather(*(later(number) for number in range(40))))

        assert outcome(body, store, region).value == list(range(1, 41))

    def test_run_within_their_limit_in_order(self, store: ObjectStore, region: Region) -> None:
        @flow
        def body() -> object:
            return few.map(range(5)).results()

        done: list[Outcome] = []
        thread = threading.Thread(target=lambda: done.append(outcome(body, store, region)))
        thread.start()
        until(lambda: len(BODIES) == 2)
        time.sleep(0.1)
        assert sorted(BODIES) == [("few", 0), ("few", 1)]
        GATE.set()
        thread.join(10)
        assert done[0].value == [0, 1, 2, 3, 4]

    def test_are_not_held_up_by_a_lack_of_threads_and_are_claimed_together(
        self, store: ObjectStore, region: Region
    ) -> None:
        @flow(workers=1)
        def body() -> object:
            return sum(many.map(range(30)).results())

        done: list[Outcome] = []
        before = threading.active_count()
        thread = threading.Thread(target=lambda: done.append(outcome(body, store, region)))
        thread.start()
        until(lambda: len(BODIES) == 30)
        assert threading.active_count() - before - 30 <= 3  # the flow, one worker, the dispatcher; 30 are the jobs
        claims = [entry for entry in ObjectLog(store, RUN).read() if entry["records"][0]["kind"] == records.CALL_JOB]
        assert len(claims) < 10
        GATE.set()
        thread.join(10)
        assert done[0].value == sum(range(30))

    def test_tell_the_run_and_know_where_they_belong(self, store: ObjectStore, region: Region) -> None:
        @flow
        def body() -> object:
            save("first", 1)
            return tells("a")

        value = outcome(body, store, region).value
        assert value[:4] == [1, "tells#1", 1, RUN]
        state = state_of(ObjectLog(store, RUN))
        assert state.logged == {"told": "a"}
        assert set(state.saved) == {"first", "kept"}

    def test_may_not_hold_checkpoints(self, store: ObjectStore, region: Region) -> None:
        done = outcome(flow(lambda: nests()), store, region)
        assert isinstance(done.error, UsageError)
        assert done.error.code == "call.in_isolated"

    def test_of_a_checkpoint_that_no_other_process_finds_are_refused(self, store: ObjectStore, region: Region) -> None:
        @checkpoint(runtime="isolated", name="double")
        def hidden() -> None: ...

        done = outcome(flow(lambda: hidden()), store, region)
        assert isinstance(done.error, UsageError)
        assert done.error.code == "call.not_importable"
        assert region.jobs == {}

    def test_of_a_checkpoint_that_was_not_planned_are_refused(self, store: ObjectStore, region: Region) -> None:
        other = checkpoint(runtime="isolated", name="other")(lambda: None)
        done = outcome(flow(lambda: other()), store, region)
        assert isinstance(done.error, UsageError)
        assert done.error.code == "call.not_planned"
        assert jobs_of(store) == []


class TestFailures:
    def test_what_the_body_raised_is_raised_and_each_try_has_a_job(self, store: ObjectStore, region: Region) -> None:
        done = outcome(flow(lambda: fails("no")), store, region)
        assert isinstance(done.error, ConnectionError)
        assert BODIES == [("fails", "no")] * 2
        assert [job["n"] for job in jobs_of(store)] == [1, 2]
        assert outcome(flow(lambda: fails("no")), store, region, 2).status == "failed"
        assert [job["n"] for job in jobs_of(store)] == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("reason", "cause", "retried"),
        [
            (
                "AlgorithmError: out_of_memory: The process was killed for want of memory (SIGKILL).",
                "out_of_memory",
                False,
            ),
            ("AlgorithmError: interrupted: The process was killed by SIGKILL from outside.", "interrupted", True),
            ("CapacityError: Unable to provision requested ML compute capacity.", "capacity", True),
        ],
    )
    def test_a_job_that_dies_is_the_calls_failure_with_its_cause(
        self, store: ObjectStore, region: Region, reason: str, cause: str, retried: bool
    ) -> None:
        dead = Job("Failed", "Failed", reason, "ml.m5.large", {})
        region.dies = lambda _path, number: dead if number == 1 else None
        done = outcome(flow(lambda: fails("why")), store, region)
        if retried:
            assert isinstance(done.error, ConnectionError)  # of the second job
            assert [job["end"]["outcome"] for job in jobs_of(store)][1:] == ["failed"]
        else:
            assert isinstance(done.error, RunFailedError)
            assert done.error.details["cause"] == cause
            assert done.failure is not None
            assert done.failure["cause"] == cause
            assert BODIES == []

    def test_a_job_without_a_result_is_a_failure(self, store: ObjectStore, region: Region) -> None:
        region.dies = lambda _path, _number: Job("Completed", "Completed", None, None, {})
        done = outcome(flow(lambda: double(1)), store, region)
        assert "left no result" in str(done.error)

    def test_throttling_lost_replies_and_a_full_quota_are_borne(self, store: ObjectStore, region: Region) -> None:
        region.refusals = [
            ThrottledError("call.job_throttled", "slow down", next_step="wait"),
            QuotaError("call.job_quota", "full", next_step="wait"),
            AwsError("call.job_unreachable", "who knows", next_step="again", retry=Retry.LATER),
        ]
        assert outcome(flow(lambda: double(2)), store, region).value == 4
        assert len(region.jobs) == 1

    def test_a_quota_that_never_fits_is_not_waited_for(self, store: ObjectStore, region: Region) -> None:
        region.refusals = [QuotaError("call.job_quota", "too small", next_step="other type", retry=Retry.NO)]
        done = outcome(flow(lambda: double(2)), store, region)
        assert isinstance(done.error, QuotaError)
        assert jobs_of(store)[0]["end"]["outcome"] == "refused"

    def test_an_outage_of_the_store_while_polling_is_borne(self, store: ObjectStore, region: Region) -> None:
        get, failures = store.get, iter(range(5))

        def shaky(key: str) -> bytes | None:
            if key.endswith("result.json") and next(failures, None) is not None:
                raise AwsError("store.unreachable", "away", next_step="wait", retry=Retry.LATER)
            return get(key)

        store.get = shaky  # type: ignore[method-assign]
        assert outcome(flow(lambda: double(2)), store, region).value == 4


class TestTheFlowsProcessDies:
    def test_wherever_it_may_be_and_nothing_runs_twice(self, tmp_path: Path) -> None:
        @flow
        def body() -> object:
            first = double(1)
            return [first, *double.map([first, 3]).results(), plain(7)]

        point, ended = 0, False
        while not ended:
            point += 1
            BODIES.clear()
            store = FolderStore(str(tmp_path / str(point)))
            region = Region(store)
            try:
                attempt(body, store, region, life=Life(point))
                ended = True
            except Killed:
                done = outcome(body, store, region, 2)
                assert done.value == [2, 4, 6, 7], point
            assert Counter(BODIES) == {("double", 1): 1, ("double", 2): 1, ("double", 3): 1}, point
            assert len(region.jobs) == 3, point
        assert point > 20  # every write of the log and every request, before and after

    def test_a_job_that_ended_without_a_result_meanwhile_is_begun_anew(
        self, store: ObjectStore, region: Region
    ) -> None:
        region.dies = lambda _path, number: Job("Stopped", "Stopped", None, None, {}) if number == 1 else None
        begin(store)
        claimed = records.call_job("double#1", 1, "old", inputs={"number": digest(1)}, source=double.source)
        append(ObjectLog(store, RUN), RunState(), lambda _: [claimed])
        region.jobs["old"] = Job("Stopped", "Stopped", None, None, {})
        done = outcome(flow(lambda: double(1)), store, region, 2)
        assert done.value == 2
        assert [job["n"] for job in jobs_of(store)] == [1, 2]

    def test_a_job_of_other_inputs_is_stopped_and_not_adopted(self, store: ObjectStore, region: Region) -> None:
        begin(store)
        claimed = records.call_job("double#1", 1, "old", inputs={"number": digest(5)}, source=double.source)
        append(ObjectLog(store, RUN), RunState(), lambda _: [claimed])
        assert outcome(flow(lambda: double(1)), store, region, 2).value == 2
        assert region.stopped == ["old"]

    def test_a_second_attempt_takes_over_what_the_first_has_begun(self, store: ObjectStore, region: Region) -> None:
        body = flow(lambda: [future.result() for future in few.map([1, 2])])
        first: list[BaseException | Outcome] = []
        thread = threading.Thread(target=lambda: first.append(outcome(body, store, region)))
        thread.start()
        until(lambda: len(BODIES) == 2)
        second: list[Outcome] = []
        other = threading.Thread(target=lambda: second.append(outcome(body, store, region, 2)))
        other.start()
        until(lambda: any(record["kind"] == records.OPENED for record in written(ObjectLog(store, RUN))[3:]))
        GATE.set()
        thread.join(10)
        other.join(10)
        assert second[0].value == [1, 2]
        assert isinstance(first[0], Outcome)
        assert first[0].status == "fenced"
        assert isinstance(first[0].error, Fenced)
        assert len(BODIES) == len(region.jobs) == 2


class TestStopping:
    def test_stops_every_job_that_may_be_under_way(self, store: ObjectStore, region: Region) -> None:
        @flow
        def body() -> None:
            few.map([1, 2, 3])
            until(lambda: len(region.jobs) == 2)
            raise ValueError("enough")

        done, made = attempt(body, store, region)
        assert done.status == "failed"
        assert made[-1].stop_jobs() == []
        assert sorted(region.stopped) == sorted(region.jobs)


class TestOnALocalStack:
    def run(self, tmp_path: Path, body: Flow[Any, Any]) -> tuple[Outcome, Log]:
        def extend(execution: Execution) -> None:
            execution.elsewhere = LocalCalls(execution)

        from durable import attempt as run_here
        from durable import begin as begin_here
        from durable import open_log

        log_, store = open_log("sqlite", tmp_path)
        begin_here(log_, store)
        return run_here(log_, store, body, extend=extend), log_

    def test_calls_run_here_by_the_same_rules(self, tmp_path: Path) -> None:
        @flow
        def body() -> object:
            save("first", 1)
            given = [0]
            return [tells("a")[:3], double.map([1, 2]).results(), changes(given), given]

        done, log_ = self.run(tmp_path, body)
        assert done.value == [[1, "tells#1", 1], [2, 4], [0, 1], [0]]  # by value: no change gets out
        assert state_of(log_).logged == {"told": "a"}
        refused, _ = self.run(tmp_path / "other", flow(lambda: nests()))
        assert isinstance(refused.error, UsageError)
        assert refused.error.code == "call.in_isolated"

    def test_time_limits_hold(self, tmp_path: Path) -> None:
        done, _ = self.run(tmp_path, flow(lambda: slow(30)))
        assert isinstance(done.error, TimeoutError)

    def test_async_ones_are_awaited(self, tmp_path: Path) -> None:
        @flow
        async def body() -> object:
            return await later(1)

        assert self.run(tmp_path, body)[0].value == 2


def test_a_body_that_takes_too_long_is_ended_in_its_job(store: ObjectStore) -> None:
    given = arguments_of(slow, {"arguments": {"seconds": encode(30, store)}}, store)
    ended = run_body(Inside(RUN, 1, store), slow, "slow#1", given, ender=Ender(lambda _: None))
    assert ended["error"]["type"] == "TimeoutError"
    assert ended["seconds"] < 5


def test_product_makes_a_call_for_each_combination(tmp_path: Path) -> None:
    @checkpoint
    def join(first: str, second: int, *, between: str = "-") -> str:
        return f"{first}{between}{second}"

    done, _, _ = first_attempt("sqlite", tmp_path, flow(lambda: join.product("ab", [1, 2], between="+").results()))
    assert done.value == ["a+1", "a+2", "b+1", "b+2"]
