"""The client object, handles, keys of runs and progress, on a local stack."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from clary import Client, checkpoint, current_run, flow, progress, wait
from clary.agent import keys, place, service
from clary.errors import ConflictError, JournalError, NotFoundError, UsageError
from patience import until

seen: list[str] = []


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLARY_STACK", raising=False)
    monkeypatch.chdir(tmp_path)
    seen.clear()
    return tmp_path


@checkpoint
def square(value: int) -> int:
    seen.append(current_run().id)
    return value * value


@flow
def squares(value: int = 2, fails: bool = False) -> int:
    found = square(value)
    if fails:
        raise ValueError("as asked")
    return found


@flow
def asks() -> str:
    return "yes" if wait("sure", bool, question="Sure?") else "no"


def test_runs_are_listed_counted_and_shown() -> None:
    client = Client()
    with pytest.raises(NotFoundError):
        client.runs.latest()
    first = squares.run(3)
    failed = squares.run(4, fails=True)
    assert [run.id for run in client.runs.list()] == [failed.id, first.id]
    assert client.runs.list(flow="other") == []
    assert client.runs.latest().id == failed.id
    assert client.runs.get(first.id[:20] if first.id[:20] != failed.id[:20] else first.id).flow == "squares"
    counted = client.runs.statistics()
    assert (counted.count, counted.by_status, counted.by_flow) == (2, {"completed": 1, "failed": 1}, {"squares": 2})
    assert counted.median_seconds is not None
    assert client.runs.result(first.id) == 9
    assert client.runs.wait("latest").status == "failed"
    assert list(client.runs.logs(first.id)) == []


@pytest.mark.parametrize("run", [None, "", 17])
def test_what_is_no_id_of_a_run_is_refused(run: Any) -> None:
    with pytest.raises(UsageError) as caught:
        Client().runs.get(run)
    assert caught.value.code == "run.bad_id"


def test_a_status_that_no_run_has_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Client().runs.list(status="complete")
    assert caught.value.code == "run.unknown_status"
    assert "Did you mean “completed”?" in caught.value.next_step


def test_a_run_of_a_flow_in_no_file_is_not_resumed_elsewhere_and_can_be_taken_over(home: Path) -> None:
    source = """
from clary import checkpoint, flow
@checkpoint
def paid():
    open("paid.txt", "a").write("x")
    return 7
@checkpoint
def fails(number):
    if not {mended}:
        raise ValueError("not yet")
    return number + 1
@flow
def typed():
    return fails(paid())
"""
    started = subprocess.run(
        [sys.executable, "-c", source.format(mended=False) + "print(typed.run().id)"],
        capture_output=True,
        text=True,
        check=True,
    )
    run = started.stdout.split()[-1]
    with pytest.raises(NotFoundError) as caught:
        Client().runs.resume(run)
    assert caught.value.code == "run.project_not_found"
    replay = f"print(typed.replay({run!r}, at='fails', on_change='accept').result())"
    (home / "kept.py").write_text(source.format(mended=True) + replay)
    replayed = subprocess.run([sys.executable, "kept.py"], capture_output=True, text=True, check=False)
    assert replayed.stdout.split()[-1:] == ["8"], replayed.stderr
    assert (home / "paid.txt").read_text() == "x"


def test_a_run_is_retried_resumed_and_answered() -> None:
    client = Client("local")
    failed = squares.run(4, fails=True)
    client.runs.retry(failed.id)
    failed.resume().retry()
    assert len(failed.view().attempts) == 4
    assert len(seen) == 1  # the checkpoint's call is recorded
    asked = asks.run()
    assert asked.status == "waiting"
    assert [one.name for one in client.runs.waits(asked.id)] == ["sure"]
    client.runs.answer(asked.id, "sure", True)
    assert asked.resume().result() == "yes"
    again = client.runs.replay(failed.id, "square#1")
    assert again.id != failed.id
    assert len(seen) == 2


def test_artifacts_stacks_and_secrets() -> None:
    client = Client()
    run = squares.run(3)
    assert "result" in {one.name for one in run.artifacts()}
    assert client.artifacts.get(run.id, "square#1") == 9
    assert [stack.name for stack in client.stacks.list()] == ["local"]
    assert client.stacks.current() == client.stacks.get("local") == client.stacks.use("local")
    with pytest.raises(NotFoundError):
        client.stacks.get("nowhere")


def test_there_is_no_client_in_a_job() -> None:
    from clary.flows.outside import Client as Stand

    with pytest.raises(UsageError) as caught:
        Stand("stack")
    assert caught.value.code == "client.in_job"


def test_a_key_starts_a_run_once_whatever_becomes_of_it() -> None:
    keyed = squares.with_options(key="order-17")
    first = keyed.run(3)
    again = keyed.run(3)
    assert (again.id, again.reused, first.reused) == (first.id, True, False)
    assert again.result() == 9
    assert seen == [first.id]
    assert again.view().key == "order-17"
    with pytest.raises(ConflictError) as caught:
        keyed.run(4)
    assert (caught.value.code, "value was 3, and is 4" in caught.value.summary) == ("run.key_taken", True)
    assert squares.with_options(key="order-18").run(3).id != first.id
    failed = squares.with_options(key="bad").run(3, fails=True)
    assert squares.with_options(key="bad").run(3, fails=True).id == failed.id
    assert len(failed.view().attempts) == 1


def test_a_start_that_is_refused_leaves_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keyed: Any = squares.with_options(key="k")
    with pytest.raises(UsageError):
        keyed.run(valeu=3)
    monkeypatch.setenv("CLARY_RETRIES", "many")
    with pytest.raises(Exception, match="CLARY_RETRIES"):
        keyed.run(3)
    monkeypatch.delenv("CLARY_RETRIES")
    assert keyed.run(4).result() == 16


def test_a_key_without_a_run_is_completed_by_the_next_start(tmp_path: Path) -> None:
    """The process died between the key and the run's first record."""
    here = place.place_of(service.choose_stack())
    cut_off = keys.Once(here, "squares", "k", {"value": 3, "fails": False})
    assert cut_off.claim()
    assert not cut_off.begun()
    handle = squares.with_options(key="k").run(3)
    assert (handle.id, handle.reused) == (cut_off.run, False)
    assert handle.result() == 9


def test_of_two_starts_at_once_one_begins() -> None:
    barrier = threading.Barrier(2)
    here = place.place_of(service.choose_stack())
    claims = [keys.Once(here, "squares", "k", {"value": 3}) for _ in range(2)]

    def claim(one: keys.Once) -> None:
        barrier.wait(30)
        won.append(one.claim())

    won: list[bool] = []
    threads = [threading.Thread(target=claim, args=(one,)) for one in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(won) == [False, True]
    assert claims[0].run == claims[1].run


def test_many_processes_start_one_run(tmp_path: Path) -> None:
    Path("orders.py").write_text(
        "import time\n"
        "from clary import checkpoint, flow\n"
        "@checkpoint\n"
        "def step(trail: str) -> int:\n"
        "    with open(trail, 'a') as file:\n"
        "        file.write('x')\n"
        "    time.sleep(0.2)\n"
        "    return 7\n"
        "@flow\n"
        "def order(trail: str) -> int:\n"
        "    return step(trail)\n"
        "if __name__ == '__main__':\n"
        f"    print(order.with_options(key='one').run({str(tmp_path / 'trail')!r}).result())\n"
    )
    started = [
        subprocess.Popen([sys.executable, "orders.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [process.communicate(timeout=60) for process in started]
    assert [out.strip() for out, _ in ended] == ["7"] * 4, ended
    assert (tmp_path / "trail").read_text() == "x"
    assert len(Client().runs.list()) == 1


@pytest.mark.parametrize("data", [b"", b"[]", b'{"run": "x"}'])
def test_a_key_that_cannot_be_read_is_told(data: bytes) -> None:
    here = place.place_of(service.choose_stack())
    once = keys.Once(here, "squares", "k", {})
    once.claim()
    here.store.put(once._object, data)
    with pytest.raises(JournalError):
        keys.Once(here, "squares", "k", {})


def test_progress_is_told_while_the_run_goes_on_and_not_recorded() -> None:
    go_on = threading.Event()
    stack = service.choose_stack()

    @flow
    def slow() -> None:
        for done in range(1000):
            progress(done, 1000, f"step {done}")
        progress(3, 10, "waiting")
        assert go_on.wait(30)

    thread = threading.Thread(target=lambda: slow.run())
    thread.start()

    def told() -> Any:
        runs = service.list_runs(stack, limit=1)
        lines = service.get_run(stack, runs[0].id).progress if runs else ()
        return lines if lines and lines[0].message == "waiting" else None

    line = until(told)[0]
    go_on.set()
    thread.join(30)
    assert (line.path, line.done, line.total) == ("", 3, 10)
    run = service.list_runs(stack, limit=1)[0]
    assert service.get_run(stack, run.id).progress == ()  # it is over
    with place.place_of(stack).log(run.id) as log:
        assert "waiting" not in str(list(log.read()))


def test_progress_is_about_numbers() -> None:
    @flow
    def odd() -> None:
        value: Any = "many"
        progress(value)

    with pytest.raises(UsageError) as caught:
        odd()
    assert caught.value.code == "progress.no_number"
