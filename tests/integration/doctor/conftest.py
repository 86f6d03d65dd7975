"""A stack on a real sandbox, ways to look at one check, and a proxy that bends what passes through it."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

from clary import testing
from clary.doctor import service, subject
from clary.doctor.subject import Subject
from clary.ids import new_id
from clary.stacks.access import open_aws
from clary.stacks.model import Stack

if TYPE_CHECKING:
    from clary.doctor.findings import Finding, Report
    from clary.sagemaker.session import Aws

Headers = list[tuple[str, str]]
_aws: dict[str, Aws] = {}
_CHECKS = {check.name: check for check in (*service.AWS_CHECKS, *service.LOCAL_CHECKS)}


@pytest.fixture(scope="session")
def sandbox() -> Iterator[testing.Sandbox]:
    with testing.sandbox(enforce_rates=False) as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLARY_HOME", str(tmp_path / "home"))
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION", "CLARY_STACK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def _shared_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let looks at the same endpoint with the same keys share boto3's clients, which take long to make."""
    monkeypatch.setattr(subject, "open_aws", _opened)


def _opened(stack: Stack) -> Aws:
    keys = [os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION")]
    place = [stack.region, stack.endpoint_url, stack.credentials]
    known = json.dumps([*keys, *place])
    if known not in _aws:
        _aws[known] = open_aws(stack)
    return _aws[known]


@pytest.fixture
def stack(sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A healthy stack with an artifact store of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", sandbox.environment["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", sandbox.environment["AWS_SECRET_ACCESS_KEY"])
    return Stack(
        name="there",
        type="sagemaker",
        artifact_store=f"s3://{sandbox.bucket}/{new_id().lower()}",
        region=sandbox.region,
        execution_role=sandbox.role,
        container_registry=f"{sandbox.account}.dkr.ecr.{sandbox.region}.amazonaws.com/clary",
        image=sandbox.image,
        endpoint_url=sandbox.endpoint,
    )


def look(name: str, stack: Stack, **changes: Any) -> Finding:
    """Return what one check finds of a stack, as the whole examination would tell it."""
    from clary.doctor.runner import run

    (result,) = run([_CHECKS[name]], Subject(dataclasses.replace(stack, **changes)), limit=20)
    return result.finding


def applies(name: str, stack: Stack, **changes: Any) -> bool:
    """Tell whether a check has anything to say about a stack."""
    return _CHECKS[name].look(Subject(dataclasses.replace(stack, **changes))) is not None


def by_name(report: Report) -> dict[str, Finding]:
    return {result.check.name: result.finding for result in report.results}


@pytest.fixture
def make_role(sandbox: testing.Sandbox) -> Callable[..., str]:
    """Make a role that a service may assume; return its ARN."""

    def make(service: str = "sagemaker.amazonaws.com", *, path: str = "/") -> str:
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        made = sandbox.client("iam").create_role(
            RoleName=f"role-{new_id().lower()}",
            Path=path,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        return str(made["Role"]["Arn"])

    return make


@pytest.fixture
def user(stack: Stack, sandbox: testing.Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """Be an IAM user; return the ARN."""
    iam, name = sandbox.client("iam"), f"user-{new_id().lower()}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    key = iam.create_access_key(UserName=name)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    return str(arn)


class Bending:
    """A proxy that passes requests on to an endpoint.

    ``request`` and ``answer`` change headers; what ``instead`` returns for a request's body is
    the answer, with ``status``.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        request: Callable[[Headers], Headers] = lambda headers: headers,
        answer: Callable[[Headers], Headers] = lambda headers: headers,
        instead: Callable[[bytes], bytes | None] = lambda body: None,
        status: int = 200,
    ) -> None:
        there = urlsplit(endpoint)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                given = instead(body)
                if given is not None:
                    self._give(given)
                    return
                connection = HTTPConnection(there.hostname or "", there.port)
                connection.request(self.command, self.path, body, dict(request(list(self.headers.items()))))
                reply = connection.getresponse()
                data = reply.read()
                connection.close()
                self.send_response_only(reply.status)
                length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in _HOP]
                for name, value in [*answer(kept), ("Content-Length", length or "0")]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def _give(self, given: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(given)))
                self.end_headers()
                self.wfile.write(given)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - the names of the base class

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def simulated(decide: Callable[[str, str], str]) -> Callable[[bytes], bytes | None]:
    """Return what answers SimulatePrincipalPolicy in IAM's place.

    ``decide`` is given an action and a resource and returns ``allowed``, ``implicitDeny``, ``explicitDeny``, or
    ``missing`` for a denial that hangs on a condition nobody knows.
    """

    def give(body: bytes) -> bytes | None:
        form = parse_qs(body.decode(errors="replace"))
        if form.get("Action") != ["SimulatePrincipalPolicy"]:
            return None
        actions = [value for key, (value,) in sorted(form.items()) if key.startswith("ActionNames.")]
        resources = [value for key, (value,) in sorted(form.items()) if key.startswith("ResourceArns.")]
        members = "".join(_evaluated(action, one, decide(action, one)) for action in actions for one in resources)
        return (
            '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
            f"<SimulatePrincipalPolicyResult><EvaluationResults>{members}</EvaluationResults>"
            "<IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        ).encode()

    return give


def _evaluated(action: str, resource: str, decision: str) -> str:
    missing = "<MissingContextValues><member>aws:SourceIp</member></MissingContextValues>"
    return (
        f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}</EvalResourceName>"
        f"<EvalDecision>{'implicitDeny' if decision == 'missing' else decision}</EvalDecision>"
        f"{missing if decision == 'missing' else ''}</member>"
    )


_HOP = {"content-length", "transfer-encoding", "connection"}
