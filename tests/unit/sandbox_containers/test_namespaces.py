"""What a container sees, what it cannot see, and how it ends."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clary.sandbox.containers.namespaces import Mode
from clary.sandbox.containers.plan import EXIT, STATE, UserNamespace
from clary.sandbox.identity import lives, start_mark
from clary.sandbox.model import EntrypointError, ImageNotFound, Network
from clary.sandbox.trees import remove_tree
from patience import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.sandbox.containers.image import Image
    from unit.sandbox_containers.conftest import Machine

pytestmark = pytest.mark.namespaces


@pytest.mark.parametrize("user", list(UserNamespace))
@pytest.mark.parametrize("overlay", [True, False])
def test_every_mode_gives_a_container_of_its_own(
    make_machine: Callable[..., Machine], mode: Mode, user: UserNamespace, overlay: bool
) -> None:
    if os.getuid() != 0 and user is not UserNamespace.SINGLE:
        pytest.skip("only root can start containers without a user namespace or with every id")
    if os.getuid() == 0 and mode.user_namespace is UserNamespace.NONE and user is not UserNamespace.NONE:
        pytest.skip("this machine refuses user namespaces")
    machine = make_machine(Mode(user, overlay))
    code, text = machine.run("""
        import os, sys
        print(os.getpid(), os.getuid(), sys.prefix, os.uname().nodename)
        open("/opt/ml/out", "w").write("mine")
        for place in ("/root", "/home", "/tmp", "/var/tmp"):
            print(place, os.listdir(place))
            open(place + "/mine", "w").close()
    """)
    empty = [f"{place} []" for place in ("/root", "/home", "/tmp", "/var/tmp")]
    assert (code, text.splitlines()) == (0, ["1 0 /opt/venv algo-1", *empty])
    assert (machine.started[0].spec.opt_ml / "out").read_text() == "mine"
    assert not any(Path(machine.image.root, place, "mine").exists() for place in ("root", "home", "tmp", "var/tmp"))


def test_nothing_of_the_host_leaks(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text("planted")
    code, text = machine.run(
        """
        import os, sys
        print(sorted(os.environ))
        for name in ("clary", "obstore", "boto3", "pytest", "apt"):
            try: __import__(name); print("found", name)
            except ImportError: pass
        planted = sys.argv[1]
        print(os.path.exists(planted), os.path.exists(os.path.expanduser("~/.aws")), os.path.exists("/etc/shadow"))
        print([pid for pid in os.listdir("/proc") if pid.isdigit()])
        print(open("/proc/1/environ").read().count("planted"))
        """,
        arguments=[str(tmp_path / ".aws/credentials")],
        environment={"MINE": "1"},
    )
    names = {"HOME", "HOSTNAME", "LC_CTYPE", "LD_LIBRARY_PATH", "MINE", "PATH"}
    seen, *rest = text.splitlines()
    assert code == 0
    assert set(json.loads(seen.replace("'", '"'))) <= names
    assert rest == ["False False False", "['1']", "0"]


def test_the_system_python_finds_nothing_of_the_host_either(machine: Machine) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("this machine has no system Python")
    code, text = machine.run(
        ["/usr/bin/python3", "-c", "import importlib.util as u; print(u.find_spec('pip'), u.find_spec('clary'))"]
    )
    assert (code, text) == (0, "None None\n")


def test_the_container_may_write_to_the_image_without_changing_it(
    make_machine: Callable[..., Machine], mode: Mode
) -> None:
    machine = make_machine(replace(mode, overlay=True))
    code, _ = machine.run("import os; open('/usr/lib/clary-test', 'w').close(); open('/opt/venv/mine', 'w').close()")
    assert code == 0
    assert not Path("/usr/lib/clary-test").exists()
    assert machine.run("import os; print(os.path.exists('/opt/venv/mine'))") == (0, "False\n")


def test_few_capabilities_and_no_new_ones(machine: Machine) -> None:
    code, text = machine.run("""
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(int(status["CapEff"], 16) & (1 << 21 | 1 << 27 | 1 << 12), status["NoNewPrivs"].strip())
        try: open("/proc/sys/kernel/hostname", "w")
        except OSError: print("read-only")
    """)
    assert (code, text) == (0, "0 1\nread-only\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["/nowhere/at/all"], 127, "not found"),
        (["nosuch"], 127, "not found"),
        (["/etc/passwd"], 126, "Permission denied"),
    ],
)
def test_a_command_that_cannot_be_started(machine: Machine, words: list[str], code: int, text: str) -> None:
    with pytest.raises(EntrypointError, match=text) as error:
        machine.start(words)
    assert error.value.exit_code == code


def test_an_unknown_image_and_no_words(machine: Machine) -> None:
    with pytest.raises(ImageNotFound):
        machine.start(["true"], image="other")
    with pytest.raises(EntrypointError):
        machine.start([])


def test_words_are_combined_as_docker_does(make_machine: Callable[..., Machine], mode: Mode, image: Image) -> None:
    machine = make_machine(mode, of=replace(image, entrypoint=("echo", "entry"), command=("command",)))
    assert machine.run([], entrypoint=None)[1] == "entry command\n"
    assert machine.run([], entrypoint=None, arguments=["train"])[1] == "entry train\n"
    assert machine.run(["echo", "other"])[1] == "other\n"
    assert machine.run(["echo"], arguments=["other", "words"])[1] == "other words\n"


def test_another_user_and_folder_of_an_image(make_machine: Callable[..., Machine], mode: Mode, image: Image) -> None:
    if mode.user_namespace is UserNamespace.SINGLE:
        pytest.skip("without root there is only one user in a container")
    machine = make_machine(
        mode, of=replace(image, user="nobody", workdir="/tmp", environment={"PATH": "/usr/bin:/bin"})
    )
    assert machine.run(["sh", "-c", "id -u; id -g; pwd"]) == (0, "65534\n65534\n/tmp\n")


def test_signals_reach_pid_1_only_and_python_ignores_sigterm(machine: Machine) -> None:
    started = machine.start(
        "import subprocess, time; p = subprocess.Popen(['sleep', '60']); print('up'); time.sleep(60)"
    )
    started.await_text("up")
    started.container.signal(signal.SIGTERM)
    assert started.container.wait(0.3) is None
    started.container.kill()
    assert started.result()[0] == 137
    started.container.signal(signal.SIGTERM)  # does nothing after the end


def test_a_signal_that_ends_it_is_told_as_a_shell_would(machine: Machine) -> None:
    assert machine.run("import ctypes; ctypes.string_at(0)")[0] == 139


def test_memory_that_runs_out_is_seen(machine: Machine) -> None:
    if any("Memory limits" in line for line in machine.executor.not_honoured):
        assert "CI" not in os.environ, "control groups cannot be made here"
        pytest.skip("control groups cannot be made here")
    started = machine.start("bytearray(200 << 20)", memory_bytes=64 << 20)
    assert started.result()[0] == 137
    assert started.container.out_of_memory
    modest = machine.start("print('fits')", memory_bytes=64 << 20)
    assert modest.result() == (0, "fits\n")
    assert not modest.container.out_of_memory
    groups = json.loads((modest.spec.scratch / "plan.json").read_text())["memory_groups"]
    until(lambda: not any(Path(group).exists() for group in groups), "the end of the control group")


def test_read_only_paths(machine: Machine) -> None:
    spec = machine.spec("open('/opt/ml/data/x', 'w')", read_only=["/opt/ml/data"])
    (spec.opt_ml / "data").mkdir()
    code, text = machine.start_spec(spec).result()
    assert code == 1
    assert "Read-only file system" in text


def test_two_containers_have_an_opt_ml_each(machine: Machine) -> None:
    first = machine.start("import time; open('/opt/ml/one', 'w').close(); print('up'); time.sleep(60)")
    first.await_text("up")
    assert machine.run("import os; print(os.listdir('/opt/ml'))") == (0, "[]\n")


def test_an_isolated_container_has_its_loopback_and_nothing_else(machine: Machine) -> None:
    code, text = machine.run(
        """
        import os, socket
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()); print("itself")
        try: socket.create_connection(("169.254.170.2", 80), 1)
        except OSError: print("nobody")
        print("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" in os.environ)
        """,
        network=Network.NONE,
        credentials=lambda: {"AccessKeyId": "k"},
    )
    assert (code, text) == (0, "itself\nnobody\nFalse\n")


def test_a_container_is_taken_up_by_the_next_process(make_machine: Callable[..., Machine], mode: Mode) -> None:
    machine = make_machine(mode)
    spec = machine.spec("print('before'); print(open('/opt/ml/fifo').read()); raise SystemExit(3)")
    os.mkfifo(spec.opt_ml / "fifo")
    started = machine.start_spec(spec)
    started.await_text("before")
    machine.executor.close()

    after = make_machine(mode)
    pieces: list[bytes] = []
    assert after.executor.adopt(spec, started.container.pid + 1, pieces.append) is None
    adopted = after.executor.adopt(spec, started.container.pid, pieces.append)
    assert adopted is not None
    (spec.opt_ml / "fifo").write_text("after")
    assert adopted.wait(PATIENCE) == 3
    assert b"".join(pieces) == b"before\nafter\n"
    ended = after.executor.adopt(spec, started.container.pid, pieces.append)
    assert ended is not None
    assert ended.wait(PATIENCE) == 3


def test_the_container_ends_with_its_launcher_and_with_its_folder(machine: Machine) -> None:
    started = machine.start("import time; print('up'); time.sleep(600)", memory_bytes=64 << 20)
    started.await_text("up")
    groups = json.loads((started.spec.scratch / "plan.json").read_text())["memory_groups"]
    state = json.loads((started.spec.scratch / STATE).read_text())
    os.kill(state["launcher"], signal.SIGKILL)
    assert started.result()[0] == 137
    assert not (started.spec.scratch / EXIT).exists()
    until(lambda: not lives(state["pid"], state["started"]), "the end of the container after its launcher's")
    until(lambda: not any(Path(group).exists() for group in groups), "the end of the control groups")

    started = machine.start("import time; print('up'); time.sleep(600)")
    started.await_text("up")
    pid = started.container.pid
    began = start_mark(pid)
    started.spec.scratch.rename(started.spec.scratch.with_name("gone"))
    until(lambda: not lives(pid, began), "the end of the container after its folder's")


def test_a_new_folder_in_the_place_of_the_old_one_does_not_keep_the_container(machine: Machine) -> None:
    started = machine.start("import time; print('up'); time.sleep(60)")
    started.await_text("up")
    remove_tree(started.spec.scratch)
    started.spec.scratch.mkdir()

    assert started.result()[0] == 137
    assert not (started.spec.scratch / EXIT).exists()


def test_hosts_of_a_job_meet_and_their_switch_goes_with_them(machine: Machine) -> None:
    code = """
        import os, socket, sys
        if os.environ["HOSTNAME"] == "algo-1":
            server = socket.create_server(("0.0.0.0", 9))
            print("listening")
            print(server.accept()[0].recv(9).decode())
        else:
            peer = socket.create_connection(("algo-1", 9)); peer.sendall(b"hello")
    """
    hosts = ["algo-1", "algo-2"]
    first = machine.start(code, hosts=hosts)
    first.await_text("listening")
    holder = json.loads((first.spec.scratch / "plan.json").read_text())["join"]
    began = start_mark(holder)
    second = machine.start(code, hosts=hosts, host="algo-2")
    assert second.result()[0] == 0
    assert first.result() == (0, "listening\nhello\n")
    until(lambda: not lives(holder, began), "the end of the switch after the hosts'")


def test_a_starter_that_was_killed_is_replaced_and_its_containers_go_on(machine: Machine) -> None:
    first = machine.start("import time; print('up'); time.sleep(60)")
    first.await_text("up")
    starter = machine.executor._starter._process
    starter.kill()
    starter.wait()
    assert machine.run("print('again')") == (0, "again\n")
    assert first.container.wait(0) is None
