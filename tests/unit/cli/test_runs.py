"""``clary run`` and ``clary runs``: what is shown, what is JSON, which exit code, and what Ctrl-C does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.agent.views import ArtifactView, AttemptView, FailureView, PhaseView
from clary.cli import output, params
from clary.cli import state as cli_state
from clary.cli.live import LiveView
from clary.errors import UsageError
from clary.stacks import service as stacks
from clary.stacks.model import Stack
from run_views import BEGAN, PHASES, ROLE, RUN, Services, call, run_view

if TYPE_CHECKING:
    from clary.agent.views import Observer, RunView
    from command_line import CommandLine


@pytest.fixture
def gpu(clary: CommandLine) -> str:
    """The name of a sagemaker stack of this machine (nothing is asked of AWS)."""
    stacks.refresh(Stack("gpu", "sagemaker", "s3://bucket/x", region="eu-central-1", execution_role=ROLE))
    return "gpu"


def story(observer: Observer) -> None:
    for phase in PHASES:
        observer.phase(1, phase)
    observer.log("algo-1", BEGAN, "hello")
    observer.call(call(1))
    observer.note("waiting for capacity")


def interrupt(observer: Observer) -> None:
    raise KeyboardInterrupt


def test_a_followed_run_shows_phases_lines_checkpoints_and_a_summary(
    clary: CommandLine, services: Services, gpu: str, zone: None
) -> None:
    services.story = story
    answer = clary("run", "x.py:digits", "--stack", "gpu", "--input", "models=8", "-i", "name=some text")
    assert answer.code == 0, answer.err
    assert services.asked[0] == ("start", {"models": 8, "name": "some text"}, "gpu")
    assert answer.out.splitlines() == [
        f"Run {RUN}: digits on gpu",
        "  attempt 1, job clary-digits-1",
        "  03:56:40  Starting  Launching instances",
        "  03:56:41  Downloading  [Starting took 1.00 s]",
        "  03:56:41  Training  [Downloading took 0.50 s]",
        "hello",
        "  ✓ train#1  0.42 s",
        "  · waiting for capacity",
        "",
        "completed after 12.3 s, 34 s billable",
        "Result: 0.97",
        "Artifacts",
        "  model  s3://bucket/values/abc  (sklearn, 1.2 MiB)",
        "",
        "Next:",
        f"  clary runs show {RUN}",
        f"  clary runs logs {RUN}",
        "  clary runs list",
    ]
    assert answer.err == ""


def test_a_failed_run_says_why_and_exits_with_1(clary: CommandLine, services: Services, gpu: str) -> None:
    services.ended = run_view("failed")
    answer = clary("run", "x.py:digits", "--stack", "gpu")
    assert answer.code == 1
    assert "Why: ZeroDivisionError: division by zero (user code, exit code 1)" in answer.out
    assert "flow.py:12 in f" in answer.out
    assert "Next step: Mend flow.py:12." in answer.out
    assert f"clary runs resume {RUN}" in answer.out


def test_json_of_a_run_is_one_document(clary: CommandLine, services: Services, gpu: str) -> None:
    services.story = story
    answer = clary("run", "x.py:digits", "--stack", "gpu", "-o", "json")
    assert (answer.json["command"], answer.json["item"]["status"]) == ("run", "completed")
    assert answer.json["item"] == json.loads(json.dumps(services.ended.to_dict()))
    services.ended = run_view("failed")
    assert clary("run", "x.py:digits", "--stack", "gpu", "-o", "json").code == 1


def test_a_detached_run_says_what_will_not_happen(clary: CommandLine, services: Services, gpu: str) -> None:
    answer = clary("run", "x.py:digits", "--stack", "gpu", "--detach")
    assert answer.code == 0
    assert "Until somebody looks" in answer.out
    assert f"clary runs wait {RUN}" in answer.out
    assert ("follow", RUN) not in services.asked
    refused = clary("run", "x.py:digits", "--detach")
    assert (refused.code, "run.cannot_detach" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["--input", "models"], "cli.bad_input", "NAME=VALUE"),
        (["--input", "=8"], "cli.bad_input", "NAME=VALUE"),
        (["--input", "models=8", "--input", "models=9"], "cli.bad_input", "twice"),
        (["--input", "modles=8"], "flow.unknown_input", "models"),
        (["--stack", "nowhere"], "stack.not_found", "stack list"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    clary: CommandLine, services: Services, arguments: list[str], code: str, hint: str
) -> None:
    answer = clary("run", "x.py:digits", *arguments)
    assert answer.code != 0
    assert f"Code: {code}" in answer.err
    assert hint in answer.err
    assert services.asked == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("true", True),
        ('["a", 1]', ["a", 1]),
        ("some text", "some text"),
        ("", ""),
        ("a=b", "a=b"),
        ("01", "01"),
    ],
)
def test_inputs_are_json_else_text(text: str, value: object) -> None:
    assert params.inputs([f"x={text}"]) == {"x": value}


def test_ctrl_c_in_a_pipe_leaves_a_remote_run_and_stops_a_local_one(
    clary: CommandLine, services: Services, gpu: str
) -> None:
    services.story = interrupt
    answer = clary("run", "x.py:digits", "--stack", "gpu")
    assert answer.code == 130
    assert "Detached" in answer.out
    assert ("stop", RUN) not in services.asked
    services.story = interrupt
    local = clary("run", "x.py:digits")
    assert local.code == 130
    assert ("stop", RUN) in services.asked
    assert "stopped" in local.out


class Keyboard:
    """Stands in for stdin: a reply, or another Ctrl-C."""

    def __init__(self, reply: str | None) -> None:
        self.reply = reply

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        if self.reply is None:
            raise KeyboardInterrupt
        return self.reply


@pytest.mark.parametrize(
    ("reply", "stopped", "code"),
    [("s\n", True, 1), ("d\n", False, 130), ("\n", False, 130), ("", False, 130), (None, False, 130)],
)
def test_ctrl_c_at_a_terminal_asks(
    clary: CommandLine,
    services: Services,
    gpu: str,
    monkeypatch: pytest.MonkeyPatch,
    reply: str | None,
    stopped: bool,
    code: int,
) -> None:
    services.story = interrupt
    monkeypatch.setattr(cli_state, "interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", Keyboard(reply))
    answer = clary("run", "x.py:digits", "--stack", "gpu")
    assert "Stop the run, or detach and leave it running? [s/D]" in answer.err
    assert answer.code == code
    assert (("stop", RUN) in services.asked) is stopped
    assert ("Detached" in answer.out) is not stopped


def test_leaving_a_run_looks_at_it_once_more(clary: CommandLine, services: Services, gpu: str) -> None:
    """Ctrl-C may come before the job was asked for: the look asks for it, so that "goes on" is true."""
    services.story = interrupt
    assert "Detached" in clary("run", "x.py:digits", "--stack", "gpu").out
    assert services.asked[-1] == ("get_run", RUN)
    services.asked.clear()
    assert "Detached" in clary("run", "x.py:digits", "--stack", "gpu", "--detach").out
    assert ("get_run", RUN) not in services.asked  # it was asked for, and a look would cost a request


def test_after_a_stop_only_what_is_new_is_printed(
    clary: CommandLine, services: Services, gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(observer: Observer) -> None:
        story(observer)
        observer.log("algo-1", BEGAN + 1, "hello")  # the same text once more is another line

    def first(observer: Observer) -> None:
        told(observer)
        raise KeyboardInterrupt

    def second(observer: Observer) -> None:
        told(observer)
        observer.log("algo-1", BEGAN + 2, "stopping")

    services.story = first
    stop = services.stop

    def stop_then_tell(stack: Stack, run: str) -> RunView:
        view = stop(stack, run)
        services.story = second
        return view

    monkeypatch.setattr(sys.modules["clary.agent.service"], "stop", stop_then_tell)
    monkeypatch.setattr(cli_state, "interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", Keyboard("s\n"))
    out = clary("run", "x.py:digits", "--stack", "gpu").out
    assert [out.count(text) for text in ("  Starting  ", "  Training", "hello", "train#1", "stopping")] == [
        1,
        1,
        2,
        1,
        1,
    ]


def test_ctrl_c_before_there_is_a_run_is_one_line(
    clary: CommandLine, services: Services, gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["clary.agent.service"], "start", interrupt_at_once)
    answer = clary("run", "x.py:digits", "--stack", "gpu")
    assert (answer.code, answer.err.strip()) == (130, "Interrupted.")


def interrupt_at_once(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_recovered_checkpoints_are_told_in_one_line(capsys: pytest.CaptureFixture[str], clary: CommandLine) -> None:
    view = LiveView()
    second = run_view("running")
    second = run_view("running", attempts=(*second.attempts, second.attempts[0].__class__(2, "running", "job-2")))
    view.submitted(second)
    for number in range(1, 6):
        view.call(call(number, attempt=1))
    view.call(call(5, attempt=1))  # told again after a reconnect
    view.call(call(6, attempt=2))
    view.finish()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "  attempt 2, job job-2",
        "  ✓ 5 checkpoints kept from attempt 1, not run again",
        "  ✓ train#6  0.42 s",
    ]


def test_a_phase_is_timed_within_its_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    view = LiveView()
    for attempt, name, at in ((1, "Starting", 0), (1, "Downloading", 2), (2, "Starting", 402), (2, "Training", 405)):
        view.phase(attempt, PhaseView(name, BEGAN + at, None))
    took = [line.partition("  [")[2] for line in capsys.readouterr().out.splitlines()]
    assert took == ["", "Starting took 2.00 s]", "", "Starting took 3.00 s]"]


def test_hosts_are_named_once_there_are_several(capsys: pytest.CaptureFixture[str]) -> None:
    view = LiveView()
    for host, line in (("algo-1", "a"), ("algo-2", "b"), ("algo-1", "c")):
        view.log(host, BEGAN, line)
    assert capsys.readouterr().out.splitlines() == ["a", "[algo-2] b", "[algo-1] c"]


def test_what_a_call_prints_in_its_own_job_is_told_from_the_flows_lines(capsys: pytest.CaptureFixture[str]) -> None:
    view = LiveView()
    for host, line in (("fit#1 algo-1", "a"), ("fit#1 algo-1", "b")):
        view.log(host, BEGAN, line)
    assert capsys.readouterr().out.splitlines() == ["[fit#1 algo-1] a", "[fit#1 algo-1] b"]


def test_a_failed_call_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    LiveView().call(call(3, status="failed"))
    assert capsys.readouterr().out == "  ✗ train#3  0.42 s  failed\n"


def test_list(clary: CommandLine, services: Services, gpu: str) -> None:
    answer = clary("runs", "list", "--stack", "gpu", "--limit", "5")
    assert answer.code == 0
    assert RUN in answer.out
    assert "12.3 s" in answer.out
    assert ("list_runs", "gpu", 5, None, None) in services.asked
    assert "No runs of nothing on local yet." in clary("runs", "list", "--flow", "nothing").out
    listed = clary("executions", "list", "-o", "json").json
    assert (listed["command"], listed["count"], listed["items"][0]["id"]) == ("runs list", 1, RUN)
    assert "No runs on local are failed." in clary("runs", "list", "--status", "failed").out


@pytest.mark.parametrize("name", [RUN, RUN.lower(), RUN[:6], "latest"])
def test_a_run_is_named_by_id_prefix_or_latest(clary: CommandLine, services: Services, name: str) -> None:
    assert clary("runs", "show", name, "-o", "json").json["item"]["id"] == RUN


def test_names_that_are_no_run(clary: CommandLine, services: Services) -> None:
    assert clary("runs", "show", "01K", "-o", "json").error["code"] == "run.prefix_too_short"
    assert clary("runs", "show", "ZZZZ", "-o", "json").error["code"] == "run.not_found"
    services.ended = run_view("completed")
    services.list_runs = lambda *_, **__: []  # type: ignore[method-assign]
    sys.modules["clary.agent.service"].list_runs = services.list_runs  # type: ignore[attr-defined]
    assert clary("runs", "show", "latest", "-o", "json").error["code"] == "run.none_yet"


def test_show(clary: CommandLine, services: Services) -> None:
    services.ended = run_view("failed")
    out = clary("runs", "show", RUN).out
    for text in (
        "Attempt 1",
        "clary-digits-1",
        "Downloading",
        "0.50 s",
        "✓ train#1",
        "s3://bucket/values/abc",
        "models=8",
    ):
        assert text in out, text


def test_logs(clary: CommandLine, services: Services) -> None:
    services.lines = [("algo-1", BEGAN, "one"), ("algo-1", BEGAN + 1, "two")]
    assert clary("runs", "logs", RUN).out == "one\ntwo\n"
    listed = clary("runs", "logs", RUN, "-o", "json").json
    assert (listed["count"], listed["items"][1]["line"]) == (2, "two")
    followed = clary("runs", "logs", RUN, "-f", "-o", "json")
    events = [json.loads(line) for line in followed.out.splitlines()]
    assert [event["event"] for event in events] == ["log", "log", "terminal"]
    assert (followed.code, events[-1]["status"]) == (0, "completed")
    services.ended = run_view("failed")
    assert clary("runs", "logs", RUN, "--follow").code == 1


def test_wait(clary: CommandLine, services: Services) -> None:
    assert clary("runs", "wait", RUN, "--timeout", "5m").code == 0
    assert ("wait", RUN, 300.0) in services.asked
    services.ended = run_view("stopped")
    assert clary("runs", "wait", RUN).code == 1
    services.ended = run_view("waiting")
    assert clary("runs", "wait", RUN).code == 3
    assert clary("runs", "wait", RUN, "--timeout", "soon").code == 2


def test_stop_and_resume(clary: CommandLine, services: Services, gpu: str) -> None:
    assert "asked to stop" in clary("runs", "stop", RUN).out
    services.ended = run_view("completed")
    answer = clary("runs", "resume", RUN, "--on-change", "accept")
    assert answer.code == 0
    assert ("resume", RUN, "accept") in services.asked
    assert clary("runs", "resume", RUN, "--detach").out.count("Detached") == 1
    assert "error" in clary("runs", "resume", RUN, "--on-change", "eror").err


def test_what_a_local_flow_prints_stays_off_stdout_in_json_mode(tmp_path: Path) -> None:
    """In a process of its own: the flow writes to the descriptor, which a capture inside this one would not see."""
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import types, clary.agent
from run_views import Services
services = Services()
def story(observer):
    print("printed by the flow")
    os.write(1, b"written by a library\\n")
services.story = story
sys.modules["clary.agent.service"] = module = types.ModuleType("clary.agent.service")
clary.agent.service = module
for name in ("load_target", "start", "get_run"):
    setattr(module, name, getattr(services, name))
from clary.cli.main import run
sys.exit(run(["run", "x.py:digits", "-o", "json"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"CLARY_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["item"]["status"] == "completed"
    assert "printed by the flow" in done.stderr
    assert "written by a library" in done.stderr


def test_colour_is_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    assert output.style("x", "red") == "x"
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output.style("x", "red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.style("x", "red") == "x"


def test_inputs_that_are_no_names_are_refused() -> None:
    with pytest.raises(UsageError):
        params.inputs(["a-b=1"])


class Wide:
    """Stands in for the width of the terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
        monkeypatch.setattr(output, "terminal_width", lambda: columns)


@pytest.mark.parametrize(
    ("columns", "headers"),
    [
        (120, "RUN FLOW STATUS STARTED DURATION STACK"),
        (80, "RUN FLOW STATUS AGE DURATION STACK"),
        (50, "RUN FLOW STATUS"),
        (40, "RUN STATUS"),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns_and_whole_ids(
    clary: CommandLine, services: Services, monkeypatch: pytest.MonkeyPatch, columns: int, headers: str
) -> None:
    Wide(monkeypatch, columns)
    lines = clary("runs", "list").out.splitlines()
    assert lines[0].split() == headers.split()
    assert lines[-1].startswith(f"{RUN} ")
    assert max(map(len, lines)) <= columns


def test_a_flow_s_long_name_does_not_stretch_the_list(clary: CommandLine, services: Services) -> None:
    services.ended = run_view(flow="x" * 300)
    assert max(map(len, clary("runs", "list").out.splitlines())) < 160


def test_the_time_between_attempts_does_not_count(clary: CommandLine, services: Services) -> None:
    attempts = (
        AttemptView(1, "interrupted", None, BEGAN, BEGAN + 2),
        AttemptView(2, "completed", None, BEGAN + 7200, BEGAN + 7203),
    )
    services.ended = run_view(attempts=attempts, ended=BEGAN + 7203)
    assert "Duration: 5.00 s" in clary("runs", "show", RUN).out
    assert "completed after 5.00 s" in clary("runs", "wait", RUN).out


def test_one_long_name_does_not_stretch_the_rows_of_others(clary: CommandLine, services: Services) -> None:
    long = ArtifactView("n" * 300, "s3://bucket/values/abc", "int")
    short = ArtifactView("model", "s3://bucket/values/def", "int")
    services.ended = run_view(facts={"x" * 300: 1, "loss": 0.5}, artifacts=(long, short))
    lines = clary("runs", "show", RUN).out.splitlines()
    for name in ("n" * 300, "x" * 300):
        assert any(name in line for line in lines)
    assert max(len(line) for line in lines if "n" * 300 not in line and "x" * 300 not in line) < 120


def test_json_has_no_nan_and_no_infinity(clary: CommandLine, services: Services) -> None:
    numbers = {"loss": float("nan"), "most": float("inf"), "least": [float("-inf")], "fine": 0.5}
    services.ended = run_view(facts=numbers)
    told = clary("runs", "show", RUN, "-o", "json").out

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    facts = json.loads(told, parse_constant=refuse)["item"]["facts"]
    assert facts == {"loss": "NaN", "most": "Infinity", "least": ["-Infinity"], "fine": 0.5}


def test_an_empty_key_of_a_run_is_refused(clary: CommandLine, services: Services) -> None:
    answer = clary("run", "x.py:digits", "--key", "")
    assert (answer.code, "Code: flow.bad_option" in answer.err) == (2, True)
    assert services.asked == []


def test_what_is_shown_is_not_offered_to_be_shown(clary: CommandLine, services: Services) -> None:
    assert f"clary runs show {RUN}" not in clary("runs", "show", RUN).out
    assert f"clary runs show {RUN}" in clary("runs", "wait", RUN).out


def test_the_sandbox_s_image_lacks_a_package(clary: CommandLine, services: Services) -> None:
    failure = FailureView("user_code", "ModuleNotFoundError: No module named 'torch.nn'", "Use another image.", "no")

    def of_image(image: str) -> RunView:
        failed = run_view("failed", failure=failure)
        return replace(failed, attempts=(replace(failed.attempts[0], image=image),))

    services.ended = of_image("1.dkr.ecr.us-east-1.amazonaws.com/clary-sandbox/python:3.12")
    stacks.refresh(
        Stack(
            "gpu",
            "sagemaker",
            "s3://bucket/x",
            region="us-east-1",
            execution_role=ROLE,
            endpoint_url="http://127.0.0.1:4599",
        )
    )
    for command in (["show", RUN], ["wait", RUN]):
        out = clary("runs", *command, "--stack", "gpu").out
        assert "clary sandbox start --detach --with torch`" in out
        assert "Use another image." in out
    services.ended = of_image("1.dkr.ecr.us-east-1.amazonaws.com/clary:clary-0123")  # its packages are its own
    assert "sandbox" not in clary("runs", "show", RUN, "--stack", "gpu").out


def test_of_an_endless_failure_the_useful_parts_are_shown(clary: CommandLine, services: Services) -> None:
    frames = tuple(f"a.py:{number} in f" for number in range(1000))
    failure = FailureView("user_code", "E: " + "x" * 50_000, "Mend it.", "no", frames)
    services.ended = run_view("failed", failure=failure, facts={"long": "y" * 5000, "lines": "a\nb"})
    shown = clary("runs", "show", RUN).out
    assert len(shown) < 5000
    for part in ("a.py:3 in f\n", "… 984 more", "a.py:988 in f", "a.py:999 in f", "(50,003 characters)", "a b\n"):
        assert part in shown
    assert "a.py:4 in f" not in shown
    whole = clary("runs", "show", RUN, "-o", "json").json["item"]
    assert len(whole["failure"]["frames"]) == 1000
