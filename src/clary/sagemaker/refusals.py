"""A service's answer that says no, as the error that Clary shows.

Sources: the common errors of the AWS APIs, the error shapes of SageMaker, S3 and STS in the botocore model, and the
texts that the services send.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.errors import (
    AwsError,
    ClaryError,
    ConfigError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    Retry,
    ThrottledError,
    ValidationError,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_NOT_AUTHORIZED = re.compile(
    r"(?:User: )?(?P<principal>arn:\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on resource: (?:\"(?P<quoted>[^\"]+)\"|(?P<bare>\S+)))?"
)
_EXPLICIT_DENY = re.compile(r"explicit deny(?: in an? (?P<policy>[\w -]+?) policy\b)?")
_QUOTA = re.compile(
    r"service limit '(?P<name>[^']+)' is (?P<limit>\d+(?:\.\d+)?)\b.*?"
    r"current utilization of (?P<used>\d+(?:\.\d+)?)\b.*?request delta of (?P<wanted>\d+(?:\.\d+)?)\b",
    re.DOTALL,
)
_NOT_FOUND_TEXT = re.compile(r"not found|could not find|does not exist", re.IGNORECASE)
_ROLE_TEXT = re.compile(r"could not assume role|cannot be assumed|not authorized to assume", re.IGNORECASE)
_LONGEST_TEXT = 1000


@dataclass(frozen=True)
class Refusal:
    """An answer of a service that says no."""

    code: str
    text: str
    status: int
    action: str
    """As IAM writes it, e.g. ``sagemaker:CreateTrainingJob``."""
    resource: str | None
    request_id: str

    @classmethod
    def of(cls, exc: ClientError, action: str, resource: str | None) -> Refusal:
        """Read the answer that botocore raised."""
        error = exc.response.get("Error", {})
        answer = exc.response.get("ResponseMetadata", {})
        text = str(error.get("Message") or "")[:_LONGEST_TEXT]
        status, request_id = int(answer.get("HTTPStatusCode", 0)), str(answer.get("RequestId", ""))
        return cls(str(error.get("Code", "Unknown")), text, status, action, resource, request_id)

    def filled(self, template: str) -> str:
        """Return a sentence of the table below with this refusal's words in it."""
        what = self.resource or "what was asked for"
        sentence = template.format(action=self.action, words=self.text or self.code, code=self.code, resource=what)
        # An action's name stays as IAM writes it.
        return sentence if template.startswith("{action}") else sentence[:1].upper() + sentence[1:]

    @property
    def details(self) -> dict[str, Any]:
        """The raw answer, kept with the error."""
        return {
            "action": self.action,
            "service_code": self.code,
            "service_text": self.text,
            "request_id": self.request_id,
        }


@dataclass(frozen=True)
class Denial:
    """Who may not do what, and on what, as IAM words it."""

    principal: str
    action: str
    resource: str | None


def not_authorized(text: str) -> Denial | None:
    """Return what a refusal for want of rights names; None for any other text."""
    found = _NOT_AUTHORIZED.search(text)
    if found is None:
        return None
    resource = found["quoted"] or (found["bare"] or "").rstrip(".,")
    return Denial(found["principal"], found["action"], resource or None)


@dataclass(frozen=True)
class _Said:
    """How one sort of refusal is told."""

    kind: type[ClaryError]
    code: str
    summary: str
    next_step: str
    retry: Retry | None = None

    def tell(self, refusal: Refusal) -> ClaryError:
        return self.kind(
            self.code,
            refusal.filled(self.summary),
            next_step=self.next_step,
            retry=self.retry,
            details=refusal.details,
        )


_INVALID = _Said(
    ValidationError,
    "aws.invalid_request",
    "{action} was refused: {words}",
    "Correct what the service names, and try again.",
)
_NOT_FOUND = _Said(
    NotFoundError,
    "aws.not_found",
    "{resource} was not found ({action}): {words}",
    "Check the name, the region and the account.",
)
_ROLE = _Said(
    PermissionDeniedError,
    "aws.role_not_assumable",
    "SageMaker cannot assume the execution role: {words}",
    "Check that the role exists, that its trust policy allows sts:AssumeRole to sagemaker.amazonaws.com, "
    "and, if it was made a moment ago, try again in a minute.",
)
_SERVICE_ERROR = _Said(
    AwsError,
    "aws.service_error",
    "AWS failed while it did {action} ({code}): {words}",
    "Try again; if it goes on, look at the AWS Health Dashboard.",
    Retry.LATER,
)
_OTHER = _Said(
    AwsError,
    "aws.refused",
    "{action} was refused ({code}): {words}",
    "Correct what the service names, and try again.",
)

_TABLE: dict[str, _Said] = {
    "ExpiredToken ExpiredTokenException": _Said(
        PermissionDeniedError,
        "aws.expired_credentials",
        "the AWS credentials have expired ({action}).",
        "Renew them (for example `aws sso login`, or new keys in the environment), and try again.",
    ),
    "InvalidClientTokenId UnrecognizedClientException InvalidAccessKeyId SignatureDoesNotMatch AuthFailure "
    "InvalidToken InvalidSignatureException IncompleteSignature MissingAuthenticationToken": _Said(
        PermissionDeniedError,
        "aws.invalid_credentials",
        "AWS does not accept the credentials ({code}): {words}",
        "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile of the stack.",
    ),
    "RequestExpired RequestTimeTooSkewed RequestInTheFuture": _Said(
        PermissionDeniedError,
        "aws.clock_skew",
        "AWS takes the request for too old or too new: {words}",
        "Set this machine's clock.",
    ),
    "ThrottlingException Throttling ThrottledException RequestThrottled RequestThrottledException SlowDown "
    "TooManyRequestsException RequestLimitExceeded BandwidthLimitExceeded PriorRequestNotComplete 429": _Said(
        ThrottledError,
        "aws.throttled",
        "AWS takes no more {action} for the moment: {words}",
        "Try again in a minute; nothing was done.",
    ),
    "ResourceInUse ResourceInUseException ConflictException BucketAlreadyExists BucketAlreadyOwnedByYou "
    "ResourceAlreadyExistsException": _Said(
        ConflictError,
        "aws.conflict",
        "{resource} exists already or is in use ({action}): {words}",
        "Use another name, or look at what is there.",
    ),
    "ResourceNotFound ResourceNotFoundException NotFoundException NoSuchKey NoSuchEntity "
    "RepositoryNotFoundException 404": _NOT_FOUND,
    "NoSuchBucket": _Said(
        NotFoundError,
        "aws.bucket_not_found",
        "the bucket does not exist ({resource}, {action}).",
        "Make the bucket, or correct its name.",
    ),
    "PermanentRedirect AuthorizationHeaderMalformed 301": _Said(
        ConfigError,
        "aws.other_region",
        "{resource} lies in another region ({action}): {words}",
        "Name the region of the bucket in the stack, or use a bucket in the stack's region.",
    ),
    "InvalidParameterException InvalidParameterValue SerializationException MalformedInput 400": _INVALID,
    "InternalFailure InternalServerError InternalServerException InternalError ServiceUnavailable": _SERVICE_ERROR,
}
_BY_CODE = {code: said for codes, said in _TABLE.items() for code in codes.split()}
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "AuthorizationError", "403"}
)
_QUOTAS = frozenset(
    {"ResourceLimitExceeded", "LimitExceededException", "LimitExceeded", "ServiceQuotaExceededException"}
)


def told(refusal: Refusal) -> ClaryError:
    """Return the error to show for a refusal."""
    if refusal.code in _DENIED:
        return _denied(refusal)
    if refusal.code in _QUOTAS:
        return _quota(refusal)
    if refusal.code in ("ValidationException", "ValidationError"):
        return _by_text(refusal).tell(refusal)
    said = _BY_CODE.get(refusal.code)
    if said is not None:
        return said.tell(refusal)
    if refusal.status == 403:
        return _denied(refusal)
    return (_SERVICE_ERROR if refusal.status >= 500 else _OTHER).tell(refusal)


def _by_text(refusal: Refusal) -> _Said:
    """SageMaker says ValidationException of a bad field, of a missing job and of a role it cannot assume alike."""
    if _ROLE_TEXT.search(refusal.text):
        return _ROLE
    return _NOT_FOUND if _NOT_FOUND_TEXT.search(refusal.text) else _INVALID


def _denied(refusal: Refusal) -> ClaryError:
    named = not_authorized(refusal.text)
    action = named.action if named else refusal.action
    # S3 puts the resource in quotes, for a key may hold spaces.
    resource = (named.resource if named else None) or refusal.resource or "*"
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    denial = _EXPLICIT_DENY.search(refusal.text)
    if denial:
        policy = f"{denial['policy']} policy" if denial["policy"] else "policy"
        next_step = f"A {policy} denies {action} explicitly: ask whoever keeps it; an allowance elsewhere cannot help."
    else:
        whose = named.principal if named else "the identity in use, which `aws sts get-caller-identity` names"
        grant = f'{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}'
        next_step = f"Add {grant} to a policy of {whose}."
    return PermissionDeniedError(
        "aws.access_denied",
        f"{named.principal if named else 'The identity in use'} is not allowed {action} on {resource}.",
        next_step=next_step,
        details=refusal.details | {"statement": statement},
    )


def _quota(refusal: Refusal) -> ClaryError:
    named = _QUOTA.search(refusal.text)
    numbers: dict[str, Any] = {}
    summary, asked = refusal.filled("{action} reached a quota: {words}"), ""
    if named:
        numbers = {"quota": named["name"]} | {key: float(named[key]) for key in ("limit", "used", "wanted")}
        limit, used, wanted = numbers["limit"], numbers["used"], numbers["wanted"]
        summary = f"The quota '{named['name']}' is {limit:g}: {used:g} in use, {wanted:g} more wanted."
        asked = f" for '{named['name']}'"
    return QuotaError(
        "aws.quota_exceeded",
        summary,
        next_step=f"Ask for more{asked} in Service Quotas (Amazon SageMaker, this region), choose another instance "
        "type, or wait until other jobs end.",
        details=refusal.details | numbers,
    )
