"""On loopback, what gives keys: STS (AssumeRole, GetCallerIdentity) and the portal of IAM Identity Center."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ME = "arn:aws:sts::123456789012:assumed-role/dev/me"
TOKEN = "a-good-sign-in"

_KEYS = """<Credentials><AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>t{number}</SessionToken><Expiration>{end}</Expiration></Credentials>"""
_ANSWER = (
    "<{op}Response xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><{op}Result>{body}</{op}Result></{op}Response>"
)
_ERROR = "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"


class SignIn:
    """Gives keys that live ``seconds``; notes every wish. ``refusal`` is what it says in the place of a role's keys."""

    def __init__(self) -> None:
        self.seconds = 3600.0
        self.refusal: tuple[str, str] | None = None
        self.wishes: list[dict[str, str]] = []
        self.signed_by: list[str] = []
        self._given = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.sign_in = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def roles(self) -> list[dict[str, str]]:
        """Return the AssumeRole requests."""
        return [wish for wish in self.wishes if wish.get("Action") == "AssumeRole"]

    def sts(self, wish: dict[str, str]) -> tuple[int, str]:
        """Answer a request of STS."""
        operation = wish["Action"]
        if operation == "GetCallerIdentity":
            body = f"<Arn>{ME}</Arn><UserId>u</UserId><Account>123456789012</Account>"
            return 200, _ANSWER.format(op=operation, body=body)
        if self.refusal:
            return 403, _ERROR.format(code=self.refusal[0], message=self.refusal[1])
        number, end = self._next()
        return 200, _ANSWER.format(op=operation, body=_KEYS.format(number=number, end=end.isoformat()))

    def portal(self, path: str, query: dict[str, str], token: str | None) -> tuple[int, dict[str, Any], str]:
        """Answer GetRoleCredentials: status, body and the type of an error."""
        self.wishes.append({"path": path, **query})
        if token != TOKEN:
            return 401, {"message": "Session token not found or invalid"}, "UnauthorizedException"
        if query["role_name"] == "nobodys":
            return 403, {"message": "No access"}, "ForbiddenException"
        number, end = self._next()
        keys = {"accessKeyId": f"ASIA{number}", "secretAccessKey": "s", "sessionToken": f"t{number}"}
        return 200, {"roleCredentials": {**keys, "expiration": int(end.timestamp() * 1000)}}, ""

    def _next(self) -> tuple[int, datetime]:
        with self._lock:
            self._given += 1
            return self._given, datetime.now(UTC) + timedelta(seconds=self.seconds)

    @contextmanager
    def serving(self) -> Iterator[SignIn]:
        """Serve inside the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    sign_in: SignIn


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        wish = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.server.sign_in.wishes.append(wish)
        self.server.sign_in.signed_by.append(
            self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        )
        status, body = self.server.sign_in.sts(wish)
        self._answer(status, body.encode(), {"Content-Type": "text/xml"})

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        parts = urlsplit(self.path)
        token = self.headers["x-amz-sso_bearer_token"]
        status, body, kind = self.server.sign_in.portal(parts.path, dict(parse_qsl(parts.query)), token)
        headers = {"Content-Type": "application/json", **({"x-amzn-ErrorType": kind} if kind else {})}
        self._answer(status, json.dumps(body).encode(), headers)

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
