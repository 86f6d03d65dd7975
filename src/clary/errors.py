"""The errors of Clary: one small tree, shown alike by the command line, Python and (later) the API and the page.

Every error has a stable ``code`` such as ``stack.not_found``, a one-line ``summary``, a ``next_step`` that a person can
take, a ``retry`` verdict, and where it applies the ``field`` that is wrong. The catalogue of codes is
``docs/reference/errors.md``; a test holds the two together.

The tree::

    ClaryError
    ├── UsageError          the call or the command line is wrong
    ├── ConfigError         a setting, a file of settings or a stack is wrong
    ├── NotFoundError       the named thing does not exist
    ├── ConflictError       the thing exists already, or is in a state that does not allow this
    ├── ValidationError     a value breaks a published limit; carries every finding
    ├── SerializationError  a value cannot be kept, or cannot be read back
    ├── JournalError        the record of a run cannot be read or written
    │   └── DivergenceError the flow does not do what its record says it did
    ├── RunError            a run ended without a result
    │   ├── RunFailedError
    │   ├── RunStoppedError
    │   └── RunTimeoutError waiting for a run took too long; the run itself goes on
    ├── AwsError            AWS (or the sandbox) refused or could not be reached
    │   ├── PermissionDeniedError
    │   ├── ThrottledError
    │   └── QuotaError
    └── SandboxError        the local SageMaker could not do what was asked
    Interruption (BaseException)
    ├── Fenced              another attempt of this run has taken over
    ├── Suspended           the run waits for an answer or a time, and nothing need run meanwhile
    └── StopRequested       somebody asked this run to stop

An ``Interruption`` ends the process in an orderly way; it is not an ``Exception``, so user code does not swallow it.
This module runs inside the job: it imports nothing outside the standard library.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any


class Retry(StrEnum):
    """Whether doing the same again can help."""

    NO = "no"
    YES = "yes"
    LATER = "later"


class ClaryError(Exception):
    """Root of all errors that Clary raises on purpose."""

    exit_code = 1
    default_retry = Retry.NO

    def __init__(
        self,
        code: str,
        summary: str,
        *,
        next_step: str,
        field: str | None = None,
        retry: Retry | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(code, summary)
        self.code = code
        self.summary = summary
        self.next_step = next_step
        self.field = field
        self.retry = self.default_retry if retry is None else retry
        self.details = details or {}

    def __str__(self) -> str:
        return f"{self.summary}\n  Next step: {self.next_step} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain data, the form of ``-o json`` and of the records."""
        shown: dict[str, Any] = {
            "code": self.code,
            "type": type(self).__name__,
            "message": self.summary,
            "next_step": self.next_step,
            "retry": str(self.retry),
        }
        if self.field is not None:
            shown["field"] = self.field
        if self.details:
            shown["details"] = self.details
        return shown


def _rebuild(kind: type[ClaryError], data: dict[str, Any]) -> ClaryError:
    return kind(
        data["code"],
        data["message"],
        next_step=data["next_step"],
        field=data.get("field"),
        retry=Retry(data["retry"]),
        details=data.get("details"),
    )


class UsageError(ClaryError):
    """The call or the command line is wrong."""

    exit_code = 2


class ConfigError(ClaryError):
    """A setting, a file of settings or a stack is wrong."""


class NotFoundError(ClaryError):
    """The named thing does not exist."""


class ConflictError(ClaryError):
    """The thing exists already, or is in a state that does not allow this."""


class ValidationError(ClaryError):
    """A value breaks a published limit. ``details["findings"]`` holds every finding."""


class SerializationError(ClaryError):
    """A value cannot be kept, or cannot be read back."""


class JournalError(ClaryError):
    """The record of a run cannot be read or written."""

    default_retry = Retry.LATER


class DivergenceError(JournalError):
    """The flow does not do what its record says it did."""

    default_retry = Retry.NO


class RunError(ClaryError):
    """A run ended without a result."""


class RunFailedError(RunError):
    """The run failed; ``details["cause"]`` says why."""


class RunStoppedError(RunError):
    """The run was stopped."""


class RunTimeoutError(RunError):
    """Waiting took longer than allowed; the run itself goes on."""

    default_retry = Retry.LATER


class AwsError(ClaryError):
    """AWS, or the sandbox, refused or could not be reached."""


class PermissionDeniedError(AwsError):
    """The credentials may not do this."""


class ThrottledError(AwsError):
    """Too many requests; nothing was done."""

    default_retry = Retry.LATER


class QuotaError(AwsError):
    """An account quota is used up; nothing was done."""

    default_retry = Retry.LATER


class SandboxError(ClaryError):
    """The local SageMaker could not do what was asked."""


class Interruption(BaseException):
    """Ends the process in an orderly way. Not an ``Exception``: user code must not swallow it."""


class Fenced(Interruption):
    """Another attempt of this run has taken over; this process may record nothing more."""


class Suspended(Interruption):
    """The run waits, and nothing need run meanwhile."""

    def __init__(self, on: list[str], until: float | None) -> None:
        super().__init__("the run waits")
        self.on = on
        """Paths of what it waits for."""
        self.until = until
        """Epoch seconds at which it goes on in any case; None: only an answer wakes it."""


class StopRequested(Interruption):
    """Somebody asked this run to stop."""


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known word that was probably meant, for the next step of an error; None when none is near.

    ``cutoff`` is how alike they must be, from 0 to 1, whatever the case of their letters.
    """
    import difflib  # only a mistake pays for it

    by_folded = {entry.casefold(): entry for entry in known}
    close = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=cutoff)
    return by_folded[close[0]] if close else None
