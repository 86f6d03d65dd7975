"""What botocore raises, as the errors that Clary shows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from clary.errors import AwsError, ClaryError, ConfigError, PermissionDeniedError, Retry, ValidationError
from clary.sagemaker.refusals import Refusal, told


class _Cause(NamedTuple):
    """How an error of botocore's own, without an answer of a service, is told."""

    raised: str
    """Names of botocore's classes; their subclasses count too."""
    kind: type[ClaryError]
    code: str
    summary: str
    next_step: str
    retry: Retry = Retry.NO

    def covers(self, exc: Exception) -> bool:
        return not {base.__name__ for base in type(exc).__mro__}.isdisjoint(self.raised.split())


# The first that covers an error counts. By name, for botocore is heavy to import and not every version has them all.
_CAUSES = (
    _Cause(
        "NoCredentialsError",
        PermissionDeniedError,
        "aws.no_credentials",
        "There are no AWS credentials.",
        "Sign in (`aws sso login` or `aws configure`), set AWS_PROFILE, or name a profile in the stack.",
    ),
    _Cause(
        "PartialCredentialsError",
        PermissionDeniedError,
        "aws.incomplete_credentials",
        "The AWS credentials are incomplete: {text}",
        "Give both the key id and the secret key.",
    ),
    _Cause(
        "ProfileNotFound",
        ConfigError,
        "aws.profile_not_found",
        "There is no AWS profile named '{profile}'.",
        "Choose one that `aws configure list-profiles` lists.",
    ),
    _Cause(
        "SSOError TokenRetrievalError LoginError",
        PermissionDeniedError,
        "aws.sign_in_expired",
        "The AWS sign-in is missing or has expired: {text}",
        "Run `aws sso login` (with --profile NAME where you use one), and try again.",
    ),
    _Cause(
        "CredentialRetrievalError",
        PermissionDeniedError,
        "aws.credentials_failed",
        "The AWS credentials could not be had: {text}",
        "Check the source that the text names.",
        Retry.LATER,
    ),
    _Cause(
        "ConfigParseError",
        ConfigError,
        "aws.bad_file",
        "A file of AWS settings cannot be read: {path}.",
        "Mend the file, or take it away and run `aws configure`; each section begins with a line such as [default].",
    ),
    _Cause(
        "NoRegionError",
        ConfigError,
        "aws.no_region",
        "No AWS region is known.",
        "Name the region in the stack, or set AWS_REGION.",
    ),
    _Cause(
        "UnknownRegionError InvalidRegionError",
        ConfigError,
        "aws.unknown_region",
        "AWS has no such region, as far as botocore knows: {text}",
        "Correct the region, e.g. eu-west-1; if it is new, upgrade boto3.",
    ),
    _Cause(
        "ParamValidationError",
        ValidationError,
        "aws.invalid_request",
        "The request for {action} is not well formed: {text}",
        "Correct the members that the text names.",
    ),
    _Cause(
        "SSLError",
        AwsError,
        "aws.tls_failed",
        "No secure connection to {where} ({action}): {text}",
        "If a proxy opens the traffic, name its certificates in AWS_CA_BUNDLE.",
    ),
    _Cause(
        "EndpointConnectionError ConnectTimeoutError ProxyConnectionError",
        AwsError,
        "aws.unreachable",
        "Nothing answers at {where} ({action}).",
        "Check the network, the proxy, the region, and in a VPC without internet access its endpoints.",
        Retry.LATER,
    ),
    _Cause(
        "ConnectionError HTTPClientError",
        AwsError,
        "aws.no_reply",
        "The connection to {where} broke before {action} was answered: {text}",
        "Look whether it was done all the same, then try again.",
        Retry.LATER,
    ),
    _Cause(
        "BotoCoreError",
        AwsError,
        "aws.client_failed",
        "{action} failed on this side: {text}",
        "Read the text of botocore; if it is about settings, see `aws configure list`.",
    ),
)


@contextmanager
def aws_errors(action: str, *, resource: str | None = None, endpoint: str | None = None) -> Iterator[None]:
    """Translate what botocore raises inside the block.

    ``action`` is what is being done, as an IAM action (``s3:PutObject``) or an operation of SageMaker
    (``CreateTrainingJob``); ``resource`` what it is done to, in words or as an ARN; ``endpoint`` where it is sent.
    """
    try:
        yield
    except ClaryError:
        raise
    except Exception as exc:
        translated = translate(exc, action=action, resource=resource, endpoint=endpoint)
        if translated is None:
            raise
        raise translated from exc


def translate(
    exc: Exception, *, action: str, resource: str | None = None, endpoint: str | None = None
) -> ClaryError | None:
    """Return the error to show for what botocore raised; None for anything else. Arguments as in ``aws_errors``."""
    from botocore.exceptions import BotoCoreError, ClientError

    action = action if ":" in action else f"sagemaker:{action}"
    if isinstance(exc, ClientError):
        return told(Refusal.of(exc, action, resource))
    if not isinstance(exc, BotoCoreError):
        return None
    where = exc.kwargs.get("endpoint_url") or endpoint or exc.kwargs.get("proxy_url")
    where = _origin(where) if where else None
    cause = next(cause for cause in _CAUSES if cause.covers(exc))
    summary = cause.summary.format(
        action=action,
        where=where or "the endpoint of AWS",
        text=exc,
        profile=exc.kwargs.get("profile", ""),
        path=exc.kwargs.get("path", ""),
    )
    next_step = cause.next_step
    if cause.code == "aws.unreachable" and where and is_loopback(where):
        next_step = f"Start what should listen at {where}, or correct the endpoint of the stack."
    details = {"endpoint": where} if where else None
    return cause.kind(cause.code, summary, next_step=next_step, retry=cause.retry, details=details)


def _origin(url: str) -> str:
    """Return scheme and host of a URL: botocore's may go on with the bucket, and a proxy's may hold a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else url


def is_loopback(url: str) -> bool:
    """Tell whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
