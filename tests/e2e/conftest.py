"""One sandbox and one SageMaker stack for the end-to-end tests of a worker."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import planted
from clary import testing
from clary.agent import service
from clary.stacks.model import Stack
from command_line import CommandLine
from e2e import odd
from planted import CANARY

if TYPE_CHECKING:
    from clary.agent.views import RunView

LAB = Path(__file__).with_name("lab")


@dataclass
class Lab:
    """A stack on a sandbox, and short ways to run the lab's flows there."""

    sandbox: testing.Sandbox
    stack: Stack

    def start(self, flow: str, **inputs: Any) -> RunView:
        """Submit a flow of ``lab/flows.py``."""
        return service.start(service.load_target(f"{LAB / 'flows.py'}:{flow}"), inputs, self.stack)

    def run(self, flow: str, **inputs: Any) -> RunView:
        """Submit a flow and wait for its end."""
        return service.wait(self.stack, self.start(flow, **inputs).id, 60)

    def logs(self, run: str) -> list[str]:
        """Return the lines that the run's jobs have printed."""
        return [line for _, _, line in service.logs(self.stack, run, follow=False)]

    def job(self, run: RunView) -> dict[str, Any]:
        """Return what SageMaker says of the run's latest job."""
        found: dict[str, Any] = self.sandbox.client("sagemaker").describe_training_job(
            TrainingJobName=run.attempts[-1].job
        )
        return found

    def with_settings(self, **settings: Any) -> Lab:
        """Return the lab with other defaults of the stack's job settings."""
        from dataclasses import replace

        return Lab(self.sandbox, replace(self.stack, settings={**self.stack.settings, **settings}))


@pytest.fixture(scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("clary-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLARY_HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        patch.setenv("CLARY_SECRETS_PASSPHRASE", "five words are a start")
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name, raising=False)
        yield home


@pytest.fixture(scope="session")
def _lab(_home: Path) -> Iterator[Lab]:
    credentials = _home / "credentials"
    credentials.write_text("[default]\naws_access_key_id = sandbox\naws_secret_access_key = sandbox\n")
    with testing.sandbox() as running:
        _plant(running)
        stack = Stack(
            name="lab",
            type="sagemaker",
            artifact_store=f"s3://{running.bucket}/lab",
            region="us-east-1",
            execution_role=running.role,
            container_registry=running.image.split("/")[0],
            image=running.image,
            endpoint_url=running.endpoint,
            credentials=f"aws-credentials-file:{credentials}",
            settings={"environment": {"LAB_CANARY": "{{secrets.canary.token}}"}},
        )
        with _requests_watched():
            yield Lab(running, stack)
        leaks = [*planted.traces(running.data, CANARY), *planted.traces(_home, CANARY)]
        assert not leaks, "the planted secret was kept in these files"


def _plant(running: testing.Sandbox) -> None:
    secret = json.dumps({"token": CANARY})
    running.client("secretsmanager").create_secret(Name="clary/canary", SecretString=secret)


@contextmanager
def _requests_watched() -> Iterator[None]:
    """Fail for any request of this process that holds the planted secret; only the keepers of secrets may get it."""
    from botocore.httpsession import URLLib3Session

    send = URLLib3Session.send

    def watched(session: URLLib3Session, request: Any) -> Any:
        target = request.headers.get("X-Amz-Target") or b""
        if not bytes(target).startswith((b"secretsmanager.", b"AmazonSSM.")):
            body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
            sent = b"\n".join([request.url.encode(), repr(dict(request.headers)).encode(), body])
            assert not any(form in sent for form in planted.forms(CANARY)), request.url
        return send(session, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", watched)
        yield


@pytest.fixture
def lab(_lab: Lab) -> Iterator[Lab]:
    """The worker's lab, with no fault planned and its clock at its own pace."""
    yield _lab
    _lab.sandbox.faults.clear()
    _lab.sandbox.clock.speed(1)


@pytest.fixture
def terminal(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CommandLine]:
    """The command line, with the lab as a stack, in an odd project that is the current folder."""
    from clary.stacks import service as stacks

    for name in ("CLARY_STACK", "CLARY_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(odd.make(tmp_path))
    stacks.refresh(lab.stack)
    path, modules = sys.path[:], set(sys.modules)
    yield CommandLine(capsys)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
