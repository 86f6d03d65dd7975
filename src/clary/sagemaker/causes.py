"""The causes of failure, each with an honest next step and whether doing the same again can help: three tables."""

from __future__ import annotations

import re
from typing import NamedTuple

from clary.errors import Retry


class Explanation(NamedTuple):
    """What is said of one cause."""

    cause: str
    next_step: str
    retry: Retry = Retry.NO
    summary: str = ""


_LOGS = "See the job's logs"
_NATIVE = (
    "A native library crashed: run the same input under `python -X faulthandler`, and check that the versions of the "
    "compiled packages fit each other and the image."
)
_MEMORY = Explanation(
    "out_of_memory",
    "Choose an instance type with more memory, or hold less at once (smaller batches, fewer workers); on a GPU, the "
    "memory of the GPU counts.",
)
_CAPACITY = Explanation(
    "capacity",
    "Try again later, choose another instance type, or allow subnets in more availability zones.",
    Retry.LATER,
)
_INTERNAL = Explanation(
    "internal",
    "Try again. If it comes back, give AWS support the job's ARN.",
    Retry.LATER,
)
_ROLE = Explanation(
    "permission",
    "Check that the execution role exists and that its trust policy allows sts:AssumeRole to sagemaker.amazonaws.com.",
)
_PERMISSION = Explanation(
    "permission", "Allow the execution role what the text names; for a key of KMS, in the key's policy too."
)
_IMAGE = Explanation(
    "image",
    "Check that the image and tag exist in the region of the job, and that the execution role may pull it "
    "(ecr:BatchGetImage, ecr:GetDownloadUrlForLayer, ecr:GetAuthorizationToken).",
)
_ENTRY_POINT = Explanation(
    "image",
    "Check the entry point's path inside the image. What an image holds below /opt/ml is hidden in a job, and a script "
    "needs its interpreter in the image.",
    summary="The container's entry point was not found (exit code 127).",
)
_INTERRUPTED = Explanation("interrupted", "Resume the run: calls that are recorded do not run again.", Retry.YES)
_DISK = Explanation("user_code", "Ask for a larger volume (volume_size_in_gb), or write less.")

BY_CAUSE: dict[str, Explanation] = {
    "user_code": Explanation(
        "user_code", f"Mend the code at the innermost frame, then resume the run. {_LOGS} for more."
    ),
    "out_of_memory": _MEMORY,
    "segfault": Explanation("user_code", _NATIVE),
    "capacity": _CAPACITY,
    "quota": Explanation(
        "quota",
        "Ask for more in Service Quotas, choose another instance type, or wait until other jobs end.",
        Retry.LATER,
    ),
    "throttled": Explanation("throttled", "Try again in a minute.", Retry.LATER),
    "interrupted": _INTERRUPTED,
    "internal": Explanation(
        "internal",
        "Resume the run. If it comes back, it is a fault of Clary: report it with the job's logs.",
        Retry.YES,
    ),
    "permission": _PERMISSION,
    "image": _IMAGE,
    "time_limit": Explanation(
        "time_limit", "Raise max_runtime_in_seconds and resume the run: calls that are recorded do not run again."
    ),
    "spot_wait": Explanation(
        "spot_wait", "Raise max_wait_in_seconds, choose another instance type, or run on demand.", Retry.LATER
    ),
    "stopped": Explanation("stopped", "Resume the run to go on where it was."),
    "lost": Explanation(
        "unknown", "Check the region and the account of the stack; if the job was deleted, resume the run.", Retry.YES
    ),
    "unknown": Explanation("unknown", f"{_LOGS}, and the job's page in the SageMaker console."),
}
"""By the cause's word: what our runtime writes, and what this room decides."""

BY_EXIT_CODE: dict[int, Explanation] = {
    1: Explanation(
        "user_code",
        f"{_LOGS}: the program ended with an error and left no reason in /opt/ml/output/failure.",
        summary="The program failed (exit code 1).",
    ),
    2: Explanation(
        "user_code",
        "Check the arguments: exit code 2 is how programs say that they were called wrongly, and how Python says that "
        "it cannot open the script.",
        summary="The program was called wrongly (exit code 2).",
    ),
    75: Explanation(
        "internal",
        "Resume the run; if it comes back, check that the bucket can be reached from the job and its role may use it.",
        Retry.YES,
        "The record of the run could not be read or written.",
    ),
    76: Explanation(
        "interrupted",
        "Follow the newer attempt; this one recorded nothing more.",
        Retry.NO,
        "Another attempt took over.",
    ),
    126: Explanation(
        "image",
        "Check the entry point's mode bits (chmod +x), its interpreter line, and that the image is built for the "
        "processor of the instance type.",
        summary="The container's entry point cannot be executed (exit code 126).",
    ),
    127: _ENTRY_POINT,
    132: Explanation(
        "user_code",
        "A compiled package uses instructions that this processor lacks: choose another instance type, or a build of "
        "the package for an older processor.",
        summary="The process met an unknown processor instruction (SIGILL, exit code 132).",
    ),
    134: Explanation("user_code", _NATIVE, summary="The process aborted (SIGABRT, exit code 134)."),
    135: Explanation("user_code", _NATIVE, summary="The process crashed in native code (SIGBUS, exit code 135)."),
    136: Explanation("user_code", _NATIVE, summary="The process crashed in native code (SIGFPE, exit code 136)."),
    137: Explanation(
        "interrupted",
        "Resume the run. If it happens again at the same place, memory is the likely reason: choose an instance type "
        "with more of it.",
        Retry.YES,
        "The process was killed from outside, or ran out of memory (SIGKILL, exit code 137).",
    ),
    139: Explanation("user_code", _NATIVE, summary="The process crashed in native code (SIGSEGV, exit code 139)."),
    143: Explanation(
        "interrupted",
        _INTERRUPTED.next_step,
        Retry.YES,
        "The platform ended the process (SIGTERM, exit code 143), and nobody had asked for it.",
    ),
}
"""By the container's exit code, when it left no reason of ours."""
NATIVE_CODES = frozenset({132, 134, 135, 136, 139})
"""Exit codes of a crash in native code: 128 + SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV."""


def _text(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


BY_TEXT: tuple[tuple[re.Pattern[str], Explanation], ...] = (
    (_text(r"CapacityError|unable to provision|insufficient capacity"), _CAPACITY),
    (_text(r"ResourceLimitExceeded|service limit '"), BY_CAUSE["quota"]),
    (_text(r"ThrottlingException|rate exceeded"), BY_CAUSE["throttled"]),
    (_text(r"assume role|cannot be assumed|TrainingHostAgent"), _ROLE),
    (
        _text(
            r"pull (the )?(algorithm |processing )?(container|image)|image .*(not exist|not found)|ImagePull|manifest"
        ),
        _IMAGE,
    ),
    (_text(r"executable file not found|no such file or directory.*(entrypoint|exec)|exec format error"), _ENTRY_POINT),
    (_text(r"more memory|out of memory"), _MEMORY),
    (_text(r"no space left|insufficient disk|disk (space|full)"), _DISK),
    (_text(r"AccessDenied|access denied|not authorized|forbidden|\b403\b"), _PERMISSION),
    (
        _text(r"NoSuchBucket|NoSuchKey|no S3 objects? found|failed to download|data download failed"),
        Explanation("user_code", "Check that the inputs named in the request exist in S3, in the region of the job."),
    ),
    (_text(r"InternalServerError|internal (server )?error|please try again"), _INTERNAL),
)
"""By SageMaker's own words; the first that fits counts."""
