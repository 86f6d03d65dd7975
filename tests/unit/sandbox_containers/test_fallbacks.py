"""Docker, plain processes, and the choice among the three."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import IO, TYPE_CHECKING, Any

import pytest

from clary.sandbox import containers
from clary.sandbox.containers import docker, namespaces
from clary.sandbox.containers.docker import DockerExecutor, find_engine, run_arguments
from clary.sandbox.containers.image import image_reference
from clary.sandbox.containers.plan import STATE
from clary.sandbox.containers.process import ProcessContainer, ProcessExecutor
from clary.sandbox.identity import start_mark
from clary.sandbox.model import ContainerSpec, EntrypointError, ImageNotFound, Network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ACCOUNT, _REGION = "123456789012", "us-east-1"
_PATIENCE = 20.0


def spec(tmp_path: Path, words: list[str], **changes: object) -> ContainerSpec:
    (tmp_path / "ml").mkdir(exist_ok=True)
    usual: dict[str, Any] = {
        "job": "job",
        "host": "algo-1",
        "hosts": ["algo-1"],
        "image": image_reference(_ACCOUNT, _REGION),
        "entrypoint": words,
        "arguments": None,
        "environment": {},
        "opt_ml": tmp_path / "ml",
        "scratch": tmp_path / "scratch",
    }
    return ContainerSpec(**{**usual, **changes})


def test_docker_words(tmp_path: Path) -> None:
    given = spec(
        tmp_path,
        ["python", "-c"],
        arguments=["pass"],
        environment={"SECRET": "value"},
        read_only=["/opt/ml/input/data/x"],
        memory_bytes=1024,
        credentials=lambda: {"AccessKeyId": "key", "SecretAccessKey": "s", "Token": "t", "Expiration": "e"},
    )
    assert run_arguments(given, "image", tmp_path / "id") == [
        *("run", "--detach", "--cidfile", f"{tmp_path}/id", "--hostname", "algo-1"),
        *("--volume", f"{tmp_path}/ml:/opt/ml", "--volume", f"{tmp_path}/ml/input/data/x:/opt/ml/input/data/x:ro"),
        *("--network", "host", "--security-opt", "no-new-privileges", "--memory", "1024", "--memory-swap", "1024"),
        *(
            "--env",
            "AWS_ACCESS_KEY_ID",
            "--env",
            "AWS_SECRET_ACCESS_KEY",
            "--env",
            "AWS_SESSION_TOKEN",
            "--env",
            "SECRET",
        ),
        *("--entrypoint", "python", "image", "-c", "pass"),
    ]
    isolated = run_arguments(spec(tmp_path, [], entrypoint=None, network=Network.NONE), "image", tmp_path / "id")
    assert isolated[-1] == "image"
    assert isolated[isolated.index("--network") + 1] == "none"


_FAKE = """#!/bin/sh
# An engine that knows one container, which writes its words and ends with 3.
case "$1" in
    info) exit 0 ;;
    run) for word; do [ "$last" = --cidfile ] && printf c1 > "$word"; last=$word; done; echo "$@" > "$0.words" ;;
    inspect) echo '{"Pid": 77, "ExitCode": 3, "OOMKilled": true}' ;;
    logs) echo out; echo err >&2 ;;
    image) [ -f "$0.loaded" ] ;;
    load) cat > "$0.loaded" ;;
    *) exit 0 ;;
esac
"""


def test_docker_from_start_to_end(tmp_path: Path) -> None:
    engine = tmp_path / "docker"
    engine.write_text(_FAKE)
    engine.chmod(0o755)
    pieces: list[bytes] = []
    executor = DockerExecutor(str(engine))
    container = executor.start(spec(tmp_path, ["true"]), pieces.append)
    assert container.pid == 77
    assert container.wait(_PATIENCE) == 3
    assert container.out_of_memory
    assert sorted(b"".join(pieces).split()) == [b"err", b"out"]
    assert pieces[-1] == b""
    assert "python:3." in (tmp_path / "docker.words").read_text()
    with pytest.raises(ImageNotFound):
        executor.start(spec(tmp_path, ["true"], hosts=["algo-1", "algo-2"]), pieces.append)


class Archive:
    """One image, which is called by its digest in the engine."""

    def __init__(self) -> None:
        self.written = 0

    def digest(self, reference: str) -> str | None:
        if reference == "missing":
            raise ImageNotFound("no image missing")
        return None if reference == "python:3" else f"sha256:{'0123456789abcdef' * 4}"

    def write(self, reference: str, name: str, file: IO[bytes]) -> None:
        self.written += 1
        file.write(f"{reference} as {name}".encode())


def test_docker_loads_images_of_the_registry_once(tmp_path: Path) -> None:
    engine = tmp_path / "docker"
    engine.write_text(_FAKE)
    engine.chmod(0o755)
    archive = Archive()
    executor = DockerExecutor(str(engine), archive)
    for image in (image_reference(_ACCOUNT, _REGION), "python:3"):
        executor.fetch(image)
    assert archive.written == 0
    for _ in range(2):
        executor.fetch("an/image:1")
    name = "clary-sandbox/loaded:0123456789abcdef0123456789abcdef"
    assert (archive.written, (tmp_path / "docker.loaded").read_text()) == (1, f"an/image:1 as {name}")
    assert executor.start(spec(tmp_path, ["true"], image="an/image:1"), lambda _: None).wait(_PATIENCE) == 3
    assert name in (tmp_path / "docker.words").read_text()
    with pytest.raises(ImageNotFound, match="no image missing"):
        executor.fetch("missing")


def test_an_engine_that_cannot_load(tmp_path: Path) -> None:
    engine = tmp_path / "docker"
    engine.write_text('#!/bin/sh\n[ "$1" = load ] && echo "no space left on device" >&2\nexit 1\n')
    engine.chmod(0o755)
    with pytest.raises(ImageNotFound, match="no space left on device"):
        DockerExecutor(str(engine), Archive()).fetch("an/image:1")


def test_processes_run_no_other_image() -> None:
    executor = ProcessExecutor(_ACCOUNT, _REGION)
    executor.fetch(image_reference(_ACCOUNT, _REGION))
    with pytest.raises(ImageNotFound, match="runs no images but its own"):
        executor.fetch(f"{_ACCOUNT}.dkr.ecr.{_REGION}.amazonaws.com/team/app:1")


def test_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine() == (None, "there is no `docker` command")
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    program, why = find_engine()
    assert program is None
    assert "Cannot connect" in why


class Processes:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor = ProcessExecutor(_ACCOUNT, _REGION)
        self.pieces: list[bytes] = []
        self.started: list[ProcessContainer] = []

    def start(self, words: list[str], **changes: object) -> ProcessContainer:
        container = self.executor.start(spec(self.folder, words, **changes), self.pieces.append)
        self.started.append(container)
        return container


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    for container in made.started:
        container.kill()
        container.wait(_PATIENCE)


def test_a_process_runs_without_the_callers_variables(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    container = processes.start(["sh", "-c", "env; exit 4"], environment={"MINE": "1"})
    assert container.wait(_PATIENCE) == 4
    text = b"".join(processes.pieces).decode()
    assert "MINE=1" in text
    assert "planted" not in text


@pytest.mark.parametrize(
    ("words", "code"), [(["cat", "/opt/ml/input/config/hyperparameters.json"], 126), (["nosuch"], 127), (["/etc"], 126)]
)
def test_a_process_that_cannot_be_started(processes: Processes, words: list[str], code: int) -> None:
    with pytest.raises(EntrypointError) as error:
        processes.start(words)
    assert error.value.exit_code == code


def test_processes_have_one_image(processes: Processes) -> None:
    with pytest.raises(ImageNotFound):
        processes.start(["true"], image="other")


def test_kill_ends_the_children_too(processes: Processes) -> None:
    container = processes.start(["sh", "-c", "sleep 60 & wait"])
    container.kill()
    assert container.wait(_PATIENCE) == 137


def test_what_an_earlier_sandbox_left_is_ended(tmp_path: Path) -> None:
    left = subprocess.Popen(["sleep", "60"], start_new_session=True)

    given = spec(tmp_path, ["sleep", "60"])
    given.scratch.mkdir()
    (given.scratch / STATE).write_text(json.dumps({"pid": left.pid, "started": f"{start_mark(left.pid)}0"}))
    executor = ProcessExecutor(_ACCOUNT, _REGION)
    executor.adopt(given, left.pid, lambda _: None)
    os.kill(left.pid, 0)  # another process with the same number is left alone
    (given.scratch / STATE).write_text(json.dumps({"pid": left.pid, "started": start_mark(left.pid)}))
    executor.adopt(given, left.pid, lambda _: None)
    assert left.wait(_PATIENCE) == -signal.SIGKILL


def test_the_choice_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "find_mode", lambda image: (None, "unshare: Operation not permitted"))
    monkeypatch.setattr(docker, "find_engine", lambda: (None, "there is no `docker` command"))
    choice = containers.choose_executor(tmp_path, _ACCOUNT, _REGION)
    assert choice.executor.name == "process"
    assert choice.refused == ["namespaces: unshare: Operation not permitted", "docker: there is no `docker` command"]
    monkeypatch.setattr(docker, "find_engine", lambda: ("/usr/bin/docker", ""))
    assert containers.choose_executor(tmp_path, _ACCOUNT, _REGION).executor.name == "docker"
