"""``clary sandbox``: started, looked at, disturbed, stopped and reset by the command line alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary import config
from clary.sandbox import api
from clary.stacks import service

if TYPE_CHECKING:
    from command_line import CommandLine


def test_the_life_of_a_detached_sandbox(clary: CommandLine, own_data: Path) -> None:
    data = ["--data", str(own_data)]
    started = clary("sandbox", "start", "--port", "0", "--detach", *data)
    assert started.code == 0, started.err
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:" in started.out
    endpoint = service.find("sandbox").stack.endpoint_url
    status = clary("sandbox", "status", *data)
    assert endpoint is not None
    assert endpoint in status.out
    assert "Executor:" in status.out
    assert f"export AWS_ENDPOINT_URL={endpoint}" in status.out
    found = clary("sandbox", "status", *data, "-o", "json").json["item"]
    for line in found["not_honoured"]:
        assert line in status.out
    assert clary("sandbox", "start", "--port", "0", "--detach", *data, "-o", "json").error["code"] == (
        "sandbox.already_running"
    )

    planned = clary("sandbox", "faults", "throttle", "--operation", "CreateTrainingJob", "--times", "2", *data)
    assert "CreateTrainingJob" in planned.out
    assert clary("sandbox", "faults", *data, "-o", "json").json["items"][0]["left"] == 2
    assert clary("sandbox", "faults", "throtle", *data, "-o", "json").error["next_step"] == "Did you mean 'throttle'?"
    assert clary("sandbox", "faults", "--clear", *data).code == 0
    assert clary("sandbox", "faults", *data, "-o", "json").json["count"] == 0

    assert "Stopped the sandbox" in clary("sandbox", "stop", *data).out
    assert clary("sandbox", "stop", *data, "-o", "json").error["code"] == "sandbox.not_running"
    assert clary("sandbox", "status", *data).code == 1
    refused = clary("sandbox", "reset", *data, "-o", "json")
    assert refused.error["code"] == "sandbox.reset_unconfirmed"
    assert own_data.exists()
    assert clary("sandbox", "reset", "--yes", *data).code == 0
    assert not own_data.exists()


def test_nothing_is_started_beside_a_store_that_cannot_be_read(clary: CommandLine, own_data: Path) -> None:
    (config.home() / "clary.db").write_bytes(b"no database" * 100)
    answer = clary("sandbox", "start", "--port", "0", "--detach", "--data", str(own_data), "-o", "json")
    assert answer.error["code"] == "control.unreadable"
    assert not own_data.exists()


def test_a_stop_names_the_jobs_that_it_ends(
    clary: CommandLine, own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ["--data", str(own_data)]
    running = [{"name": "digits-1", "status": "InProgress"}]
    monkeypatch.setattr(api, "status", lambda _data: {"jobs_running": running})
    monkeypatch.setattr(api, "stop", lambda _data: {"endpoint": "http://127.0.0.1:1", "pid": 1})
    assert clary("sandbox", "stop", *data, "-o", "json").json["item"]["jobs_ended"] == ["digits-1"]
    assert "ended without a result: digits-1" in clary("sandbox", "stop", *data).out
    running.clear()
    assert "result" not in clary("sandbox", "stop", *data).out


def test_in_the_foreground_it_runs_until_ctrl_c(clary: CommandLine, own_data: Path) -> None:
    command = [sys.executable, "-c", "from clary.cli.main import main; main()"]
    command += ["sandbox", "start", "--port", "0", "--data", str(own_data), "-o", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()
        text += line
    found = json.loads(text)
    assert found["command"] == "sandbox start"
    stack = service.find("sandbox").stack
    assert stack.endpoint_url == found["item"]["endpoint"]
    assert stack.scheduler_role == found["item"]["scheduler_role"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out == ""
    assert "Traceback" not in err
    assert clary("sandbox", "status", "--data", str(own_data)).code == 1


def test_a_sandbox_that_comes_back_elsewhere_takes_its_stacks_along(clary: CommandLine) -> None:
    from clary.cli.sandbox import refresh_stacks
    from clary.stacks.draft import Draft
    from clary.stacks.rules import Place

    def place(port: int) -> Place:
        role = "arn:aws:iam::123456789012:role/r"
        return Place(f"http://127.0.0.1:{port}", "bucket", role, "123456789012", "us-east-1", "aws-credentials-file:/f")

    refresh_stacks(place(1))
    service.create(Draft("demo", "sandbox", instance_type="ml.m5.large"), place=place(1))
    before = service.find("demo")
    refresh_stacks(place(2))
    after = service.find("demo")
    assert (after.id, after.stack.endpoint_url) == (before.id, "http://127.0.0.1:2")
    assert after.stack.settings == {"instance_type": "ml.m5.large"}
    assert service.find("sandbox").stack.endpoint_url == "http://127.0.0.1:2"


@pytest.mark.parametrize("line", ["-r other.txt", "--hash=sha256:1"])
def test_options_of_pip_in_a_requirements_file_are_refused(clary: CommandLine, tmp_path: Path, line: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"# ours\nnumpy==2.1.0  # pinned\n\n{line}\n")
    error = clary("sandbox", "start", "--detach", "-r", str(file), "-o", "json").error
    assert error["code"] == "sandbox.bad_requirement"
    assert "line 4" in error["message"]


def test_requirements_are_read_one_a_line(tmp_path: Path) -> None:
    from clary.cli.sandbox import requirements_of

    file = tmp_path / "requirements.txt"
    file.write_text("# ours\nnumpy==2.1.0  # pinned\n\nscikit-learn>=1\n")
    assert requirements_of(file) == ["numpy==2.1.0", "scikit-learn>=1"]
