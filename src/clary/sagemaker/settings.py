"""Typed settings of a job, and how layers of them (stack, flow, command line) become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any, ClassVar

from clary.errors import ValidationError, nearest

DEFAULT_MAX_RUNTIME = 4 * 3600
"""Seconds; the service's own default is a day, which is dear for a job that hangs."""
SPOT_WAIT = 3600
"""Seconds a spot job waits for machines, on top of its running time, unless ``max_wait_in_seconds`` says otherwise."""


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What a person may set of a training job. Only what is set, and the defaults below, goes into the request."""

    # For pydantic, which checks the types at submit: YAML's numbers may stand where text is wanted.
    __pydantic_config__: ClassVar[Mapping[str, bool]] = {"coerce_numbers_to_str": True}

    instance_type: str = "ml.m5.xlarge"
    instance_count: int = 1
    volume_size_in_gb: int = 30
    max_runtime_in_seconds: int = DEFAULT_MAX_RUNTIME
    execution_role: str | None = None
    """ARN of the role the job runs with."""
    tags: Mapping[str, str] = field(default_factory=dict)
    keep_alive_period_in_seconds: int | None = None
    """Keeps the machines warm for the next job with the same needs, at their full price."""
    use_spot: bool = False
    max_wait_in_seconds: int | None = None
    """For spot: waiting and running together; else ``max_runtime_in_seconds`` and ``SPOT_WAIT``."""
    checkpoint_s3_uri: str | None = None
    """Folder in S3 that is synced with ``/opt/ml/checkpoints``."""
    subnets: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    enable_network_isolation: bool = False
    encrypt_inter_container_traffic: bool = False
    volume_kms_key: str | None = None
    output_kms_key: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    metric_definitions: Mapping[str, str] = field(default_factory=dict)
    """Name of a metric to the regular expression whose first group is its value."""
    max_retry_attempts: int | None = None
    """How often SageMaker itself starts again after an internal error; nothing else is retried by it."""
    enable_remote_debug: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)
    """Members of CreateTrainingJob, merged last; None takes a member out."""


def settings_from(*layers: Mapping[str, Any]) -> JobSettings:
    """Return the settings of several layers; a later layer wins, mappings are merged, None means the default.

    Raises ValidationError ``settings.invalid`` for an unknown name or a value of the wrong type; ``field`` names the
    first.
    """
    from pydantic import TypeAdapter
    from pydantic import ValidationError as Invalid

    values: dict[str, Any] = reduce(overlaid, layers, {})
    overrides = values.pop("request", None)
    values = without_none(values)
    if overrides is not None:
        values["request"] = overrides  # None has its meaning there: it takes a member out of the request
    _refuse_unknown(values)
    try:
        return TypeAdapter(JobSettings).validate_python(values)
    except Invalid as invalid:
        found = [(".".join(str(part) for part in error["loc"]), error["msg"]) for error in invalid.errors()]
        raise ValidationError(
            "settings.invalid",
            "The job settings do not fit: " + "; ".join(f"{name}: {message}" for name, message in found),
            next_step=f"Correct {found[0][0]}.",
            field=found[0][0],
        ) from None


def overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` laid upon it: objects are merged, all else, None included, is replaced."""
    result = dict(base)
    for name, value in over.items():
        merge = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = overlaid(result[name], value) if merge else value
    return result


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without members that are None, inside objects too."""
    return {
        name: without_none(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }


def _refuse_unknown(values: Mapping[str, Any]) -> None:
    known = [known.name for known in fields(JobSettings)]
    for name in values:
        if name not in known:
            near = nearest(name, known)
            raise ValidationError(
                "settings.invalid",
                f"'{name}' is not a setting of a job.",
                next_step=f"Did you mean {near}?" if near else f"Settings are: {', '.join(known)}.",
                field=name,
            )
