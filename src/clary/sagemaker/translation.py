"""What botocore raises, as the errors that Clary shows."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from clary.errors import AwsError, ClaryError, ConfigError, PermissionDeniedError, Retry, ValidationError
from clary.sagemaker.refusals import Refusal, not_authorized, told

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_BEHIND = {
    "AssumeRole": "sts",
    "AssumeRoleWithWebIdentity": "sts",
    "GetRoleCredentials": "sso",
    "CreateToken": "sso-oauth",
}
"""Operations by which botocore gets keys while it does something else, with the prefix of their action."""


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
        "Choose one that `aws configure list-profiles` lists, or make it with `aws configure --profile {profile}`.",
    ),
    _Cause(
        "SSOError TokenRetrievalError",
        PermissionDeniedError,
        "aws.sign_in_expired",
        "The AWS sign-in is missing or has expired: {text}",
        "Run `aws sso login{with_profile}`, and try again.",
    ),
    _Cause(
        "LoginError",
        PermissionDeniedError,
        "aws.sign_in_expired",
        "The AWS sign-in is missing or has expired: {text}",
        "Run `aws login{with_profile}`, and try again.",
    ),
    _Cause(
        "InvalidConfigError InfiniteLoopConfigError UnknownCredentialError",
        ConfigError,
        "aws.bad_profile",
        "The AWS profile cannot be used: {text}",
        "Correct the profile in the AWS config file (~/.aws/config), as the text says.",
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
def aws_errors(
    action: str, *, resource: str | None = None, endpoint: str | None = None, profile: str | None = None
) -> Iterator[None]:
    """Translate what botocore raises inside the block.

    ``action`` is what is being done, as an IAM action (``s3:PutObject``) or an operation of SageMaker
    (``CreateTrainingJob``); ``resource`` what it is done to, in words or as an ARN; ``endpoint`` where it is sent;
    ``profile`` the AWS profile in use, for a next step.
    """
    try:
        yield
    except ClaryError:
        raise
    except Exception as exc:
        translated = translate(exc, action=action, resource=resource, endpoint=endpoint, profile=profile)
        if translated is None:
            raise
        raise translated from exc


def translate(
    exc: Exception,
    *,
    action: str,
    resource: str | None = None,
    endpoint: str | None = None,
    profile: str | None = None,
) -> ClaryError | None:
    """Return the error to show for what botocore raised; None for anything else. Arguments as in ``aws_errors``."""
    from botocore.exceptions import BotoCoreError, ClientError

    action = action if ":" in action else f"sagemaker:{action}"
    if isinstance(exc, ClientError):
        return _answered(exc, action, resource)
    if not isinstance(exc, BotoCoreError):
        return None
    where = exc.kwargs.get("endpoint_url") or endpoint or exc.kwargs.get("proxy_url")
    where = _origin(where) if where else None
    cause = next(cause for cause in _CAUSES if cause.covers(exc))
    words = {
        "action": action,
        "where": where or "the endpoint of AWS",
        "text": exc,
        "profile": exc.kwargs.get("profile", ""),
        "path": exc.kwargs.get("path", ""),
        "with_profile": f" --profile {profile}" if profile else "",
    }
    next_step = cause.next_step.format(**words)
    if cause.code == "aws.unreachable" and where and is_loopback(where):
        next_step = f"Start what should listen at {where}, or correct the endpoint of the stack."
    details = {"endpoint": where} if where else None
    return cause.kind(
        cause.code, cause.summary.format(**words), next_step=next_step, retry=cause.retry, details=details
    )


def _answered(exc: ClientError, action: str, resource: str | None) -> ClaryError:
    """Return the error for an answer of a service, which need not be the one that was called first."""
    operation = str(exc.operation_name)
    behind = _BEHIND.get(operation)
    if behind and not action.endswith(f":{operation}"):
        action, resource = f"{behind}:{operation}", None
    refusal = Refusal.of(exc, action, resource)
    if action == "sts:AssumeRole" and refusal.code == "AccessDenied":
        return role_refused(exc, resource)
    if action == "sso:GetRoleCredentials" and refusal.code == "ForbiddenException":
        return PermissionDeniedError(
            "aws.sso_role_denied",
            "The sign-in is good, but has no access to the account and role that the AWS profile names.",
            next_step="Correct sso_account_id and sso_role_name in it, or ask whoever assigns permission sets.",
            details=refusal.details,
        )
    if operation.startswith("Head") and refusal.code == "400":
        return PermissionDeniedError(
            "aws.expired_credentials",
            f"S3 refused {action} without a reason, as it does when the credentials have expired.",
            next_step="Renew them (for example `aws sso login`, or new keys in the environment), and try again.",
            details=refusal.details,
        )
    return told(refusal)


def role_refused(
    exc: ClientError, role: str | None, *, external_id: str | None = None, caller: str | None = None
) -> ClaryError:
    """Return the error for a refused AssumeRole: which role, who asked, and the statement that its trust policy lacks.

    STS says the same of a role that is not there, of a trust policy that does not name the caller, and of an external
    id that is wrong; so all of them are named. Other refusals (throttling…) are told as anywhere.
    """
    refusal = Refusal.of(exc, "sts:AssumeRole", role)
    if refusal.code != "AccessDenied":
        return told(refusal)
    named = not_authorized(refusal.text)
    caller = caller or (named.principal if named else None)
    role = role or (named.resource if named else None) or "of the profile"
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": _principal(caller)},
        "Action": "sts:AssumeRole",
    }
    if external_id is not None:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
        hint = "The external id must be the one that is there already, if any."
    else:
        hint = "If it asks for an external id (sts:ExternalId), give that one too."
    return PermissionDeniedError(
        "aws.assume_role_denied",
        f"The role {role} may not be assumed by {caller or 'the identity in use'}, or there is no such role.",
        next_step=f"Check the role's ARN, and that its trust policy holds {json.dumps(statement)}. {hint} A caller of "
        f"another account also needs a policy that allows sts:AssumeRole on the role.",
        details=refusal.details | {"role": role, "caller": caller, "trust_statement": statement},
    )


def _principal(caller: str | None) -> str:
    """Return who a trust policy has to name: for a role's session that is the role. Its path is not in the session."""
    if not caller:
        return "ARN of the caller"
    parts = caller.split(":", 5)
    if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        return f"arn:{parts[1]}:iam::{parts[4]}:role/{parts[5].split('/')[1]}"
    return caller


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
