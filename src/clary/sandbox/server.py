"""The sandbox's one door: HTTP on the loopback interface and on a unix socket, in front of everything it answers.

Signatures are not verified: whoever can reach the loopback interface of this machine may use the sandbox. What is
checked is that a request names an access key, that temporary credentials have not expired, and that it does not come
from a web page.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
from dataclasses import dataclass
from functools import partial
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clary.errors import SandboxError
from clary.sandbox.contact import PREFIX, SIMULATIONS
from clary.sandbox.http import drop_connection, restore_names
from clary.sandbox.operations import OPERATIONS, answer
from clary.sandbox.operations.context import Caller, Platform
from clary.sandbox.registry import protocol
from clary.sandbox.wire import ApiError, Environ, Request, Response, error_response, json_response, parse, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from clary.sandbox.admin import Admin
    from clary.sandbox.iam.guard import Guard
    from clary.sandbox.rates import Rates
    from clary.sandbox.registry.control import Control
    from clary.sandbox.registry.registry import Registry
    from clary.sandbox.schedules import Schedules

_log = logging.getLogger(__name__)
_LOOPBACK = "127.0.0.1"
_VIRTUAL_HOST = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.(?:s3\.)?localhost(?::\d+)?")
_CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")


@dataclass(frozen=True)
class Front:
    """The WSGI application."""

    platform: Platform
    rates: Rates
    admin: Admin
    guard: Guard | None = None
    """Weighs every request, while IAM policies are enforced."""
    schedules: Schedules | None = None
    """Answers for EventBridge Scheduler."""
    registry: Registry | None = None
    """Answers the protocol of registries."""
    ecr: Control | None = None
    """Answers for ECR."""

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one HTTP request, as WSGI asks for."""
        response = self.respond(environ)
        start_response(f"{response.status} {responses.get(response.status, '')}", response.headers)
        return response.body

    def respond(self, environ: Environ) -> Response:
        """Return the answer to one HTTP request."""
        refusal = foreign(environ)
        if refusal:
            return json_response({"__type": "AccessDeniedException", "message": refusal}, status=403)
        if environ["PATH_INFO"].startswith(PREFIX):
            return self.admin.handle(environ)
        if self.registry is not None and protocol.concerns(environ):
            return protocol.serve(self.registry, environ)
        restore_names(environ)
        _to_path_style(environ)
        request = parse(environ)
        try:
            return self._serve(request)
        except ApiError as error:
            return error_response(request, error)
        except Exception:  # noqa: BLE001 - one request must not take the server down
            _log.exception("%s %s failed", request.service, request.operation)
            return error_response(request, ApiError("InternalFailure", "The sandbox failed; see its log.", status=500))

    def _serve(self, request: Request) -> Response:
        own = bool(request.target) and str(request.target).split(".", 1)[0] in OPERATIONS
        document = self._document(request) if own else None
        name = request.key or _job_name(document)
        self._check_credentials(request, name)
        self._planned_refusals(request, name)
        produce = partial(self._answer, request, document) if own else partial(self._hand_on, request)
        response = produce() if self.guard is None else self.guard.serve(request, document, produce)
        if response.status < 400 and self._taken("lost_reply", request, name) is not None:
            drop_connection(request.environ)
        return response

    def _answer(self, request: Request, document: Any) -> Response:
        """Answer an operation of the sandbox's own."""
        account = self.platform.gateway.account_of(request.access_key)
        caller = Caller(account, request.region)
        if not self.rates.allow(account, request.region, request.operation):
            raise throttled(request)
        return json_response(answer(self.platform, caller, str(request.target), document))

    def _hand_on(self, request: Request) -> Response:
        """Let another service answer, or IAM's simulation, which moto lacks."""
        if request.service == "iam" and request.action in SIMULATIONS:
            from clary.sandbox.iam.simulate import simulate

            return simulate(request, self.platform.gateway)
        if self.schedules is not None and request.service == "scheduler":
            return self.schedules.handle(request)
        if self.ecr is not None and request.service == "ecr":
            return self.ecr.handle(request)
        response = self.platform.gateway.handle(request)
        if self.schedules is not None and request.service == "cloudformation":
            self.schedules.sync()
        if self.registry is not None and request.service == "cloudformation":
            self.registry.sync()
        return response

    @staticmethod
    def _document(request: Request) -> Any:
        try:
            return json.loads(read_body(request.environ) or b"{}")
        except ValueError:
            raise ApiError("SerializationException", "The body is not JSON.") from None

    def _taken(self, kind: str, request: Request, name: str) -> Mapping[str, Any] | None:
        return self.platform.faults.take(kind, operation=request.operation, name=name)

    def _check_credentials(self, request: Request, name: str) -> None:
        if request.access_key is None:
            if request.service == "s3":
                raise ApiError("AccessDenied", "Access Denied", status=403)
            code = "MissingAuthenticationToken" + ("Exception" if request.target else "")
            raise ApiError(code, "Missing Authentication Token", status=403)
        if self.guard is not None:
            self.guard.identify(request)
        expired = self.platform.gateway.has_expired(request.access_key)
        if expired or self._taken("expire_credentials", request, name) is not None:
            if request.service == "s3":
                raise ApiError("ExpiredToken", "The provided token has expired.")
            code, status = ("ExpiredTokenException", 400) if request.target else ("ExpiredToken", 403)
            raise ApiError(code, "The security token included in the request is expired", status=status)

    def _planned_refusals(self, request: Request, name: str) -> None:
        if self._taken("throttle", request, name) is not None:
            raise throttled(request)
        fault = self._taken("server_error", request, name)
        if fault is not None:
            status = int(fault.get("status", 500))
            code = {500: "InternalError", 503: "ServiceUnavailable"} if request.service == "s3" else {}
            raise ApiError(code.get(status, "InternalFailure"), "Planned by a fault of the sandbox.", status=status)
        conditional = request.service == "s3" and request.mutating and any(c in request.environ for c in _CONDITIONS)
        if conditional and self._taken("conflict", request, name) is not None:
            raise ApiError(
                "ConditionalRequestConflict",
                "The conditional request cannot succeed due to a conflicting operation against this resource.",
                status=409,
            )


def throttled(request: Request) -> ApiError:
    """Return the throttling error of the service that a request is for."""
    if request.service == "s3":
        return ApiError("SlowDown", "Please reduce your request rate.", status=503)
    json_protocol = request.target or request.service == "scheduler"
    return ApiError("ThrottlingException" if json_protocol else "Throttling", "Rate exceeded")


def _job_name(document: Any) -> str:
    if not isinstance(document, dict):
        return ""
    return str(document.get("TrainingJobName") or document.get("ProcessingJobName") or "")


def foreign(environ: Environ) -> str | None:
    """Say why a request must come from a web page and not from an SDK (DNS rebinding, cross-site), or return None."""
    host = environ.get("HTTP_HOST", "")
    if host and not _is_loopback(urlsplit(f"//{host}").hostname):
        return f"The Host header {host!r} is not a loopback name."
    origin = environ.get("HTTP_ORIGIN")
    if origin and not _is_loopback(urlsplit(origin).hostname):
        return f"Requests of the web page {origin!r} are refused."
    return None


def _is_loopback(name: str | None) -> bool:
    if name == "localhost" or (name or "").endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False


def _to_path_style(environ: Environ) -> None:
    """Turn a virtual-hosted S3 address (``bucket.localhost``) into the path style."""
    match = _VIRTUAL_HOST.fullmatch(environ.get("HTTP_HOST", ""))
    if match and match["bucket"] != "s3":
        environ["HTTP_HOST"] = environ["HTTP_HOST"].removeprefix(match["bucket"] + ".").removeprefix("s3.")
        for name in ("PATH_INFO", "REQUEST_URI"):
            environ[name] = f"/{match['bucket']}{environ.get(name) or '/'}"


def bind(port: int, *, host: str = _LOOPBACK) -> socket.socket:
    """Return a listening TCP socket on the loopback interface; 0 is any free port."""
    if not ipaddress.ip_address(host).is_loopback:
        raise SandboxError(
            "sandbox.not_loopback",
            f"The sandbox does not listen on {host}: it has no sign-in and runs the code of whoever reaches it.",
            next_step="Leave the address out; to reach it from another machine, use an SSH tunnel.",
        )
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)  # until then another process could bind the same port
    except OSError as error:
        listener.close()
        raise SandboxError(
            "sandbox.port_taken",
            f"Port {port} on {host} cannot be used: {error.strerror}.",
            next_step="Choose another with --port (0: any free one); `clary sandbox status` shows a running sandbox.",
        ) from error
    return listener
