"""One call of an AWS service that speaks JSON, from inside the job: credentials, signature, one further try.

Sources: the container credentials provider (SDKs and Tools reference guide), which SageMaker's containers have; the
AWS JSON 1.1 protocol.
"""

from __future__ import annotations

import json
import os
import random
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clary.errors import AwsError, PermissionDeniedError, Retry, ThrottledError
from clary.runtime.signing import Credentials, signed_headers

TIMEOUT = 10.0
"""Seconds without a byte of answer."""
PAUSE = 1.0
"""Seconds, at most, before the one further try."""
_CONTAINER_ADDRESS = "http://169.254.170.2"
_PLAIN_HTTP_HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
"""Where credentials may be asked for without TLS; the rule of the SDKs."""
_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded"}
)
_DENIED = frozenset({"AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "ExpiredTokenException"})


@dataclass(frozen=True)
class Service:
    """A service as botocore resolved it when the job was submitted."""

    name: str
    """As requests are signed for it, such as ``ssm``."""
    target: str
    """What its operations' names begin with in ``X-Amz-Target``."""
    endpoint: str
    region: str


@dataclass(frozen=True)
class _Request:
    """One request, before it is signed."""

    operation: str
    url: str
    body: bytes
    headers: dict[str, str]
    resource: str
    method: str = "POST"


def call(service: Service, operation: str, arguments: dict[str, Any], *, resource: str) -> dict[str, Any]:
    """Call an operation and return its answer; throttling, faults of the service and of the network get one more try.

    ``resource`` is what it is about, for the errors: PermissionDeniedError (``secret.forbidden``), ThrottledError
    (``secret.throttled``), AwsError (``secret.unreachable``; ``secret.refused`` for whatever else the service says, its
    ``details`` hold the service's code and text).
    """
    url = service.endpoint if urlsplit(service.endpoint).path else f"{service.endpoint}/"
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{service.target}.{operation}"}
    return _twice(service, _Request(operation, url, json.dumps(arguments).encode(), headers, resource))


def call_rest(
    service: Service,
    operation: str,
    method: str,
    path: str,
    arguments: dict[str, Any] | None = None,
    *,
    resource: str,
) -> dict[str, Any]:
    """Do as ``call`` does with a service whose protocol is REST-JSON; ``path`` holds the query too."""
    body = b"" if arguments is None else json.dumps(arguments).encode()
    url = f"{service.endpoint.rstrip('/')}{path}"
    return _twice(service, _Request(operation, url, body, {"Content-Type": "application/json"}, resource, method))


def _twice(service: Service, request: _Request) -> dict[str, Any]:
    try:
        return _once(service, request)
    except AwsError as error:
        if error.retry is not Retry.LATER:
            raise
    time.sleep(random.uniform(0.5, 1) * PAUSE)
    return _once(service, request)


def _once(service: Service, wanted: _Request) -> dict[str, Any]:
    keys = find_credentials()
    signed = signed_headers(
        wanted.url,
        wanted.headers,
        wanted.body,
        keys,
        region=service.region,
        service=service.name,
        method=wanted.method,
    )
    request = urllib.request.Request(  # noqa: S310 - the endpoint is from the spec
        wanted.url, data=wanted.body or None, headers=signed, method=wanted.method
    )
    try:
        with _opener().open(request, timeout=TIMEOUT) as answer:
            return dict(json.loads(answer.read() or b"{}"))
    except urllib.error.HTTPError as error:
        kind = str(error.headers.get("x-amzn-ErrorType") or "")
        raise _refusal(service, wanted, error.code, kind, error.read()) from None
    except (OSError, ValueError, HTTPException) as error:  # the network, TLS, or an answer that is no JSON
        raise _unreachable(service, wanted.operation, error) from None


def find_credentials() -> Credentials:
    """Return the keys of the environment, else those of the container's role.

    Raises PermissionDeniedError (``secret.no_credentials``), AwsError (``secret.unreachable``).
    """
    access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        return Credentials(access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or None)
    relative = os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = f"{_CONTAINER_ADDRESS}{relative}" if relative else os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not url or not _may_be_asked(url):
        raise PermissionDeniedError(
            "secret.no_credentials",
            "The job has no AWS credentials.",
            next_step="SageMaker gives a container those of its execution role; check that nothing in the image or "
            "the settings changes AWS_CONTAINER_CREDENTIALS_RELATIVE_URI.",
        )
    request = urllib.request.Request(url, headers=_authorization())  # noqa: S310 - checked above
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    try:
        with direct.open(request, timeout=TIMEOUT) as answer:
            given = json.loads(answer.read())
            return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given.get("Token"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AwsError(
            "secret.unreachable",
            f"The credentials of the job's role could not be had: {type(error).__name__}.",
            next_step="Resume the run; if it goes on, check the container's network.",
            retry=Retry.LATER,
        ) from None


def _may_be_asked(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _PLAIN_HTTP_HOSTS)


def _authorization() -> dict[str, str]:
    file = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    try:
        token = Path(file).read_text().strip() if file else os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    except OSError:
        token = ""
    return {"Authorization": token} if token else {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signed request goes nowhere but where it was sent."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""
        return


def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())


def _refusal(service: Service, wanted: _Request, status: int, kind: str, body: bytes) -> Exception:
    resource = wanted.resource
    try:
        said = json.loads(body)
        code = str(said.get("__type") or kind.partition(":")[0]).rpartition("#")[2]
        text = str(said.get("message") or said.get("Message") or "")[:500]
    except (ValueError, AttributeError):
        code, text = kind.partition(":")[0], ""
    action = f"{service.name}:{wanted.operation}"
    if code in _THROTTLED or status == 429:
        return ThrottledError(
            "secret.throttled",
            f"AWS takes no more {action} for the moment.",
            next_step="Resume the run in a minute.",
        )
    if code in _DENIED or status == 403:
        return PermissionDeniedError(
            "secret.forbidden",
            f"The job's role may not do {action} on {resource}: {text or code}",
            next_step=f"Allow {action} on {resource} in a policy of the execution role, and kms:Decrypt if a key of "
            "your own encrypts it; then resume the run.",
            details={"action": action, "resource": resource, "service_code": code, "service_text": text},
        )
    if status >= 500:
        return AwsError(
            "secret.unreachable",
            f"{service.endpoint} failed to do {action} (HTTP {status}).",
            next_step="Resume the run in a minute; if it goes on, look at the AWS Health Dashboard.",
            retry=Retry.LATER,
        )
    return AwsError(
        "secret.refused",
        f"{action} on {resource} was refused: {code or f'HTTP {status}'}: {text}",
        next_step="Correct what the service names. If a key of your own encrypts it, the execution role needs "
        "kms:Decrypt with that key.",
        details={"resource": resource, "service_code": code, "service_text": text},
    )


def _unreachable(service: Service, operation: str, error: Exception) -> AwsError:
    reason = getattr(error, "reason", None) or error
    certificates = isinstance(reason, ssl.SSLError)
    return AwsError(
        "secret.unreachable",
        f"{service.name}:{operation} could not be asked at {service.endpoint}: {reason}.",
        next_step="Install ca-certificates in the image, or name a bundle in AWS_CA_BUNDLE."
        if certificates
        else f"In a VPC without internet access, add an interface endpoint for {service.name}; then resume the run.",
        retry=Retry.NO if certificates else Retry.LATER,
        details={"endpoint": service.endpoint},
    )
