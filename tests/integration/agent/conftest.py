"""A project with flows, a home of its own, a local stack, and a stack on a sandbox that really runs jobs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import pytest

from clary import testing
from clary.agent import place
from clary.ids import new_id
from clary.stacks.model import Stack, local_stack

if TYPE_CHECKING:
    from clary.agent.views import CallView, PhaseView, ProgressView, RunView

FLOWS = """
import os
import signal
import threading
import time

from clary import checkpoint, flow, save


@checkpoint
def square(number: int, pause: float = 0.0) -> int:
    time.sleep(pause)
    print(f"square of {number}", flush=True)
    return number * number


@checkpoint
def fail_unless(path: str) -> str:
    if not os.path.exists(path):
        raise ValueError("not yet")
    return "there"


@checkpoint
def die_once(attempt: int) -> int:
    from clary import current_run

    if current_run().attempt <= attempt:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt


@flow
def squares(count: int = 3, pause: float = 0.0) -> int:
    total = sum(square(number, pause) for number in range(count))
    save("total", total)
    return total


@flow
def needs(path: str) -> list:
    return [square(3), fail_unless(path)]


@flow
def dies(attempts: int = 1) -> list:
    return [square(2), die_once(attempts), square(4)]


@flow
def takes(value: object) -> int:
    return len(value)
"""


@dataclass
class Recorder:
    """An observer that keeps what it is told, in order."""

    told: list[tuple[str, Any]] = field(default_factory=list)

    def submitted(self, run: RunView) -> None:
        self.told.append(("submitted", run))

    def phase(self, attempt: int, phase: PhaseView) -> None:
        self.told.append(("phase", (attempt, phase)))

    def log(self, host: str, timestamp: float, line: str) -> None:
        self.told.append(("log", line))

    def call(self, call: CallView) -> None:
        self.told.append(("call", call))

    def progress(self, lines: tuple[ProgressView, ...]) -> None:
        self.told.append(("progress", lines))

    def note(self, text: str) -> None:
        self.told.append(("note", text))

    def of(self, kind: str) -> list[Any]:
        return [what for name, what in self.told if name == kind]


@pytest.fixture
def observer() -> Recorder:
    return Recorder()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder with flows in ``flows.py``, which is the current folder."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "pyproject.toml").write_text("")
    (root / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(root)
    path, modules = sys.path[:], set(sys.modules)
    yield root
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "CLARY_STACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(place, "_open", {})
    return tmp_path / "home"


@pytest.fixture
def local(home: Path) -> Stack:
    return local_stack(str(home / "local"))


@pytest.fixture(scope="session")
def sandbox() -> Iterator[testing.Sandbox]:
    with testing.sandbox(enforce_rates=False) as running:
        yield running


@pytest.fixture
def stack(sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack with an artifact store of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", sandbox.environment["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", sandbox.environment["AWS_SECRET_ACCESS_KEY"])
    yield Stack(
        name="there",
        type="sagemaker",
        artifact_store=f"s3://{sandbox.bucket}/{new_id().lower()}",
        region=sandbox.region,
        execution_role=sandbox.role,
        image=sandbox.image,
        endpoint_url=sandbox.endpoint,
    )
    sandbox.faults.clear()


@pytest.fixture
def keys(sandbox: testing.Sandbox, stack: Stack) -> Callable[[], list[str]]:
    """Return what lies in the stack's artifact store, without its root."""
    prefix = stack.artifact_store.removeprefix(f"s3://{sandbox.bucket}/") + "/"

    def listed() -> list[str]:
        found = sandbox.client("s3").list_objects_v2(Bucket=sandbox.bucket, Prefix=prefix)
        return [item["Key"].removeprefix(prefix) for item in found.get("Contents", ())]

    return listed


class Proxy:
    """Passes requests on to an endpoint and notes each.

    ``together`` holds back the answers to HEAD requests until as many are under way at once.
    """

    def __init__(self, endpoint: str) -> None:
        self.requests: list[str] = []
        self.together: threading.Barrier | None = None
        proxy, there = self, urlsplit(endpoint)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                if self.command == "HEAD" and proxy.together is not None:
                    proxy.together.wait(20)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                connection = HTTPConnection(there.hostname or "", there.port)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                data = answer.read()
                connection.close()
                proxy.requests.append(self.headers.get("X-Amz-Target") or f"{self.command} {self.path}")
                self.send_response(answer.status)
                kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                for name, value in [*kept, ("Content-Length", length or "0")]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - the names of the base class

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


_HOP = {"content-length", "transfer-encoding", "connection", "date", "server"}
