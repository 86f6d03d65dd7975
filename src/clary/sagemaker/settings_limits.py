"""Limits of single settings that the service documents and its model does not hold, and names that are taken.

Limits of the model itself are not repeated here: they come from the request that the settings make
(``settings_requests.probe_findings``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clary.sagemaker.findings import Finding, shown
from clary.sagemaker.reading import broken, doubtful
from clary.sagemaker.settings_judged import Judged, Rule, Use
from clary.sagemaker.training_rules import LONGEST_RUN

LONGEST_KEEP_ALIVE = 3600
"""Seconds. Source: developer guide, "SageMaker managed warm pools"; the model allows 21600."""
LARGEST_VOLUME = 16384
"""GB, a disk of EBS. Source: reference of ProcessingClusterConfig; the model of training has no maximum."""
RESERVED_PREFIX = "CLARY_"
"""Environment variables that Clary sets for its own runtime."""
RESERVED_CHANNELS = ("runtime", "code", "dependencies")
"""Channels by which a flow's job gets Clary's runtime and the project's code."""

_PLATFORM_VARIABLE = re.compile(
    r"SM_.+|SAGEMAKER_.+|TRAINING_JOB_(NAME|ARN)|PROCESSING_JOB_(NAME|ARN)|AWS_CONTAINER_CREDENTIALS_.+|AWS_EXECUTION_ENV"
)
_BUCKET_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?", re.DOTALL)


def counts_are_in_range(judged: Judged) -> Iterator[Finding]:
    """Bounds that the model of training jobs lacks, or sets higher than the service."""
    settings = judged.settings
    for path, value, least, most in (
        ("instance_count", settings.instance_count, 1, None),
        ("volume_size_in_gb", settings.volume_size_in_gb, 1, LARGEST_VOLUME),
        ("max_runtime_in_seconds", settings.max_runtime_in_seconds, 1, LONGEST_RUN),
    ):
        if value < least or (most is not None and value > most):
            limit = f"at least {least}" if most is None else f"between {least} and {most}"
            yield broken(
                path,
                value,
                limit=limit,
                message=f"{path} is {value}; it must be {limit}.",
                next_step=f"Give a number, {limit}.",
            )


def keep_alive_is_documented(judged: Judged) -> Iterator[Finding]:
    """The model allows six hours, the guide one."""
    path, keep = "keep_alive_period_in_seconds", judged.settings.keep_alive_period_in_seconds
    if keep is not None and keep > LONGEST_KEEP_ALIVE:
        yield doubtful(
            path,
            keep,
            limit=f"at most {LONGEST_KEEP_ALIVE} by AWS's guide",
            message=f"{path} is {keep}; AWS's guide allows at most {LONGEST_KEEP_ALIVE}, an hour.",
            next_step=f"Lower it to {LONGEST_KEEP_ALIVE}, unless your account may keep machines longer.",
        )


def instance_types_are_a_list(judged: Judged) -> Iterator[Finding]:
    """One type or an ordered list, each once."""
    types = judged.settings.instance_type
    if not types:
        yield broken(
            "instance_type",
            None,
            limit="at least one type",
            message="instance_type is an empty list.",
            next_step="Name a type, such as ml.m5.xlarge, or leave instance_type out.",
        )
    for index, name in enumerate(types):
        if name in types[:index]:
            path = f"instance_type[{index}]"
            yield broken(
                path,
                name,
                limit="every type once",
                message=f"{path} repeats {shown(name)}.",
                next_step="Name each type once, the preferred one first.",
            )


def addresses_are_in_s3(judged: Judged) -> Iterator[Finding]:
    """Addresses are ``s3://BUCKET/PREFIX``; the model would take any https address too."""
    settings = judged.settings
    addresses = {
        "output_data": settings.output_data,
        "checkpoint_s3_uri": settings.checkpoint_s3_uri,
        **{f"input_data.{name}.uri": channel.uri for name, channel in settings.input_data.items()},
    }
    for path, value in addresses.items():
        if value is not None and not _BUCKET_URI.fullmatch(value):
            yield broken(
                path,
                value,
                limit="s3://BUCKET/PREFIX",
                message=f"{path} is '{shown(value)}', which is not an address in S3.",
                next_step="Give s3://BUCKET/PREFIX; names of buckets have lower-case letters, digits, . and -.",
            )


def variables_are_free(judged: Judged) -> Iterator[Finding]:
    """Names that Clary or the platform sets."""
    for name in judged.settings.environment:
        path = f"environment.{name}"
        if name.upper().startswith(RESERVED_PREFIX):
            yield broken(
                path,
                None,
                limit=f"no name that begins with {RESERVED_PREFIX}",
                message=f"{path} begins with {RESERVED_PREFIX}: such variables are Clary's own.",
                next_step="Give the variable another name.",
            )
        elif _PLATFORM_VARIABLE.fullmatch(name):
            yield doubtful(
                path,
                None,
                limit="no name that the platform sets",
                message=f"{path} is a variable that SageMaker sets for the container itself.",
                next_step="Give the variable another name, unless it is meant to be replaced.",
            )


def channels_are_free(judged: Judged) -> Iterator[Finding]:
    """A flow's job has channels of its own."""
    for name in judged.settings.input_data:
        if judged.use is not Use.CONTAINER and name in RESERVED_CHANNELS:
            path = f"input_data.{name}"
            yield broken(
                path,
                name,
                limit=f"no channel called {' or '.join(RESERVED_CHANNELS)}",
                message=f"{path} has the name of a channel that Clary uses.",
                next_step="Give the channel another name.",
            )


def metrics_can_match(judged: Judged) -> Iterator[Finding]:
    """A metric's value is the first group of its expression."""
    for name, regex in judged.settings.metric_definitions.items():
        path = f"metric_definitions.{name}"
        try:
            doubt = "" if re.compile(regex).groups else "has no group, so no value is found"
        except re.error as error:
            doubt = f"does not read as a regular expression ({error})"
        if doubt:
            yield doubtful(
                path,
                regex,
                limit="a regular expression with a group",
                message=f"{path} {doubt}.",
                next_step=r"Write it like accuracy=([0-9\.]+).",
            )


RULES: tuple[Rule, ...] = (
    counts_are_in_range,
    keep_alive_is_documented,
    instance_types_are_a_list,
    addresses_are_in_s3,
    variables_are_free,
    channels_are_free,
    metrics_can_match,
)
