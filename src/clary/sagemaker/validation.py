"""Checking a request before it is sent. The same findings serve the client and the answers of the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary.errors import ValidationError
from clary.sagemaker.findings import Finding, Kind, Severity, errors_of
from clary.sagemaker.limits import model_findings
from clary.sagemaker.rules import rule_findings

if TYPE_CHECKING:
    from collections.abc import Mapping


def validate(operation: str, request: Mapping[str, Any]) -> list[Finding]:
    """Return every finding about ``request``, errors and warnings: limits of the model first, then the other rules.

    Raises KeyError for an operation that the loaded botocore model does not have.
    """
    found = model_findings(operation, request)
    # What an older model still calls required is said once.
    missing = {finding.path for finding in found if finding.kind is Kind.REQUIRED}
    return found + [finding for finding in rule_findings(operation, request) if finding.path not in missing]


def check(operation: str, request: Mapping[str, Any]) -> list[Finding]:
    """Return the warnings about ``request``.

    Raises ValidationError ``sagemaker.invalid_request`` when anything in it breaks a limit: ``field`` is the first
    path, ``details["findings"]`` holds every error.
    """
    findings = validate(operation, request)
    errors = errors_of(findings)
    if errors:
        raise refusal(operation, errors)
    return [finding for finding in findings if finding.severity is Severity.WARNING]


def refusal(operation: str, errors: list[Finding]) -> ValidationError:
    """Return the error that says all of ``errors``, the findings that stop a request of the operation."""
    first, count = errors[0], len(errors)
    if count == 1:
        summary, next_step = first.message, first.next_step
    else:
        listed = "".join(f"\n  - {finding.message} {finding.next_step}" for finding in errors)
        summary = f"The request for {operation} breaks {count} limits:{listed}"
        next_step = f"Correct the {count} values; {operation} was not called."
    return ValidationError(
        "sagemaker.invalid_request",
        summary,
        next_step=next_step,
        field=first.path,
        details={"operation": operation, "findings": [finding.to_dict() for finding in errors]},
    )
