"""How AWS words a refusal for want of permission, and with which code in each protocol.

Source: IAM User Guide, "Troubleshoot access denied error messages"; the common errors of the services' API references.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clary.sandbox.iam.evaluate import Decision, Verdict
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from clary.sandbox.iam.policy import Access
    from clary.sandbox.wire import Request

_INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105 - a text


def denial(arn: str, access: Access, decision: Decision) -> str:
    """Return the sentence that names who asked, the action, the resource and the kind of policy that decided."""
    resource = f'"{access.resource}"' if access.action.startswith("s3:") else access.resource
    head = f"User: {arn} is not authorized to perform: {access.action} on resource: {resource}"
    if decision.verdict is Verdict.EXPLICIT_DENY:
        article = "an" if decision.kind.value[0] in "aeiou" else "a"
        return f"{head} with an explicit deny in {article} {decision.kind}"
    return f"{head} because no {decision.kind} allows the {access.action} action"


def unlisted(arn: str, action: str) -> str:
    """Return the sentence for an operation that the table does not have."""
    return (
        f"User: {arn} is not authorized to perform: {action} on resource: * because the sandbox does not know which"
        " permissions this operation needs, and denies what it does not know while it enforces IAM policies"
    )


def refusal(request: Request, message: str) -> ApiError:
    """Return a denial in the protocol of the request."""
    if request.service == "ec2":
        text = f"You are not authorized to perform this operation. {message}"
        return ApiError("UnauthorizedOperation", text, status=403)
    if request.target and request.service != "sqs":
        return ApiError("AccessDeniedException", message, status=400)
    rest = not request.target and not request.action and request.service != "s3"
    return ApiError("AccessDeniedException" if rest else "AccessDenied", message, status=403)


def unknown_key(request: Request) -> ApiError:
    """Return the refusal of an access key that nobody has."""
    if request.service == "s3":
        text = "The AWS Access Key Id you provided does not exist in our records."
        return ApiError("InvalidAccessKeyId", text, status=403)
    if request.service == "ec2":
        text = "AWS was not able to validate the provided access credentials"
        return ApiError("AuthFailure", text, status=401)
    if request.target and request.service != "sqs":
        return ApiError("UnrecognizedClientException", _INVALID_TOKEN, status=400)
    rest = not request.target and not request.action
    return ApiError("UnrecognizedClientException" if rest else "InvalidClientTokenId", _INVALID_TOKEN, status=403)
