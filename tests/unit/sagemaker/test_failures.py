"""How a job ended, told from what SageMaker says: outcome, cause, words, next step, whether again can help."""

from __future__ import annotations

from typing import Any

import pytest

from clary.errors import Retry
from clary.sagemaker.causes import BY_CAUSE, BY_EXIT_CODE, BY_TEXT
from clary.sagemaker.failures import Failure, exit_code_of, explain

OUTCOMES = {"completed", "failed", "stopped", "timed_out", "interrupted", "lost"}
CAUSES = {
    "user_code",
    "out_of_memory",
    "capacity",
    "quota",
    "throttled",
    "interrupted",
    "internal",
    "permission",
    "image",
    "time_limit",
    "spot_wait",
    "stopped",
    "unknown",
}
TRACEBACK = [
    "loading",
    "Traceback (most recent call last):",
    '  File "old.py", line 1, in f',
    "KeyError: 'old'",
    "",
    "During handling of the above exception, another exception occurred:",
    "",
    "Traceback (most recent call last):",
    '  File "train.py", line 7, in <module>',
    "    fit()",
    '  File "train.py", line 3, in fit',
    '    raise ValueError("bad thing")',
    "ValueError: bad thing",
    "bye",
]


def failed(reason: str | None, **more: Any) -> Failure:
    return explain("Failed", "Failed", reason, **more)


def crashed(code: int, **more: Any) -> Failure:
    return failed(f"AlgorithmError: , exit code: {code}", **more)


def test_a_completed_job() -> None:
    found = explain("Completed", "Completed")
    assert (found.outcome, found.cause, found.exit_code) == ("completed", None, 0)


@pytest.mark.parametrize(
    ("secondary", "outcome", "cause", "retry"),
    [
        ("Stopped", "stopped", "stopped", Retry.NO),
        (None, "stopped", "stopped", Retry.NO),
        ("MaxRuntimeExceeded", "timed_out", "time_limit", Retry.NO),
        ("MaxWaitTimeExceeded", "timed_out", "spot_wait", Retry.LATER),
    ],
)
def test_stopped_is_three_things(secondary: str | None, outcome: str, cause: str, retry: Retry) -> None:
    found = explain("Stopped", secondary)
    assert (found.outcome, found.cause, found.retry) == (outcome, cause, retry)


def test_a_job_that_is_gone() -> None:
    found = explain(None)
    assert (found.outcome, found.cause) == ("lost", "unknown")


@pytest.mark.parametrize("status", ["InProgress", "Stopping", "Deleting", "SomethingNew"])
def test_a_job_that_is_not_over_has_no_outcome(status: str) -> None:
    with pytest.raises(ValueError, match="is not over"):
        explain(status)


@pytest.mark.parametrize(
    ("code", "outcome", "cause", "retry", "hint"),
    [
        (1, "failed", "user_code", Retry.NO, "logs"),
        (2, "failed", "user_code", Retry.NO, "arguments"),
        (3, "failed", "user_code", Retry.NO, "logs"),
        (75, "failed", "internal", Retry.YES, "Resume"),
        (76, "interrupted", "interrupted", Retry.NO, "newer attempt"),
        (126, "failed", "image", Retry.NO, "mode bits"),
        (127, "failed", "image", Retry.NO, "path"),
        (132, "failed", "user_code", Retry.NO, "processor"),
        (134, "failed", "user_code", Retry.NO, "native library"),
        (137, "interrupted", "interrupted", Retry.YES, "memory"),
        (139, "failed", "user_code", Retry.NO, "native library"),
        (143, "interrupted", "interrupted", Retry.YES, "Resume"),
    ],
)
def test_exit_codes_without_a_reason(code: int, outcome: str, cause: str, retry: Retry, hint: str) -> None:
    found = crashed(code)
    assert (found.outcome, found.cause, found.retry, found.exit_code) == (outcome, cause, retry, code)
    assert str(code) in found.summary or code in (75, 76)
    assert hint in found.next_step


def test_an_exit_code_may_be_known_from_elsewhere() -> None:
    assert failed("AlgorithmError: ", exit_code=139).exit_code == 139


@pytest.mark.parametrize(
    "evidence",
    [
        {"out_of_memory": True},
        {"log_tail": ["MemoryError"]},
        {"log_tail": ["numpy.core._exceptions._ArrayMemoryError: Unable to allocate 74.5 GiB for an array"]},
        {"log_tail": ["oom-kill:constraint=CONSTRAINT_MEMCG"]},
        {"log_tail": ["terminate called after throwing an instance of 'std::bad_alloc'"]},
    ],
)
def test_a_kill_with_evidence_is_out_of_memory(evidence: dict[str, Any]) -> None:
    found = crashed(137, **evidence)
    assert (found.outcome, found.cause, found.retry) == ("failed", "out_of_memory", Retry.NO)
    assert "more memory" in found.next_step


def test_a_signal_that_was_asked_for_is_a_stop() -> None:
    found = crashed(143, stop_requested=True)
    assert (found.outcome, found.cause, found.retry) == ("stopped", "stopped", Retry.NO)


def test_the_last_traceback_of_the_log_speaks_for_a_job_that_left_nothing() -> None:
    found = crashed(1, log_tail=TRACEBACK)
    assert found.summary == "ValueError: bad thing"
    assert found.frames == tuple(TRACEBACK[7:13])


def test_the_last_lines_of_the_log_stand_in_for_frames() -> None:
    found = crashed(139, log_tail=[f"line {number}" for number in range(30)] + [""])
    assert found.frames == tuple(f"line {number}" for number in range(18, 30))
    assert "SIGSEGV" in found.summary


def test_without_a_log_there_are_no_frames() -> None:
    assert crashed(1).frames == ()
    assert crashed(1).summary == "The program failed (exit code 1)."


class TestOurOwnFile:
    def test_a_failure_of_user_code(self) -> None:
        text = (
            "AlgorithmError: user_code: ValueError: bad thing\n"
            "  train.py:7 in <module>: fit()\n"
            '  train.py:3 in fit: raise ValueError("bad thing")\n'
        )
        found = failed(text)
        assert (found.outcome, found.cause, found.retry) == ("failed", "user_code", Retry.NO)
        assert found.summary == "ValueError: bad thing"
        assert found.frames == ("train.py:7 in <module>: fit()", 'train.py:3 in fit: raise ValueError("bad thing")')
        assert "innermost frame" in found.next_step

    def test_the_exit_code_behind_the_text_is_read(self) -> None:
        found = failed("AlgorithmError: user_code: ValueError: bad thing\n  train.py:7 in f: g(), exit code: 1")
        assert found.exit_code == 1
        assert found.frames == ("train.py:7 in f: g()",)
        assert "innermost frame" in found.next_step

    def test_its_own_next_step_is_used(self) -> None:
        found = failed(
            "AlgorithmError: internal: The specification s3://b/specs/x.json is gone. "
            "Next step: Resume the run from the project: clary runs resume RUN. [job.no_spec]"
        )
        assert found.summary == "The specification s3://b/specs/x.json is gone."
        assert found.next_step == "Resume the run from the project: clary runs resume RUN."
        assert found.cause == "internal"

    def test_out_of_memory(self) -> None:
        found = failed(
            "AlgorithmError: out_of_memory: The process was killed for want of memory (SIGKILL); "
            "its peak was 7.9 GiB of 8 GiB."
        )
        assert (found.outcome, found.cause, found.exit_code) == ("failed", "out_of_memory", 137)

    @pytest.mark.parametrize(
        "summary", ["MemoryError: ", "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"]
    )
    def test_memory_that_python_ran_out_of(self, summary: str) -> None:
        assert failed(f"AlgorithmError: user_code: {summary}x").cause == "out_of_memory"

    def test_a_right_that_the_job_lacks(self) -> None:
        found = failed(
            "AlgorithmError: user_code: ClientError: An error occurred (AccessDenied) when calling the GetObject "
            "operation: Access Denied"
        )
        assert (found.cause, found.retry) == ("permission", Retry.NO)
        assert "execution role" in found.next_step

    def test_a_segmentation_fault(self) -> None:
        found = failed(
            "AlgorithmError: user_code: The process ended with SIGSEGV: a crash in native code (segmentation fault).\n"
            '  File "train.py", line 3 in fit'
        )
        assert (found.cause, found.exit_code) == ("user_code", 139)
        assert "native library" in found.next_step
        assert found.frames == ('File "train.py", line 3 in fit',)

    def test_a_segfault_by_its_own_word(self) -> None:
        found = failed("AlgorithmError: segfault: it crashed")
        assert found.cause == "user_code"
        assert "native library" in found.next_step

    def test_an_interruption(self) -> None:
        found = failed(
            "AlgorithmError: interrupted: The process was killed by SIGKILL from outside; its peak was 1 GiB."
        )
        assert (found.outcome, found.cause, found.retry) == ("interrupted", "interrupted", Retry.YES)
        assert found.exit_code == 137

    def test_the_record_could_not_be_written(self) -> None:
        found = failed("AlgorithmError: internal: The record cannot be written, exit code: 75")
        assert (found.cause, found.retry, found.exit_code) == ("internal", Retry.YES, 75)

    def test_an_image_without_a_new_python(self) -> None:
        found = failed("AlgorithmError: image: Python 3.11 or newer is needed in the image, and python3 is 3.9.2\n")
        assert (found.cause, found.retry) == ("image", Retry.NO)
        assert "3.9.2" in found.summary

    def test_its_frames_win_over_the_log(self) -> None:
        found = failed("AlgorithmError: user_code: ValueError: x\n  a.py:1 in f: g()", log_tail=TRACEBACK)
        assert found.frames == ("a.py:1 in f: g()",)

    def test_the_log_helps_when_no_frame_fitted(self) -> None:
        assert failed("AlgorithmError: user_code: ValueError: x", log_tail=TRACEBACK).frames == tuple(TRACEBACK[7:13])


def test_words_that_a_foreign_container_left() -> None:
    found = failed("AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage: boom, exit code: 1")
    assert (found.cause, found.exit_code) == ("user_code", 1)
    assert found.summary == "ExecuteUserScriptError:"
    assert found.frames == ("ExitCode 1", "ErrorMessage: boom")


@pytest.mark.parametrize(
    ("reason", "cause", "retry"),
    [
        ("CapacityError: Unable to provision requested ML compute capacity. Please retry.", "capacity", Retry.LATER),
        ("InternalServerError: We encountered an internal error. Please try again.", "internal", Retry.LATER),
        ("ResourceLimitExceeded: The account-level service limit 'x' is 0", "quota", Retry.LATER),
        ("ClientError: Could not assume role arn:aws:iam::403403403403:role/R", "permission", Retry.NO),
        ("ClientError: Cannot pull algorithm container. Either the image does not exist or", "image", Retry.NO),
        ("ClientError: Data download failed:AccessDenied (403): Access Denied", "permission", Retry.NO),
        ("ClientError: Data download failed:NoSuchKey (404): The specified key does not exist.", "user_code", Retry.NO),
        ("ClientError: Please use an instance type with more memory, or reduce the size of the data", "out_of_memory",
         Retry.NO),
        ("ClientError: Artifact upload failed:Insufficient disk space", "user_code", Retry.NO),
        ("ClientError: exec: \"trian\": executable file not found in $PATH", "image", Retry.NO),
        ("ClientError: something about account 403403403403", "unknown", Retry.NO),
        ("", "unknown", Retry.NO),
        (None, "unknown", Retry.NO),
    ],
)  # fmt: skip
def test_the_platforms_own_words(reason: str | None, cause: str, retry: Retry) -> None:
    found = failed(reason)
    assert (found.outcome, found.cause, found.retry) == ("failed", cause, retry)
    assert found.summary
    assert reason is None or reason in found.summary


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (None, None),
        ("", None),
        ("AlgorithmError: , exit code: 137", 137),
        ("AlgorithmError: user_code: x, exit code: 1", 1),
        ("AlgorithmError: user_code: exit code: what", None),
        ("InternalServerError: exit code: 3", None),
        ("AlgorithmError: interrupted: The process was killed by SIGNOTHING from outside", None),
        ("AlgorithmError: user_code: RuntimeError: a worker was killed by SIGKILL", None),
    ],
)
def test_exit_codes_are_read_from_reasons(reason: str | None, code: int | None) -> None:
    assert exit_code_of(reason) == code


def test_nothing_is_ever_just_finished() -> None:
    reasons = [f"AlgorithmError: , exit code: {code}" for code in range(1, 256)]
    reasons += [f"AlgorithmError: {word}: x" for word in BY_CAUSE] + ["", "??"]
    ends = [failed(reason) for reason in reasons]
    ends += [explain("Stopped", secondary) for secondary in ("Stopped", "MaxRuntimeExceeded", "New")]
    for end in ends:
        assert end.outcome in OUTCOMES - {"completed"}
        assert end.cause in CAUSES
        assert len(end.next_step) > 15
        assert end.summary


def test_every_explanation_has_a_known_cause() -> None:
    explanations = [*BY_CAUSE.values(), *BY_EXIT_CODE.values(), *(entry for _, entry in BY_TEXT)]
    assert {explanation.cause for explanation in explanations} <= CAUSES
