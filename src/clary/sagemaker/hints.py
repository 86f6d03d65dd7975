"""Words for the limits that people meet most: what a pattern allows, and where a value that is too long belongs."""

from __future__ import annotations

_JOB_NAME = "letters, digits, and hyphens between them; no underscore, no hyphen at either end"
_ONE_LINE = "one line of text"
_TAG = "letters, digits, spaces and _ . : / = + - @"

_PATTERNS = {
    "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}": _JOB_NAME,
    "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,119}": _JOB_NAME,
    ".*": _ONE_LINE,
    ".+": _ONE_LINE,
    "(https|s3)://([^/]+)/?(.*)": "an address such as s3://bucket/prefix",
    r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+": "a role such as arn:aws:iam::123456789012:role/NAME",
    r"[A-Za-z0-9\.\-_]+": "letters, digits, and . - _",
    "[a-zA-Z_][a-zA-Z0-9_]*": "a letter or underscore, then letters, digits and underscores",
    "[a-zA-Z0-9:/_-]*": "a key id, key ARN or alias",
    "[-0-9a-zA-Z]+": "letters, digits and hyphens",
    "(fs-[0-9a-f]{8,})": "a file system id such as fs-0123456789abcdef0",
    r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)": _TAG,
}

_TO_A_FILE = "Keep long values in a file in S3 and pass its address."
_TOO_LONG = {
    "TrainingEnvironmentValue": _TO_A_FILE,
    "ProcessingEnvironmentValue": _TO_A_FILE,
    "HyperParameterValue": _TO_A_FILE,
    "TrainingContainerArgument": _TO_A_FILE,
    "ContainerArgument": _TO_A_FILE,
    "AlgorithmImage": "Use a shorter repository name or tag.",
    "ImageUri": "Use a shorter repository name or tag.",
    "InputDataConfig": "Put several inputs under one S3 prefix, or use a manifest.",
    "ProcessingInputs": "Put several inputs under one S3 prefix.",
    "ProcessingOutputs": "Write several outputs below one folder.",
    "TrainingEnvironmentMap": "Put the settings into one file in S3 and pass its address.",
    "ProcessingEnvironmentMap": "Put the settings into one file in S3 and pass its address.",
    "HyperParameters": "Put the settings into one file in S3 and pass its address.",
}


def pattern_in_words(pattern: str, value: str) -> tuple[str, str]:
    """Return what the pattern allows, in words (empty when there are none), and the next step for ``value``."""
    words = _PATTERNS.get(pattern, "")
    if words == _ONE_LINE and "\n" in value:
        return words, "Take the line breaks out, or keep the text in a file in S3 and pass its address."
    if words == _JOB_NAME and "_" in value:
        return words, "Use hyphens in place of underscores."
    return words, f"Use {words}." if words else "Correct the value to fit the pattern."


def length_hint(shape: str, most: int, unit: str) -> str:
    """Return the next step for a value of the named shape that has more than ``most`` of ``unit``."""
    shorten = f"Shorten it to {most} {unit} or fewer."
    hint = _TOO_LONG.get(shape)
    return f"{shorten} {hint}" if hint else shorten
