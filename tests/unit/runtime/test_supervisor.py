"""A job from its first process to its exit code, as real processes: what they leave behind when they fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clary.artifacts import encode
from clary.code.archive import content_digest, pack, tree_digest
from clary.code.select import select
from clary.journal import records
from clary.journal.log import ObjectLog
from clary.journal.state import RunState
from clary.journal.writer import append
from clary.runtime.pointer import Pointer
from clary.sandbox.containers import cgroups
from durable import RUN, call_paths, state_of, written
from patience import until
from s3_proxy import S3, s3_on_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clary.objects import ObjectStore

START = (
    "import os, sys; from pathlib import Path; from clary.runtime import pointer, stopping; "
    "pointer.PATIENCE = float(os.environ.get('PATIENCE', pointer.PATIENCE)); "
    "stopping.AGAIN = float(os.environ.get('AGAIN', stopping.AGAIN)); "
    "from clary.runtime.supervisor import supervise; sys.exit(supervise(Path(sys.argv[1])))"
)
"""With other times than the product's, where the environment gives them."""
SECONDS = 30


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_on_loopback() as found:
        yield found


@dataclass
class Job:
    """One run whose flow is a file, and the processes of its attempts."""

    folder: Path
    s3: S3
    store: ObjectStore
    log: ObjectLog
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, source: str, **inputs: Any) -> None:
        """Store the flow's file as the code of the run, and claim its first attempt."""
        tree = self.folder / "project"
        tree.mkdir()
        (tree / "job.py").write_text("from clary import *\nimport os, sys, time\n" + textwrap.dedent(source))
        digest = content_digest(tree / "job.py")
        code = tree_digest([("job.py", "f", digest)])
        channel = self.opt_ml / "input" / "data" / "code"
        channel.mkdir(parents=True)
        pack(select(tree), channel / f"{code}.tar.gz", {"job.py": digest})
        spec = {"flow": {"file": "job.py", "name": "main"}, "code": code}
        self.store.put("specs/abc.json", json.dumps(spec).encode())
        encoded = {name: encode(value, self.store) for name, value in inputs.items()}
        self.append(
            records.created(RUN, flow="main", stack="s", spec={}, inputs=encoded, by="somebody"),
            records.attempt(1, job="job", request={}, spec={"digest": "abc"}),
        )

    @property
    def opt_ml(self) -> Path:
        return self.folder / "ml"

    def append(self, *made: dict[str, Any]) -> None:
        append(self.log, RunState(), lambda _state: list(made))

    def start(self, attempt: int = 1, **environment: str | None) -> subprocess.Popen[str]:
        """Start the job's first process."""
        bucket = self.store.root.removeprefix("s3://").partition("/")[0]
        pointer = Pointer(f"s3://{bucket}/some/prefix", RUN, "us-east-1", self.s3.endpoint)
        variables: dict[str, str | None] = {
            "CLARY_RUN": str(pointer),
            "CLARY_ATTEMPT": str(attempt),
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": "secret",
            **environment,
        }
        known = {name: value for name, value in {**os.environ, **variables}.items() if value is not None}
        return subprocess.Popen(
            [sys.executable, "-c", START, str(self.opt_ml)],
            env=known,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )

    def run(self, attempt: int = 1, **environment: str | None) -> tuple[int, str]:
        """Run the job to its end; returns the exit code and what it printed."""
        process = self.start(attempt, **environment)
        output, _ = process.communicate(timeout=SECONDS)
        return process.returncode, output

    @property
    def failure(self) -> str:
        """What the job left for the platform."""
        path = self.opt_ml / "output" / "failure"
        return path.read_text() if path.exists() else ""

    def wait_for(self, name: str) -> str:
        """Wait until the flow has written the file, and return its text."""
        file = self.folder / name
        until(lambda: file.exists() and file.read_text().endswith("\n"), f"the file {name}")
        return file.read_text()


@pytest.fixture
def job(tmp_path: Path, s3: S3) -> Job:
    store = s3.store()
    return Job(tmp_path, s3, store, ObjectLog(store, RUN))


def test_a_job_that_completes(job: Job) -> None:
    job.write(
        """
        @checkpoint
        def double(value): return value * 2
        @flow
        def main(numbers):
            print("first user line")
            return double.map(numbers).results()
        """,
        numbers=[1, 2],
    )
    code, output = job.run()
    assert (code, job.failure) == (0, ""), output
    assert "first user line" in output
    assert state_of(job.log).status == "completed"
    assert len(call_paths(job.log)) == 2
    code, output = job.run()
    assert code == 76
    assert "completed" in output


def test_a_resumed_job_says_what_did_not_run_again(job: Job) -> None:
    job.write(
        """
        @checkpoint
        def step(value): return value
        @checkpoint
        def fragile():
            if not os.path.exists("/proc/self/fd") or os.environ.get("BROKEN"): raise OSError("down")
            return 1
        @flow
        def main(): return [step(1), step(2), fragile()]
        """
    )
    code, _ = job.run(BROKEN="1")
    assert code == 1
    job.append(records.attempt(2, job="job-2", request={}, spec={"digest": "abc"}))
    code, output = job.run(2)
    assert code == 0
    assert "2 calls were in the record and did not run again" in output


def test_an_exception_of_the_user_leaves_cause_message_and_innermost_frames(job: Job) -> None:
    job.write(
        """
        def deepest(value):
            raise ValueError("a bad value: " + "x" * 2000)
        def deep(value, depth):
            return deepest(value) if depth == 0 else deep(value, depth - 1)
        @checkpoint
        def step(value): return deep(value, 30)
        @flow
        def main(): return step(1)
        """
    )
    code, output = job.run()
    assert code == 1
    assert job.failure.startswith("user_code: ValueError: a bad value: xxx")
    assert len(job.failure) <= 900
    lines = job.failure.splitlines()
    assert "job.py:5 in deepest" in lines[-1]
    assert "in deep:" in lines[-2]
    assert "Traceback (most recent call last)" in output
    assert state_of(job.log).status == "failed"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise RuntimeError('on import')", "user_code: RuntimeError: on import"),
        ("import no_such_module", "user_code: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def main(:", "user_code: SyntaxError"),
        ("sys.exit(3)", "user_code: SystemExit: 3"),
        ("other = 1", "flow.not_found"),
    ],
)
def test_a_module_that_cannot_be_imported_fails_the_run(job: Job, source: str, expected: str) -> None:
    job.write(source)
    code, output = job.run()
    assert code == 1, output
    if expected == "flow.not_found":
        assert "job.py has no flow “main”" in job.failure
    else:
        assert job.failure.startswith(expected)
    (record,) = written(job.log, records.FAILED)
    assert record["cause"] == "user_code"


def test_a_crash_in_native_code_names_the_signal_and_the_python_frame(job: Job) -> None:
    job.write(
        """
        import ctypes
        @checkpoint
        def step(): return ctypes.string_at(0)
        @flow
        def main(): return step()
        """
    )
    code, _ = job.run()
    assert code == 128 + signal.SIGSEGV
    assert job.failure.startswith("user_code: The process ended with SIGSEGV")
    assert "in step" in job.failure
    assert len(job.failure) <= 900


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE])
def test_other_crashes_are_named(job: Job, number: signal.Signals) -> None:
    job.write(f"@flow\ndef main(): os.kill(os.getpid(), {int(number)}); time.sleep(9)")
    code, _ = job.run()
    assert code == 128 + number
    assert f"ended with {number.name}" in job.failure


def test_a_process_killed_from_outside_was_interrupted(job: Job) -> None:
    job.write("@flow\ndef main(): os.kill(os.getpid(), 9)")
    code, output = job.run()
    assert code == 137
    assert job.failure.startswith("interrupted: The process was killed by SIGKILL from outside; its peak was ")
    assert job.failure.strip() in output.replace("clary: ", "interrupted: ")


@pytest.mark.skipif(
    not cgroups.memory_can_be_limited(), reason="this place allows no control group with a memory limit"
)
def test_a_process_killed_for_want_of_memory_says_so(job: Job) -> None:
    job.write(
        """
        @flow
        def main():
            hoard = []
            while True: hoard.append(bytearray(8 << 20))
        """
    )
    groups = cgroups.limit_memory(160 << 20)
    assert groups is not None
    try:
        process = job.start()
        for group in groups:
            (Path(group) / "cgroup.procs").write_text(str(process.pid))
        process.communicate(timeout=SECONDS)
    finally:
        cgroups.release(groups)
    assert process.returncode == 137
    assert job.failure.startswith("out_of_memory: The process was killed for want of memory (SIGKILL); its peak was ")
    assert "of 160 MiB" in job.failure


@pytest.mark.parametrize("asked", [False, True])
def test_sigterm_is_passed_on_and_ends_the_job_in_order(job: Job, asked: bool) -> None:
    job.write(
        """
        @checkpoint
        def step(folder):
            with open(folder + "/running", "w") as file: file.write("yes\\n")
            try: time.sleep(60)
            finally:
                with open(folder + "/cleaned", "w") as file: file.write("yes\\n")
        @flow
        def main(folder): step(folder)
        """,
        folder=str(job.folder),
    )
    process = job.start()
    job.wait_for("running")
    if asked:
        job.append(records.stop_requested("somebody"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 143
    assert job.wait_for("cleaned")
    assert [record["kind"] for record in written(job.log)][-1] == (records.STOPPED if asked else records.OPENED)
    job.append(records.attempt(2, job="job-2", request={}, spec={"digest": "abc"}))


SWALLOWED = {
    "and a checkpoint is called": "step(2)",
    "and nothing is called": "time.sleep(60)",
    "in a loop": "while True:\n                try: time.sleep(60)\n                except Exception: pass",
    "and something else is raised": "raise ValueError",
}


@pytest.mark.parametrize("then", SWALLOWED)
@pytest.mark.parametrize("asked", [True, False])
def test_a_stop_that_the_flow_has_swallowed_ends_it_all_the_same(then: str, asked: bool, job: Job) -> None:
    job.write(
        f"""
        @checkpoint
        def step(n): return n
        @flow
        def main(folder):
            step(1)
            with open(folder + "/running", "w") as file: file.write("yes\\n")
            try: time.sleep(60)
            except: pass
            {SWALLOWED[then]}
        """,
        folder=str(job.folder),
    )
    process = job.start(AGAIN="0.3")
    job.wait_for("running")
    if asked:
        job.append(records.stop_requested("somebody"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 143
    assert [record["path"] for record in written(job.log, records.CALL)] == ["step#1"]
    assert [record["kind"] for record in written(job.log)][-1] == (records.STOPPED if asked else records.CALL)
    assert not written(job.log, records.FAILED)


REQUESTS: dict[str, Callable[[str, str], bool]] = {
    "a listing": lambda method, path: method == "GET" and "list-type" in path,
    "an entry": lambda method, path: method == "GET" and "/log/" in path and "list-type" not in path,
    "the specification": lambda method, path: "/specs/" in path,
    "an input": lambda method, path: method == "GET" and "/values/" in path,
    "an output": lambda method, path: method == "PUT" and "/values/" in path,
    "an entry of its own": lambda method, path: method == "PUT" and "/log/" in path,
}
OUTAGE = 3.0
"""Seconds: longer than any of the client's own tries that a reset ends at once."""


@pytest.mark.parametrize("what", REQUESTS)
def test_a_network_that_goes_away_is_waited_for_whatever_is_asked_of_it(what: str, job: Job) -> None:
    job.write(
        """
        @checkpoint
        def twice(text): return text * 2
        @flow
        def main(text): return len(twice(text))
        """,
        text="x" * 70_000,
    )
    began: list[float] = []

    def away(method: str, path: str, _before: int) -> str | None:
        if not REQUESTS[what](method, path):
            return None
        began.append(time.monotonic())
        return "reset" if time.monotonic() - began[0] < OUTAGE else None

    job.s3.plan.fault = away
    try:
        code, output = job.run()
    finally:
        job.s3.plan.fault = lambda _method, _path, _before: None
    assert began
    assert code == 0, output
    assert time.monotonic() - began[0] > OUTAGE
    assert len(written(job.log, records.CALL)) == 1


def test_a_job_whose_run_was_stopped_before_does_not_run(job: Job) -> None:
    job.write("@flow\ndef main(): print('ran')")
    job.append(records.stop_requested("somebody"))
    code, output = job.run()
    assert code == 143
    assert "ran\n" not in output
    assert state_of(job.log).status == "stopped"


def test_children_that_lost_their_parent_are_reaped(job: Job) -> None:
    """As the first process of a container the supervisor inherits them."""
    job.write(
        """
        import ctypes
        @flow
        def main():
            for _ in range(3):
                child = os.fork()
                if child == 0:
                    grandchild = os.fork()
                    if grandchild == 0: time.sleep(0.05)
                    os._exit(0)
                os.waitpid(child, 0)
            def unreaped():
                state = [open(f"/proc/{pid}/stat").read().split() for pid in os.listdir("/proc") if pid.isdigit()
                         and os.path.exists(f"/proc/{pid}/stat")]
                return sum(one[3] == str(os.getppid()) for one in state) - 1  # without this process
            for _ in range(400):
                if not unreaped(): break
                time.sleep(0.05)
            return unreaped()
        """
    )
    subreaper = "import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); " + START
    process = subprocess.Popen(
        [sys.executable, "-c", subreaper, str(job.opt_ml)],
        env={**os.environ, **_variables(job)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    assert state_of(job.log).output == {"c": "plain", "t": "int", "v": 0, "d": encode(0, job.store)["d"]}


def _variables(job: Job) -> dict[str, str]:
    bucket = job.store.root.removeprefix("s3://").partition("/")[0]
    return {
        "CLARY_RUN": str(Pointer(f"s3://{bucket}/some/prefix", RUN, "us-east-1", job.s3.endpoint)),
        "CLARY_ATTEMPT": "1",
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CLARY_RUN": None}, "CLARY_RUN is not set"),
        ({"CLARY_ATTEMPT": None}, "CLARY_ATTEMPT is not set"),
        ({"CLARY_RUN": "nonsense"}, "holds no run: 'nonsense'"),
        ({"CLARY_ATTEMPT": "one"}, "holds no number: 'one'"),
    ],
)
def test_a_job_without_its_pointer_says_so(job: Job, environment: dict[str, Any], expected: str) -> None:
    code, _ = job.run(**environment)
    assert code == 1
    assert job.failure.startswith("internal: ")
    assert expected in job.failure
    assert "job.bad_pointer" in job.failure


def test_a_run_or_an_attempt_that_is_not_in_the_record(job: Job) -> None:
    code, _ = job.run()
    assert (code, "journal.no_such_run" in job.failure) == (1, True)
    job.write("@flow\ndef main(): pass")
    code, _ = job.run(7)
    assert (code, "journal.no_such_attempt" in job.failure) == (1, True)


def test_a_missing_specification_and_a_damaged_archive(job: Job) -> None:
    job.write("@flow\ndef main(): pass")
    (archive,) = (job.opt_ml / "input" / "data" / "code").iterdir()
    archive.write_bytes(archive.read_bytes()[:60])
    code, _ = job.run()
    assert (code, job.failure.startswith("internal: JournalError: The code archive")) == (1, True)
    job.append(records.attempt(2, job="job-2", request={}, spec={"digest": "none"}))
    code, _ = job.run(2)
    assert (code, "The specification s3://" in job.failure) == (1, True)
    assert [record["cause"] for record in written(job.log, records.FAILED)] == ["internal", "internal"]


def test_no_rights_and_nothing_that_answers(job: Job, unused_tcp_port: int) -> None:
    nowhere = Pointer("s3://bucket/x", RUN, "us-east-1", f"http://127.0.0.1:{unused_tcp_port}")
    code, _ = job.run(CLARY_RUN=str(nowhere), PATIENCE="0.5")
    assert code == 75
    assert job.failure.startswith("internal: S3 cannot be reached")
    job.s3.plan.fault = lambda _method, _path, _before: "403"
    try:
        code, _ = job.run()
    finally:
        job.s3.plan.fault = lambda _method, _path, _before: None
    assert code == 1
    assert job.failure.startswith("permission: s3:ListBucket on s3://")


def test_other_hosts_have_nothing_to_do(job: Job) -> None:
    job.write("@flow\ndef main(): pass")
    config = job.opt_ml / "input" / "config"
    config.mkdir(parents=True)
    hosts = {"current_host": "algo-10", "hosts": ["algo-1", "algo-10", "algo-2"]}
    (config / "resourceconfig.json").write_text(json.dumps(hosts))
    code, output = job.run()
    assert (code, "nothing to do" in output) == (0, True)
    assert state_of(job.log).status == "submitted"
    (config / "resourceconfig.json").write_text(json.dumps({**hosts, "current_host": "algo-1"}))
    assert job.run()[0] == 0
    assert state_of(job.log).status == "completed"


def test_closed_streams_are_no_failure(job: Job) -> None:
    job.write("@flow\ndef main():\n    print('x')\n    sys.stdout.close()\n    return 1")
    code, output = job.run()
    assert state_of(job.log).status == "completed"
    assert (code, job.failure) == (0, ""), output
