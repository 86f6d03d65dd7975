"""The forwarder and the container's credentials."""

from __future__ import annotations

import socketserver
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unit.sandbox_containers.conftest import Machine

pytestmark = pytest.mark.namespaces
_SIZE = 3_000_000


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        data = self.rfile.read()
        self.wfile.write(data[::-1])


@pytest.fixture
def echo(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sandbox that answers everything backwards, once the client has said all."""
    monkeypatch.chdir(machine.folder)  # a unix socket's path may have 107 bytes at most
    with socketserver.ThreadingUnixStreamServer("sandbox.sock", _Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("echo")
def test_the_endpoint_answers_inside_at_the_same_address(machine: Machine) -> None:
    code, text = machine.run(
        f"""
        import socket, threading
        sent = bytes(range(256)) * {_SIZE // 256}
        def talk():
            with socket.create_connection(("127.0.0.1", 4599)) as peer:
                threading.Thread(target=lambda: (peer.sendall(sent), peer.shutdown(socket.SHUT_WR))).start()
                got = b""
                while data := peer.recv(1 << 16): got += data
                print(got == sent[::-1])
        all = [threading.Thread(target=talk) for _ in range(3)]
        for one in all: one.start()
        for one in all: one.join()
        """,
        endpoint="http://127.0.0.1:4599",
    )
    assert code == 0
    assert text.count("True") == 3


def test_a_sandbox_that_is_away_closes_the_connection(machine: Machine) -> None:
    code, text = machine.run(
        "import socket; s = socket.create_connection(('127.0.0.1', 4599)); print(s.recv(1))",
        endpoint="http://127.0.0.1:4599",
    )
    assert code == 0 or "ConnectionResetError" in text


_ASK = """
    import os, sys, urllib.error, urllib.request
    def ask(path):
        try: return urllib.request.urlopen("http://169.254.170.2" + path).read().decode()
        except urllib.error.HTTPError as error: return error.code
    print(ask(os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]), ask("/"), ask("/v2/credentials/guess"))
    print("ready")
    other = open("/opt/ml/other").read() if os.path.exists("/opt/ml/other") else "/"
    print(ask(other))
"""


def test_credentials_are_answered_to_their_container_only(machine: Machine) -> None:
    asked: list[int] = []

    def answer() -> dict[str, str]:
        asked.append(1)
        return {"AccessKeyId": f"key-{len(asked)}"}

    first = machine.spec(
        "import os, time; print(os.environ['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']); time.sleep(60)",
        credentials=answer,
    )
    started = machine.start_spec(first)
    started.await_text("\n")
    second = machine.spec(_ASK, credentials=answer)
    (second.opt_ml / "other").write_text(started.text.strip())
    code, text = machine.start_spec(second).result()
    assert (code, text) == (0, '{"AccessKeyId": "key-1"} 404 404\nready\n404\n')


def test_credentials_that_cannot_be_made_are_an_error_of_the_endpoint(machine: Machine) -> None:
    def answer() -> dict[str, str]:
        raise RuntimeError("no such role")

    assert machine.run(_ASK, credentials=answer)[1].startswith("500 404")


def test_a_long_folder_name_is_no_obstacle(tmp_path: Path, machine: Machine) -> None:
    assert len(str(machine.folder / "credentials.sock")) > 0
    from clary.sandbox.containers.credentials import CredentialsServer

    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    CredentialsServer(deep).close()
