"""The errors of Kitaru 0.21, for ``except`` clauses that name them. Each is a ``ClaryError``: code and next step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from clary.errors import (
    AwsError,
    ClaryError,
    DivergenceError,
    JournalError,
    RunError,
    RunTimeoutError,
    UsageError,
    ValidationError,
)
from clary.kitaru.statuses import ExecutionStatus


class FailureOrigin(StrEnum):
    """Where the cause of a failure lies, in Kitaru's words."""

    USER_CODE = "user_code"
    RUNTIME = "runtime"
    BACKEND = "backend"
    DIVERGENCE = "divergence"
    UNKNOWN = "unknown"


class KitaruError(ClaryError):
    """Root of the errors that ``clary.kitaru`` raises; a project raises them with a message alone."""

    def __init__(self, code: str = "", summary: str | None = None, *, next_step: str = "", **more: Any) -> None:
        if summary is None:
            code, summary = "kitaru.raised", code
        super().__init__(code, summary, next_step=next_step, **more)

    def __str__(self) -> str:
        return super().__str__() if self.next_step else self.summary


class KitaruUsageError(KitaruError, ValueError):
    """The call is wrong."""

    exit_code = 2


class KitaruWaitValidationError(KitaruUsageError):
    """The answer does not fit what the flow asks for."""


class KitaruStackIntegrationDependencyError(KitaruUsageError):
    """Never raised: AWS belongs to Clary, there is no integration to install."""


class KitaruContextError(KitaruError, RuntimeError):
    """The call is made in a place where it has no meaning."""


class KitaruStateError(KitaruError, RuntimeError):
    """The execution is in a state that does not allow this."""


class KitaruTimeoutError(KitaruStateError, TimeoutError):
    """Waiting took longer than allowed; the execution itself goes on."""

    def __init__(
        self,
        code: str = "",
        summary: str | None = None,
        *,
        exec_id: str | None = None,
        timeout_seconds: float | None = None,
        elapsed_seconds: float | None = None,
        last_status: str | None = None,
        **more: Any,
    ) -> None:
        given = {"run": exec_id, "timeout": timeout_seconds, "elapsed": elapsed_seconds, "status": last_status}
        super().__init__(code or "Waiting took too long.", summary, **_with_details(more, given))

    exec_id = property(lambda self: self.details.get("run"), doc="Id of the execution.")
    timeout_seconds = property(lambda self: self.details.get("timeout"), doc="Seconds that were allowed.")
    elapsed_seconds = property(lambda self: self.details.get("elapsed"), doc="Seconds that have passed.")
    last_status = property(lambda self: _status_in(self.details), doc="In which it was last seen.")


class KitaruRuntimeError(KitaruError, RuntimeError):
    """Something failed while an execution was started, run or read."""


class KitaruAmbiguousFlowResultError(KitaruRuntimeError):
    """Never raised: a flow's result is what the flow returns."""


class KitaruBackendError(KitaruRuntimeError):
    """AWS, or the record of the execution, refused or could not be reached."""


class KitaruLogRetrievalError(KitaruBackendError):
    """The output of an execution cannot be read."""


class KitaruNoExecutionError(KitaruRuntimeError, LookupError):
    """No execution is such a one: where Kitaru raises a plain LookupError."""


class KitaruExecutionError(KitaruRuntimeError):
    """An execution ended without a result."""

    def __init__(
        self,
        code: str = "",
        summary: str | None = None,
        *,
        exec_id: str | None = None,
        status: ExecutionStatus | str | None = None,
        failure_origin: FailureOrigin | None = None,
        **more: Any,
    ) -> None:
        given = {"run": exec_id, "status": status, "origin": failure_origin}
        super().__init__(code, summary, **_with_details(more, given))

    exec_id = property(lambda self: self.details.get("run"), doc="Id of the execution.")

    @property
    def status(self) -> ExecutionStatus | None:
        """How it ended."""
        return _status_in(self.details)

    @property
    def failure_origin(self) -> FailureOrigin:
        """Where the cause lies."""
        return FailureOrigin(self.details.get("origin", FailureOrigin.UNKNOWN))


class KitaruUserCodeError(KitaruExecutionError):
    """The flow's own code raised; the exception is the ``__cause__``, where it could be kept."""


class KitaruDivergenceError(KitaruExecutionError):
    """The flow does not do what its record says it did."""


class KitaruFeatureNotAvailableError(KitaruError, NotImplementedError):
    """The name exists so that a project finds out what to do in its place."""


def _status_in(details: Mapping[str, Any]) -> ExecutionStatus | None:
    found = details.get("status")
    return None if found is None else ExecutionStatus(found)


def _with_details(more: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an error with what was given for it by Kitaru's names among its details, plain data."""
    told = {name: str(one) if isinstance(one, str) else one for name, one in given.items() if one is not None}
    return {**more, "details": {**(more.get("details") or {}), **told}}


_ORIGINS = {"user_code": FailureOrigin.USER_CODE} | dict.fromkeys(
    ("capacity", "quota", "throttled", "internal", "interrupted", "spot_wait", "permission", "image"),
    FailureOrigin.BACKEND,
)
_DIVERGED = "replay.diverged"


def origin_of(cause: str, code: str | None = None) -> FailureOrigin:
    """Return the origin for a cause of Clary's, and the code of the error behind it where that is known."""
    if code == _DIVERGED:
        return FailureOrigin.DIVERGENCE
    return _ORIGINS.get(cause, FailureOrigin.RUNTIME if cause != "unknown" else FailureOrigin.UNKNOWN)


def execution_error(error: ClaryError, run: str, status: ExecutionStatus) -> KitaruExecutionError:
    """Return the error of an execution that has ended without a result."""
    behind = getattr(error.__cause__, "code", None)
    origin = origin_of(str(error.details.get("cause", "unknown")), behind)
    kinds: dict[FailureOrigin, type[KitaruExecutionError]] = {
        FailureOrigin.USER_CODE: KitaruUserCodeError,
        FailureOrigin.DIVERGENCE: KitaruDivergenceError,
    }
    details = {**error.details, "run": run, "status": str(status), "origin": str(origin)}
    return kinds.get(origin, KitaruExecutionError)(
        error.code, error.summary, next_step=error.next_step, retry=error.retry, details=details
    )


@contextmanager
def translated() -> Iterator[None]:
    """Raise Kitaru's errors in place of Clary's; the code and the next step stay."""
    try:
        yield
    except KitaruError:
        raise
    except ClaryError as error:
        raise _translation(error) from error


def _translation(error: ClaryError) -> KitaruError:
    kinds: list[tuple[type[ClaryError], type[KitaruError]]] = [
        (DivergenceError, KitaruDivergenceError),
        (RunTimeoutError, KitaruTimeoutError),
        (RunError, KitaruExecutionError),
        (AwsError, KitaruBackendError),
        (JournalError, KitaruBackendError),
        (UsageError, KitaruUsageError),
    ]
    kind = next((theirs for ours, theirs in kinds if isinstance(error, ours)), KitaruRuntimeError)
    if error.code in _STATE:
        kind = KitaruStateError
    if error.code in _CONTEXT:
        kind = KitaruContextError
    if error.code in _BACKEND:
        kind = KitaruBackendError
    if isinstance(error, ValidationError):
        kind = KitaruWaitValidationError if error.code == "wait.bad_answer" else KitaruUsageError
    shown: dict[str, Any] = {"field": error.field, "retry": error.retry, "details": error.details}
    return kind(error.code, error.summary, next_step=error.next_step, **shown)


_BACKEND = frozenset({"run.not_found", "run.ambiguous"})
_CONTEXT = frozenset({"flow.none_running", "checkpoint.outside_flow", "wait.in_checkpoint", "sleep.in_checkpoint"})
_STATE = frozenset(
    {
        "replay.ambiguous_call",
        "replay.no_such_call",
        "run.is_completed",
        "run.is_live",
        "run.is_waiting",
        "run.not_failed",
        "run.not_waiting",
        "stack.is_current",
        "stack.is_local",
        "stack.not_found",
        "wait.answered",
        "wait.not_found",
    }
)
