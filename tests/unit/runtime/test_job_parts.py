"""The parts of the job's first process: its entry point, failure file, memory, pointer, loading, heartbeat."""

from __future__ import annotations

import ast
import runpy
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from clary.artifacts import names
from clary.errors import ConfigError, Fenced
from clary.journal import records
from clary.journal.state import RunState
from clary.journal.writer import Journal, append
from clary.runtime import failurefile, loading, memory, start
from clary.runtime.heartbeat import Heartbeat
from clary.runtime.pointer import Pointer
from durable import begin, claim, open_log

START = Path(start.__file__)
_Version = namedtuple("_Version", "major minor micro releaselevel serial")  # noqa: PYI024


def test_any_python_3_reads_the_entry_point_and_an_old_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = START.read_text()
    ast.parse(source, feature_version=(3, 6))
    assert "f'" not in source
    assert 'f"' not in source
    failure = tmp_path / "failure"
    elsewhere = tmp_path / "start.py"
    elsewhere.write_text(source.replace("/opt/ml/output/failure", str(failure)))
    monkeypatch.setattr(sys, "version_info", _Version(3, 8, 10, "final", 0))
    monkeypatch.setattr(sys, "version", "3.8.10 (default)")
    assert runpy.run_path(str(elsewhere))["start"]() == 1
    assert failure.read_text() == "image: Python 3.11 or newer is needed in the image, and python3 is 3.8.10\n"
    assert "3.8.10" in capsys.readouterr().err


def test_the_failure_file_keeps_what_fits_the_innermost_frames_last(tmp_path: Path) -> None:
    frames = [f"job.py:{number} in f: {'x' * 60}" for number in range(100)]
    text = failurefile.compose("user_code", "ValueError: bad\nvalue", frames)
    assert len(text) <= failurefile.LIMIT
    lines = text.splitlines()
    assert lines[0] == "user_code: ValueError: bad value"
    assert lines[-1].startswith("  job.py:99 ")
    assert lines[1].startswith(f"  job.py:{101 - len(lines)} ")
    assert len(failurefile.compose("user_code", "x" * 5000, ["y" * 5000])) <= failurefile.LIMIT
    failurefile.write(tmp_path, "surrogate \udcff")
    assert (tmp_path / "output" / "failure").read_text() == "surrogate ?"
    (tmp_path / "file").write_text("in the way")
    failurefile.write(tmp_path / "file", "no folder can be made here")


def test_memory_is_read_from_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "self"
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN", own)
    monkeypatch.setattr(memory, "_machine", lambda: 64 << 30)
    assert memory.limit() == 64 << 30
    assert memory.kills() is None
    assert memory.exhausted(60 << 30, None)
    assert not memory.exhausted(30 << 30, None)

    (tmp_path / "memory.max").write_text("1073741824\n")
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert memory.limit() == 1 << 30
    assert memory.kills() == 2
    assert memory.exhausted(0, 1)
    assert not memory.exhausted(1 << 30, 2), "a kill before this process began is not its own"

    own.write_text("0::/mine\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "memory.max").write_text("max\n")
    (tmp_path / "mine" / "memory.events").write_text("oom_kill 5\n")
    assert memory.limit() == 1 << 30
    assert memory.kills() == 5

    own.write_text("9:cpu:/x\n4:memory,hugetlb:/mine\n")
    (tmp_path / "memory" / "mine").mkdir(parents=True)
    (tmp_path / "memory" / "mine" / "memory.limit_in_bytes").write_text(str(1 << 62))
    (tmp_path / "memory" / "mine" / "memory.oom_control").write_text("oom_kill_disable 0\noom_kill 7\n")
    assert memory.limit() == 64 << 30
    assert memory.kills() == 7


def test_sizes_for_a_person() -> None:
    shown = [memory.readable(size) for size in (512, 2048, 300 << 20, 3 << 30)]
    assert shown == ["512 B", "2 KiB", "300 MiB", "3.0 GiB"]


def test_a_pointer_there_and_back() -> None:
    pointers = [
        Pointer("s3://bucket", "01A"),
        Pointer("s3://bucket/a/runs/b", "01A", "eu-central-1", "http://127.0.0.1:4566"),
        Pointer("s3://bucket/p", "01A", endpoint="https://s3.dualstack.eu-west-1.amazonaws.com/?x=1&y=2"),
    ]
    for pointer in pointers:
        assert Pointer.parse(str(pointer)) == pointer
    for text in (
        "",
        "s3://bucket",
        "s3://bucket/runs/",
        "/tmp/runs/01A",
        "s3://bucket/runs/01A/log",
        "https://x/runs/1",
    ):
        with pytest.raises(ConfigError) as caught:
            Pointer.parse(text)
        assert caught.value.code == "job.bad_pointer"


@pytest.fixture
def _imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    monkeypatch.setattr(names, "_flow_module", [])


@pytest.mark.usefixtures("_imports")
def test_a_flow_is_loaded_from_its_file_or_module(tmp_path: Path) -> None:
    (tmp_path / "src" / "package_of_test").mkdir(parents=True)
    (tmp_path / "src" / "package_of_test" / "__init__.py").write_text("")
    flow = "from clary import flow\n@flow(name='other name')\ndef main(): return 1\n"
    (tmp_path / "src" / "package_of_test" / "flows.py").write_text(
        "from package_of_test import __name__ as up\n" + flow
    )
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "my_script_of_test.py").write_text("import helper_of_test\n" + flow)
    (tmp_path / "scripts" / "helper_of_test.py").write_text("")
    module = loading.load_module(tmp_path, {"module": "package_of_test.flows", "name": "main"})
    assert loading.find_flow(module, "main").name == "other name"
    script = loading.load_module(tmp_path, {"file": "scripts/my_script_of_test.py", "name": "main"})
    assert loading.find_flow(script, "other name") is script.main
    assert loading.find_flow(script, "nothing") is None
    assert loading.load_module(tmp_path, {"file": "scripts/my_script_of_test.py", "name": "main"}) is script
    with pytest.raises(FileNotFoundError):
        loading.load_module(tmp_path, {"file": "missing.py", "name": "main"})
    (tmp_path / "broken_of_test.py").write_text("raise RuntimeError('on import')")
    with pytest.raises(RuntimeError, match="on import"):
        loading.load_module(tmp_path, {"file": "broken_of_test.py", "name": "main"})
    assert "broken_of_test" not in sys.modules


@pytest.mark.parametrize("what", ["nothing", "stop", "fenced"])
def test_the_heartbeat_tells_progress_and_what_others_wrote(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, store = open_log("objects", tmp_path)
    begin(log, store)
    journal = Journal(log, 1)
    journal.open(host="here", pid=1)
    beaten, signalled = threading.Event(), threading.Event()
    put = store.put

    def seen(key: str, data: bytes) -> None:
        put(key, data)
        beaten.set()

    monkeypatch.setattr(store, "put", seen)
    monkeypatch.setattr("clary.runtime.heartbeat.os.kill", lambda _pid, _number: signalled.set())
    if what == "stop":
        append(log, RunState(), lambda _state: [records.stop_requested("somebody")])
    if what == "fenced":
        claim(log, 2)
        Journal(log, 2).open(host="there", pid=2)
    heartbeat = Heartbeat(journal, store, interval=0.01)
    heartbeat.start()
    assert (beaten if what == "nothing" else signalled).wait(30)
    heartbeat.stop()
    heartbeat._thread.join(30)
    assert not heartbeat._thread.is_alive()
    assert signalled.is_set() is (what != "nothing")
    if what == "fenced":
        with pytest.raises(Fenced):
            journal.write({"kind": "late"})
