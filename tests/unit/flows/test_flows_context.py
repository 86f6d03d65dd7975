"""What code in a flow may ask and keep, and what a flow makes of its inputs."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clary import checkpoint, current_run, flow, load, log, progress, save
from clary.errors import NotFoundError, UsageError
from clary.journal import records
from durable import KINDS, RUN, assert_once, attempt, claim, first_attempt, state_of, written


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_clock_and_chance_are_recorded(kind: str, tmp_path: Path) -> None:
    seen: list[Any] = []

    @checkpoint
    def inside() -> list[Any]:
        return [current_run().random(), str(current_run().uuid())]

    @flow
    def body() -> list[Any]:
        run = current_run()
        found = [run.now(), run.uuid(), run.random(), run.random(), inside(), run.now()]
        seen.append(found)
        if len(seen) == 1:
            raise InterruptedError
        return [str(one) for one in found]

    _, record, store = first_attempt(kind, tmp_path, body)
    claim(record, 2)
    outcome = attempt(record, store, body, 2)
    assert seen[0] == seen[1]
    assert outcome.status == "completed"
    assert_once(record)
    now, _, one, other, _, later = seen[0]
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60
    assert later >= now
    assert one != other
    assert 0 <= one < 1


def test_readings_within_a_call_that_runs_again_are_the_same(tmp_path: Path) -> None:
    seen: list[float] = []

    @checkpoint
    def fragile() -> float:
        seen.append(current_run().random())
        if len(seen) == 1:
            raise OSError
        return seen[-1]

    body = flow(lambda: fragile())
    _, record, store = first_attempt("sqlite", tmp_path, body)
    claim(record, 2)
    assert attempt(record, store, body, 2).value == seen[0] == seen[1]


def test_a_call_knows_its_run_attempt_path_and_idempotency_key(kind: str, tmp_path: Path) -> None:
    keys: list[tuple[str, str]] = []

    @checkpoint
    def call(number: int) -> int:
        run = current_run()
        assert run.id == RUN
        keys.append((run.path, run.idempotency_key))
        if len(keys) == 3:
            raise OSError
        return run.attempt

    @flow
    def body() -> Any:
        assert current_run().path == ""
        return [call(1), call(1), call(3)]

    _, record, store = first_attempt(kind, tmp_path, body)
    claim(record, 2)
    assert attempt(record, store, body, 2).value == [1, 1, 2]
    assert [path for path, _ in keys] == ["call#1", "call#2", "call#3", "call#3"]
    assert keys[2] == keys[3]
    assert len({key for _, key in keys}) == 3
    assert all(len(key) == 32 for _, key in keys)


def test_values_kept_by_name(kind: str, tmp_path: Path) -> None:
    urls: list[str] = []
    turns: list[list[Any]] = []

    @checkpoint
    def trains() -> None:
        urls.append(save("model", {"weights": [1, 2]}))

    @flow
    def body() -> Any:
        with pytest.raises(NotFoundError, match="nothing by the name") as caught:
            load("model")
        assert caught.value.code == "artifact.not_found"
        trains()
        first = load("model")
        urls.append(save("model", "better"))
        turns.append([first, load("model")])
        if len(turns) == 1:
            raise InterruptedError
        return turns[-1]

    _, record, store = first_attempt(kind, tmp_path, body)
    claim(record, 2)
    assert attempt(record, store, body, 2).value == [{"weights": [1, 2]}, "better"]
    assert turns[0] == turns[1], "what is found is what was found, though another value has been kept since"
    assert list(state_of(record).saved) == ["model"]
    assert len(written(record, records.SAVED)) == 2
    for url in urls:
        assert Path(url).exists()


def test_facts_are_noted_once(kind: str, tmp_path: Path) -> None:
    turns: list[int] = []

    @flow
    def body() -> None:
        log(accuracy=0.9, tags=["a"])
        log(accuracy=0.95)
        turns.append(1)
        if len(turns) == 1:
            raise InterruptedError
        with pytest.raises(UsageError) as caught:
            log(model=object())
        assert caught.value.code == "log.not_plain"

    _, record, store = first_attempt(kind, tmp_path, body)
    claim(record, 2)
    assert attempt(record, store, body, 2).status == "completed"
    assert state_of(record).logged == {"accuracy": 0.95, "tags": ["a"]}
    assert len(written(record, records.LOGGED)) == 2


@pytest.mark.parametrize("name", [3, None, "", "  ", "a\nb", "esc\x1b[31m", "half \ud800"])
def test_what_cannot_name_a_value_is_refused_and_nothing_is_kept(tmp_path: Path, name: Any) -> None:
    codes: list[str] = []

    @flow
    def body() -> None:
        for call in (lambda: save(name, 1), lambda: load(name), lambda: log(**{str(name): 1})):
            with pytest.raises(UsageError) as caught:
                call()
            codes.append(caught.value.code)
            if not isinstance(name, str) and len(codes) == 2:
                return

    outcome, record, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.status == "completed", outcome.error
    assert codes == ["artifact.bad_name", "artifact.bad_name", "log.bad_name"][: len(codes)]
    assert written(record, records.SAVED, records.LOGGED, records.VALUE) == []


def test_names_of_values_are_any_texts(tmp_path: Path) -> None:
    names = ["größe x.y", "a/b", "train#1", "👩‍🔬", "x" * 300]

    @flow
    def body() -> list[Any]:
        for name in names:
            save(name, name)
            log(**{name: 1})
        return [load(name) for name in names]

    assert first_attempt("sqlite", tmp_path, body)[0].value == names


def test_outside_a_flow_there_is_no_run() -> None:
    for ask in (current_run, lambda: save("a", 1), lambda: load("a")):
        with pytest.raises(UsageError) as caught:
            ask()
        assert caught.value.code == "flow.none_running"
        assert "@flow" in caught.value.next_step


def test_a_checkpoint_that_tells_of_itself_is_a_plain_function_outside_a_flow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @checkpoint
    def train(epochs: int) -> int:
        progress(epochs, 3, "epoch")
        log(epochs=epochs)
        return epochs

    assert train(3) == 3
    assert capsys.readouterr() == ("", "")
    with pytest.raises(UsageError):
        progress("x")  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        log(model=object())


def test_facts_from_a_thread_that_has_no_place_in_the_flow_are_refused(tmp_path: Path) -> None:
    caught: list[str] = []

    def beside() -> None:
        progress(1)
        try:
            log(a=1)
        except UsageError as error:
            caught.append(error.code)

    @flow
    def body() -> None:
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()

    first_attempt("sqlite", tmp_path, body)
    assert caught == ["flow.none_running"]


def test_a_flow_in_a_flow_is_its_plain_body(tmp_path: Path) -> None:
    @checkpoint
    def step(value: int) -> int:
        return value

    @flow
    def inner(value: int) -> int:
        return step(value) + 1

    outcome, record, _ = first_attempt("sqlite", tmp_path, flow(lambda: inner(1) + inner(2)))
    assert outcome.value == 5
    assert [one["path"] for one in written(record, records.CALL)] == ["step#1", "step#2"]


@flow(name="shown", stack="gpu", instance_type="ml.m5.large")
def example(a: int, b: str = "x", *, c: float = 1.5) -> None:
    """Say what it does."""


def test_inputs_are_bound_by_name_with_defaults() -> None:
    assert example.bind({"a": 1}) == {"a": 1, "b": "x", "c": 1.5}
    assert example._bound((1, "y"), {"c": 2.0}) == {"a": 1, "b": "y", "c": 2.0}
    assert flow(lambda **rest: None).bind({"any": 1}) == {"any": 1}
    for given, code, hint in (
        ({"a": 1, "d": 2}, "flow.unknown_input", "Its inputs are: a, b, c."),
        ({"aa": 1}, "flow.unknown_input", "Did you mean “a”?"),
        ({}, "flow.missing_input", "--input a=VALUE"),
    ):
        with pytest.raises(UsageError) as caught:
            example.bind(given)
        assert caught.value.code == code
        assert hint in caught.value.next_step
    with pytest.raises(UsageError) as caught:
        example._bound((1, 2, 3, 4), {})
    assert caught.value.code == "flow.unknown_input"


def test_a_flow_keeps_what_it_was_told() -> None:
    assert (example.name, example.options.stack) == ("shown", "gpu")
    assert example.options.settings == {"instance_type": "ml.m5.large"}
    assert example.__doc__ == "Say what it does."
    assert example.on("other").call.stack == "other"
    assert example.options.stack == "gpu"
    assert repr(example) == "<flow shown>"


def test_a_positional_argument_given_twice_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        example._bound((1,), {"a": 2})
    assert caught.value.code == "flow.input_twice"


def test_a_checkpoint_called_in_a_thread_of_the_user_is_refused_and_the_plain_function_is_at_hand(
    tmp_path: Path,
) -> None:
    @checkpoint
    def step(value: int) -> int:
        return value

    @flow
    def body() -> list[int]:
        found: list[int] = []

        def work() -> None:
            with pytest.raises(UsageError) as caught:
                step(3)
            assert caught.value.code == "call.unknown_place"
            found.append(step.function(3))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found

    outcome, record, _ = first_attempt("sqlite", tmp_path, body)
    assert outcome.value == [3]
    assert written(record, records.CALL) == []
    assert step(4) == 4  # no flow runs here any more


def test_an_async_checkpoint_in_a_loop_of_the_users_own_is_refused(tmp_path: Path) -> None:
    @checkpoint
    async def step(value: int) -> int:
        return value

    @flow
    def body() -> int:
        async def main() -> int:
            return await step(3)

        return asyncio.run(main())

    outcome, _, _ = first_attempt("sqlite", tmp_path, body)
    assert isinstance(outcome.error, UsageError)
    assert outcome.error.code == "call.unknown_place"
