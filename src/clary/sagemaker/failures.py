"""Why a job ended: SageMaker's status, reason and exit code as an outcome, a cause and a next step. Pure.

Sources: the reference of DescribeTrainingJob (FailureReason, SecondaryStatus), the failure texts that the service
sends, the shell's exit codes (128 + n for signal n), and our own runtime, which leaves ``<cause>: <summary>`` and the
innermost frames in ``/opt/ml/output/failure``.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clary.errors import Retry
from clary.sagemaker.causes import BY_CAUSE, BY_EXIT_CODE, BY_TEXT, NATIVE_CODES, Explanation

if TYPE_CHECKING:
    from collections.abc import Sequence

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
"""TrainingJobStatus and ProcessingJobStatus of a job that is over."""
LOG_LINES = 12
"""Lines of the log that stand in for frames when a job left none."""

_ALGORITHM_ERROR = re.compile(r"\s*AlgorithmError:\s?(?P<text>.*?)(?:,?\s*exit code:\s*(?P<code>\d+))?\s*", re.DOTALL)
_OWN_FIRST_LINE = re.compile(r"(?P<cause>[a-z_]+): (?P<summary>.+)")
_OWN_NEXT_STEP = re.compile(r"(?P<summary>.*?) Next step: (?P<next_step>.*?)(?: \[[\w.]+\])?", re.DOTALL)
# The words of our runtime's supervisor, so that a user's own message about a signal is not taken for them.
_NAMED_SIGNAL = re.compile(r"The process (?:ended with |was killed by |was killed for want of memory \()(SIG[A-Z]+)")
_REFUSED = re.compile(r"\((AccessDenied\w*|UnauthorizedOperation)\) when calling|is not authorized to perform")
_NO_MEMORY = re.compile(
    r"\bMemoryError\b|OutOfMemoryError|CUDA out of memory|Cannot allocate memory|Unable to allocate [\d.]+ .?iB"
    r"|oom-kill|Out of memory|Memory cgroup out of memory|std::bad_alloc|use an instance type with more memory",
    re.IGNORECASE,
)
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Failure:
    """How a job ended, and what to do about it."""

    outcome: str
    """completed, failed, stopped, timed_out, interrupted or lost."""
    cause: str | None
    """user_code, out_of_memory, capacity, quota, throttled, interrupted, internal, permission, image, time_limit,
    spot_wait, stopped or unknown; None for a completed job."""
    summary: str
    next_step: str
    retry: Retry
    exit_code: int | None = None
    frames: tuple[str, ...] = ()
    """The useful frames, the innermost last; else the last lines of the log."""


def explain(
    status: str | None,
    secondary: str | None = None,
    failure_reason: str | None = None,
    exit_code: int | None = None,
    log_tail: Sequence[str] = (),
    *,
    stop_requested: bool = False,
    out_of_memory: bool = False,
) -> Failure:
    """Say how a job ended.

    Args:
        status: TrainingJobStatus, or None when Describe does not find the job.
        secondary: SecondaryStatus; it alone tells the three meanings of ``Stopped`` apart.
        failure_reason: FailureReason as Describe gives it.
        exit_code: of the container, where it is known from elsewhere; else it is read from the reason.
        log_tail: last lines of the log, oldest first.
        stop_requested: somebody asked this run to stop.
        out_of_memory: there is evidence from elsewhere (a metric) that memory ran out.

    Raises ValueError for a job that is not over.
    """
    if status is None:
        return _made("lost", "lost", "SageMaker does not know the job any more.")
    if status == "Completed":
        return Failure("completed", None, "The job completed.", "Nothing need be done.", Retry.NO, 0)
    if status == "Stopped":
        return _stopped(secondary)
    if status != "Failed":
        raise ValueError(f"a job that is {status} is not over")
    reason = (failure_reason or "").strip()
    text, told_code = _algorithm_error(reason)
    code = told_code if exit_code is None else exit_code
    evidence = out_of_memory or any(_NO_MEMORY.search(line) for line in log_tail)
    if text is None:
        found = _from_platform(reason)
    else:
        found = _from_own_file(text, code) or _from_container(text, code, log_tail, stop_requested, evidence)
    return found if found.frames else replace(found, frames=_from_log(log_tail))


def exit_code_of(failure_reason: str | None) -> int | None:
    """Return the container's exit code, where the reason tells it."""
    return _algorithm_error((failure_reason or "").strip())[1]


def _algorithm_error(reason: str) -> tuple[str | None, int | None]:
    """Return what the container left, and its exit code. The text is None when the reason is the platform's own."""
    told = _ALGORITHM_ERROR.fullmatch(reason)
    if told is None:
        return None, None
    text = told["text"].strip()
    if told["code"] is not None:
        return text, int(told["code"])
    named = _NAMED_SIGNAL.search(text.partition("\n")[0])
    return text, 128 + signal.Signals[named[1]].value if named and named[1] in signal.Signals.__members__ else None


def _stopped(secondary: str | None) -> Failure:
    if secondary == "MaxRuntimeExceeded":
        return _made("timed_out", "time_limit", "The job reached its time limit (MaxRuntimeInSeconds).")
    if secondary == "MaxWaitTimeExceeded":
        return _made("timed_out", "spot_wait", "No spot machine was to be had within MaxWaitTimeInSeconds.")
    return _made("stopped", "stopped", "The job was stopped on request.")


def _from_own_file(text: str, code: int | None) -> Failure | None:
    """Read what our runtime left; None when the text has another form."""
    head, *rest = text.splitlines() or [""]
    told = _OWN_FIRST_LINE.fullmatch(head.strip())
    if told is None or told["cause"] not in BY_CAUSE:
        return None
    cause, summary = told["cause"], told["summary"]
    next_step = None
    instructed = _OWN_NEXT_STEP.fullmatch(summary)
    if instructed:
        summary, next_step = instructed["summary"], instructed["next_step"]
    if cause == "user_code":
        cause = _finer(summary)
    found = _made("interrupted" if cause == "interrupted" else "failed", cause, summary, code)
    if next_step is None and code in NATIVE_CODES and cause == "user_code":
        next_step = BY_EXIT_CODE[code].next_step
    if code in _RETRIES:
        found = replace(found, retry=_RETRIES[code])
    frames = tuple(line.strip() for line in rest if line.strip())
    return replace(found, next_step=next_step or found.next_step, frames=frames)


def _finer(summary: str) -> str:
    """Return the cause behind an exception that reached the top of the user's code."""
    if _NO_MEMORY.search(summary):
        return "out_of_memory"
    return "permission" if _REFUSED.search(summary) else "user_code"


# What our runtime's exit codes say whatever the cause: 75 try again, 76 another attempt has the run.
_RETRIES = {75: Retry.YES, 76: Retry.NO}


def _from_container(
    text: str, code: int | None, log_tail: Sequence[str], stop_requested: bool, out_of_memory: bool
) -> Failure:
    """Explain a container that left no reason, or one of its own words."""
    if code == 143 and stop_requested:
        return _made("stopped", "stopped", "The job was stopped on request.", code)
    if (out_of_memory and code in (137, None)) or _NO_MEMORY.search(text):
        return _made("failed", "out_of_memory", text.partition("\n")[0] or "The job ran out of memory.", code)
    said = BY_EXIT_CODE.get(code) if code is not None else None
    lines = tuple(line for line in text.splitlines() if line.strip())
    summary = lines[0] if lines else _last_exception(log_tail)
    if said is None:
        plain = f"The container failed with exit code {code}." if code is not None else "The container failed."
        next_step = BY_EXIT_CODE[1].next_step
        return Failure("failed", "user_code", summary or plain, next_step, Retry.NO, code, lines[1:])
    # Only where the exit code says nothing of its own does the last exception of the log say more.
    own_words = summary if summary and (lines or said.cause == "user_code") else said.summary
    outcome = "interrupted" if said.cause == "interrupted" else "failed"
    return Failure(outcome, said.cause, own_words, said.next_step, said.retry, code, lines[1:])


def _from_platform(reason: str) -> Failure:
    """Explain a failure that SageMaker reports in its own words."""
    for pattern, explanation in BY_TEXT:
        if pattern.search(reason):
            outcome = "interrupted" if explanation.cause == "interrupted" else "failed"
            return Failure(outcome, explanation.cause, reason, explanation.next_step, explanation.retry)
    return _made("failed", "unknown", reason or "SageMaker gives no reason for the failure.")


def _made(outcome: str, cause: str, summary: str, code: int | None = None) -> Failure:
    explanation: Explanation = BY_CAUSE[cause]
    return Failure(outcome, explanation.cause, summary, explanation.next_step, explanation.retry, code)


def _last_exception(log_tail: Sequence[str]) -> str:
    """Return the last line of the log's last traceback, e.g. ``ValueError: bad thing``; empty when there is none."""
    trace = _traceback(log_tail)
    ends = [line for line in trace[1:] if line[:1].strip() and not line.startswith(_TRACEBACK)]
    return ends[0].strip() if ends else ""


def _from_log(log_tail: Sequence[str]) -> tuple[str, ...]:
    shown = _traceback(log_tail) or [line for line in log_tail if line.strip()]
    return tuple(line.rstrip() for line in shown[-LOG_LINES:])


def _traceback(log_tail: Sequence[str]) -> list[str]:
    """Return the log's last traceback with the line that names the exception, or an empty list."""
    starts = [index for index, line in enumerate(log_tail) if line.startswith(_TRACEBACK)]
    if not starts:
        return []
    kept: list[str] = []
    for line in log_tail[starts[-1] :]:
        kept.append(line)
        if len(kept) > 1 and line[:1].strip():
            break
    return kept
