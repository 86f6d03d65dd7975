"""Results of other runs: taken for the very same call only, never a reason to fail, and off unless asked for."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.engine import caching
from clary.errors import AwsError, PermissionDeniedError, Retry, UsageError
from clary.flows import Cache, Flow, checkpoint, current_run, flow
from clary.journal import records
from clary.journal.sqlite import SqliteLog
from clary.objects.folder import FolderStore
from durable import attempt, begin, claim, state_of, written

if TYPE_CHECKING:
    from clary.engine.attempt import Outcome
    from clary.journal.log import Log

RAN: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


class Place:
    """A store that runs share; each run has a log of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Any = FolderStore(str(folder / "store"))
        self.runs = 0

    def run(self, body: Flow[Any, Any], **inputs: Any) -> tuple[Outcome, Log]:
        self.runs += 1
        log = SqliteLog(self.folder / f"{self.runs}.db", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
        begin(log, self.store, **inputs)
        return attempt(log, self.store, body), log

    def entries(self) -> list[Path]:
        return sorted((self.folder / "store" / "cache").rglob("*.json"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def _origins(log: Log) -> dict[str, str | None]:
    return {call["path"]: call.get("origin", {}).get("kind") for call in written(log, records.CALL)}


@checkpoint(cache=True)
def cached(value: Any, scale: int = 1) -> Any:
    RAN["cached"] += 1
    return value * scale


@flow
def one(value: Any = 3, scale: int = 1) -> Any:
    return cached(value, scale)


def test_nothing_is_cached_unless_asked(place: Place) -> None:
    @checkpoint
    def plain(value: int) -> int:
        RAN["plain"] += 1
        return value

    body = flow(lambda_of(lambda: plain(1)))
    for _ in range(2):
        assert place.run(body)[0].value == 1
    assert RAN["plain"] == 2
    assert place.entries() == []


def lambda_of(function: Any) -> Any:
    def body() -> Any:
        return function()

    return body


def test_a_second_run_takes_the_result_and_says_from_whom(place: Place) -> None:
    place.run(one)
    outcome, log = place.run(one)
    assert (outcome.value, RAN["cached"]) == (3, 1)
    (call,) = written(log, records.CALL)
    assert call["origin"] == {
        "kind": "cache",
        "run": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "path": "cached#1",
        "at": pytest.approx(time.time(), abs=60),
        "key": str(place.entries()[0].relative_to(place.folder / "store")),
    }
    assert state_of(log).status == "completed"


def test_other_inputs_are_another_call(place: Place) -> None:
    assert [place.run(one, value=value, scale=scale)[0].value for value, scale in ((2, 1), (2, 2), (2.0, 1))] == [
        2,
        4,
        2,
    ]
    assert RAN["cached"] == 3
    assert place.run(one, value=2)[0].value == 2
    assert RAN["cached"] == 3


@pytest.mark.parametrize("answer", [False, True])
def test_the_flow_says_it_for_checkpoints_that_do_not(place: Place, answer: bool) -> None:
    @checkpoint
    def quiet() -> None:
        RAN["quiet"] += 1

    @checkpoint(cache=False)
    def never() -> None:
        RAN["never"] += 1

    @flow(cache=answer)
    def body() -> None:
        quiet()
        never()

    place.run(body)
    place.run(body)
    assert (RAN["quiet"], RAN["never"]) == (1 if answer else 2, 2)


def test_a_version_is_part_of_the_key(place: Place) -> None:
    def made(version: str) -> Any:
        @checkpoint(cache=Cache(version=version))
        def step() -> str:
            RAN["step"] += 1
            return "done"

        return flow(lambda_of(step))

    for version in ("1", "1", "2", "1"):
        place.run(made(version))
    assert RAN["step"] == 2


def test_a_result_expires(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    @checkpoint(cache=Cache(expires=timedelta(days=7)))
    def step() -> int:
        RAN["step"] += 1
        return RAN["step"]

    body = flow(lambda_of(step))
    real = time.time
    assert [place.run(body)[0].value for _ in range(2)] == [1, 1]
    monkeypatch.setattr(time, "time", lambda: real() + 8 * 86400)
    assert place.run(body)[0].value == 2
    monkeypatch.setattr(time, "time", real)
    assert place.run(body)[0].value == 2  # the new one has taken the old one's place
    assert len(place.entries()) == 1


def test_ignored_inputs_make_no_difference(place: Place) -> None:
    @checkpoint(cache=Cache(ignore=("verbose", "client")))
    def step(value: int, verbose: bool, client: Any) -> int:
        RAN["step"] += 1
        return value

    @flow
    def body(verbose: bool) -> int:
        return step(1, verbose, threading.Event)

    place.run(body, verbose=False)
    assert place.run(body, verbose=True)[0].value == 1
    assert RAN["step"] == 1


def test_a_key_function_stands_for_the_inputs(place: Place) -> None:
    @checkpoint(cache=lambda url, **_: url.lower())
    def fetch(url: str, at: float = 0.0) -> str:
        RAN["fetch"] += 1
        return f"{url} {at}"

    @flow
    def body(url: str, at: float) -> str:
        return fetch(url, at=at)

    place.run(body, url="A", at=1.0)
    assert place.run(body, url="a", at=2.0)[0].value == "A 1.0"
    assert place.run(body, url="b", at=2.0)[0].value == "b 2.0"


def test_a_key_must_be_a_text(place: Place) -> None:
    @checkpoint(cache=lambda value: value)
    def step(value: int) -> int:
        return value

    outcome, _ = place.run(flow(lambda_of(lambda: step(1))))
    assert isinstance(outcome.error, UsageError)
    assert outcome.error.code == "cache.bad_key"


class Opaque:
    def __init__(self) -> None:
        self.hidden = [1]


def test_what_cannot_be_compared_is_not_cached_and_said_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    @checkpoint(cache=True)
    def step(thing: Any) -> int:
        RAN["step"] += 1
        return 1

    @flow
    def body() -> int:
        return sum(step(Opaque()) for _ in range(3))

    place.run(body)
    assert place.run(body)[0].value == 3
    assert RAN["step"] == 6
    assert capsys.readouterr().out.count("step is not cached: its argument “thing” is a Opaque") == 2  # once a run
    assert place.entries() == []


@dataclass
class Model:
    rate: float

    def run(self) -> float:
        return self.rate * 2


def test_the_class_of_an_argument_is_part_of_the_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    @checkpoint(cache=True)
    def step(models: list[Any]) -> float:
        RAN["step"] += 1
        return float(models[0].run())

    body = flow(lambda_of(lambda: step([Model(0.5)])))
    place.run(body)
    place.run(body)
    assert RAN["step"] == 1
    monkeypatch.setattr(Model, "run", lambda self: self.rate * 3)
    assert place.run(body)[0].value == 1.5


def test_failures_are_never_kept(place: Place) -> None:
    @checkpoint(cache=True)
    def step() -> str:
        RAN["step"] += 1
        if RAN["step"] == 1:
            raise ValueError("no")
        return "fine"

    body = flow(lambda_of(step))
    assert place.run(body)[0].status == "failed"
    assert place.entries() == []
    assert [place.run(body)[0].value for _ in range(2)] == ["fine", "fine"]
    assert RAN["step"] == 2


def test_async_mapped_and_nested_calls(place: Place) -> None:
    @checkpoint(cache=True)
    async def leaf(value: int) -> int:
        RAN["leaf"] += 1
        await asyncio.sleep(0)
        return value

    @checkpoint(cache=True)
    def inner(value: int) -> int:
        RAN["inner"] += 1
        return value

    @checkpoint
    def outer(value: int) -> int:
        return inner(value) + 1

    @flow
    async def body() -> list[int]:
        awaited = await asyncio.gather(*[leaf(value) for value in range(3)])
        return [*awaited, *outer.map(range(2)).results()]

    for _ in range(2):
        assert place.run(body)[0].value == [0, 1, 2, 1, 2]
    assert RAN == {"leaf": 3, "inner": 2}
    _, log = place.run(body)
    assert _origins(log)["outer#1/inner#1"] == "cache"
    assert _origins(log)["outer#1"] is None


@checkpoint(cache=True)
def large() -> bytes:
    RAN["large"] += 1
    return b"x" * 100_000


def _no_value(place: Place) -> None:
    for file in (place.folder / "store" / "values").iterdir():
        file.unlink()


def _other_value(place: Place) -> None:
    for file in (place.folder / "store" / "values").iterdir():
        file.write_bytes(file.read_bytes().replace(b"eHh4", b"eXh4"))


def _cut_short(place: Place) -> None:
    for file in place.entries():
        file.write_bytes(file.read_bytes()[:40])


def _of_another_call(place: Place) -> None:
    for file in place.entries():
        entry = json.loads(file.read_bytes())
        entry["parts"]["version"] = "9"
        file.write_text(json.dumps(entry))


def _of_a_later_version(place: Place) -> None:
    for file in place.entries():
        file.write_text(json.dumps({**json.loads(file.read_bytes()), "v": 99}))


@pytest.mark.parametrize("damage", [_no_value, _other_value, _cut_short, _of_another_call, _of_a_later_version])
def test_what_is_damaged_or_gone_is_a_miss_and_is_replaced(place: Place, damage: Any) -> None:
    body = flow(lambda_of(large))
    place.run(body)
    damage(place)
    assert place.run(body)[0].value == b"x" * 100_000
    assert RAN["large"] == 2
    assert place.run(body)[0].value == b"x" * 100_000
    assert RAN["large"] == 2


class Down:
    """A store whose cache is out of reach."""

    def __init__(self, store: FolderStore, error: Exception, *verbs: str) -> None:
        self._store, self._error, self._verbs = store, error, verbs
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        there = getattr(self._store, name)

        def ask(key: str, *rest: Any) -> Any:
            if key.startswith("cache/"):
                self.asked += 1
                raise self._error
            return there(key, *rest)

        return ask if name in self._verbs else there


OUTAGE = AwsError("aws.unreachable", "S3 cannot be reached.", next_step="Wait.", retry=Retry.LATER)
DENIED = PermissionDeniedError("aws.access_denied", "s3:PutObject on cache/ is not allowed.", next_step="Grant it.")


@pytest.mark.parametrize(("error", "verbs"), [(OUTAGE, ("get", "put", "create")), (DENIED, ("put", "create"))])
def test_a_cache_out_of_reach_is_a_miss_and_left_alone(
    place: Place, capsys: pytest.CaptureFixture[str], error: Exception, verbs: tuple[str, ...]
) -> None:
    place.store = Down(FolderStore(str(place.folder / "store")), error, *verbs)

    @flow
    def body() -> list[int]:
        return [cached(number) for number in range(5)]

    assert place.run(body)[0].value == list(range(5))
    assert RAN["cached"] == 5
    assert place.store.asked == 1
    assert capsys.readouterr().out.count("the cache is left alone, calls run") == 1


def test_two_runs_that_fill_one_key_at_once_both_go_on(place: Place) -> None:
    together = threading.Barrier(2, timeout=20)

    @checkpoint(cache=True)
    def step() -> int:
        together.wait()
        RAN["step"] += 1
        return RAN["step"]

    body = flow(lambda_of(step))
    other = Place(place.folder)
    other.runs = 10
    found: list[Any] = []
    threads = [threading.Thread(target=lambda one=one: found.append(one.run(body)[0])) for one in (place, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.status for outcome in found] == ["completed", "completed"]
    assert len(place.entries()) == 1
    assert place.run(body)[0].value in (1, 2)


def test_the_record_answers_before_the_cache(place: Place) -> None:
    @checkpoint(cache=True)
    def step() -> str:
        return current_run().id

    @checkpoint
    def fails() -> None:
        if current_run().attempt == 1:
            raise ValueError

    @flow
    def body() -> str:
        found = step()
        fails()
        return found

    _, log = place.run(body)
    for file in place.entries():
        file.unlink()
    claim(log, 2)
    assert attempt(log, place.store, body, 2).replayed == 1
    assert place.entries() == []


@pytest.mark.parametrize("given", [3, "yes", Cache])
def test_what_is_no_cache_is_refused(given: Any) -> None:
    with pytest.raises(UsageError) as refused:
        checkpoint(cache=given)(lambda_of(None))
    assert refused.value.code == "cache.bad_option"


@pytest.mark.parametrize(
    "options",
    [{"key": 3}, {"version": 3}, {"expires": 7}, {"expires": timedelta()}, {"ignore": "verbose"}, {"ignore": (1,)}],
)
def test_what_is_no_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        Cache(**options)
    assert refused.value.code == "cache.bad_option"
    assert refused.value.field == f"cache.{next(iter(options))}"


def test_only_parameters_can_be_ignored() -> None:
    with pytest.raises(UsageError, match="no parameter “verbos”"):

        @checkpoint(cache=Cache(ignore=("verbos",)))
        def step(verbose: bool) -> None: ...


def test_names_make_safe_folders() -> None:
    assert caching.folder_of("../a b") == "cache/%2E%2E%2Fa%20b"
    assert len(caching.folder_of("é" * 400)) < 200
