"""What EventBridge Scheduler checks of a schedule before it takes it; moto takes anything.

Sources: botocore's model of the service for lengths, patterns and ranges; the API reference and the user guide
("Schedule types", "Using universal targets") for the rest. Targets that the sandbox cannot fire are refused aloud.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any

from clary.sandbox.expressions import At, Expression, parse
from clary.sandbox.operations.checks import find_role
from clary.sandbox.wire import ApiError

if TYPE_CHECKING:
    from clary.sandbox.operations.context import Caller

PRINCIPAL = "scheduler.amazonaws.com"
LONGEST_INPUT = 256 * 1024
"""Bytes of a target's Input. Source: quotas of EventBridge Scheduler."""
UNIVERSAL = {
    "sagemaker:createTrainingJob",
    "sagemaker:createProcessingJob",
    "sagemaker:stopTrainingJob",
    "sagemaker:stopProcessingJob",
}
"""The operations of universal targets that the sandbox calls."""
_UNIVERSAL_ARN = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-z0-9-]+:[a-zA-Z0-9]+)")
_TEMPLATED = {"sqs": "SQS queues", "events": "event buses"}


def universal_operation(arn: str) -> str | None:
    """Return the operation of a universal target, such as ``sagemaker:createTrainingJob``; None for other targets."""
    found = _UNIVERSAL_ARN.fullmatch(arn)
    return found[1] if found else None


def check(request: Mapping[str, Any], caller: Caller) -> None:
    """Refuse what CreateSchedule and UpdateSchedule refuse; raises ApiError.

    ``request`` has the members of the operation, ``Name`` included.
    """
    _check_model(request)
    _check_group(request.get("GroupName") or "default", caller)
    expression_of(request)
    window = request["FlexibleTimeWindow"]
    if (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window):
        raise _invalid("MaximumWindowInMinutes goes with the FlexibleTimeWindow mode FLEXIBLE, and only with it.")
    start, end = request.get("StartDate"), request.get("EndDate")
    if start is not None and end is not None and float(end) <= float(start):
        raise _invalid("The EndDate you specify must come after the StartDate.")
    _check_target(request["Target"], caller, request.get("GroupName") or "default")


def expression_of(request: Mapping[str, Any]) -> Expression:
    """Return when a schedule is due; raises ApiError for an expression or a time zone that is none."""
    text = request["ScheduleExpression"]
    zone = _zone(request.get("ScheduleExpressionTimezone") or "UTC")
    try:
        return parse(text, zone)
    except ValueError as error:
        raise _invalid(f"Invalid Schedule Expression {text}. ({error})") from None


def is_one_time(expression: Expression) -> bool:
    """Tell whether a schedule is due only once, so that its start and end dates do not count."""
    return isinstance(expression, At)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise _invalid(f"Invalid ScheduleExpressionTimezone {name}.") from None


def _check_group(name: str, caller: Caller) -> None:
    from moto.scheduler.models import scheduler_backends

    if name not in scheduler_backends[caller.account][caller.region].schedule_groups:
        raise ApiError("ResourceNotFoundException", f"Schedule group {name} does not exist.", status=404)


def _check_target(target: Mapping[str, Any], caller: Caller, group: str) -> None:
    operation = universal_operation(target["Arn"])
    if operation is None:
        service = (target["Arn"].split(":") + [""] * 3)[2]
        if service not in _TEMPLATED:
            raise _invalid(_not_offered(target["Arn"]))
        if service == "events" and "EventBridgeParameters" not in target:
            raise _invalid("EventBridgeParameters are required for the target of an event bus.")
        if service == "events":
            _json_object(target.get("Input", "{}"))
    elif operation not in UNIVERSAL:
        raise _invalid(_not_offered(target["Arn"]))
    else:
        _json_object(target.get("Input", ""))
    if len(target.get("Input", "").encode()) > LONGEST_INPUT:
        raise _invalid("The Input of a target has at most 262144 bytes.")
    _check_role(target["RoleArn"], caller, group)


def _not_offered(arn: str) -> str:
    known = ", ".join(sorted(UNIVERSAL))
    return (
        f"Invalid Target Arn {arn}: schedules of the sandbox fire at universal targets ({known}), SQS queues and event"
        " buses."
    )


def _json_object(text: str) -> None:
    try:
        if isinstance(json.loads(text), dict):
            return
    except ValueError:
        pass
    raise _invalid("Invalid RequestJson provided. Reason: The Input of this target has to be a JSON object.")


def _check_role(arn: str, caller: Caller, group: str) -> None:
    from clary.sandbox.iam.trust import trusts

    role = find_role(arn, caller)
    source = f"arn:{caller.partition}:scheduler:{caller.region}:{caller.account}:schedule-group/{group}"
    if role is None or not trusts(role.assume_role_policy_document, PRINCIPAL, arn, source_arn=source):
        # The wording is the service's, e.g. in aws/aws-sdk-js-v3#6494.
        raise _invalid("The execution role you provide must allow AWS EventBridge Scheduler to assume the role.")


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


# -- the limits of the service's model


@functools.cache
def _shapes() -> Mapping[str, Any]:
    from botocore.loaders import Loader

    found: Mapping[str, Any] = Loader().load_service_model("scheduler", "service-2")["shapes"]
    return found


def _check_model(request: Mapping[str, Any]) -> None:
    """Say every breach of the model at once, as the service does."""
    found = list(_breaches("CreateScheduleInput", request, ""))
    if found:
        count = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
        raise _invalid(f"{count}: {'; '.join(found)}")


def _breaches(name: str, value: Any, path: str) -> list[str]:
    shape = _shapes()[name]
    if shape["type"] == "structure":
        return _structure(shape, value, path) if isinstance(value, Mapping) else [_breach(path, value, "be an object")]
    if shape["type"] == "list":
        items = value if isinstance(value, list) else []
        return [one for number, item in enumerate(items) for one in _breaches(shape["member"]["shape"], item, path)]
    kind: type | tuple[type, ...] = {"string": str, "integer": int, "boolean": bool}.get(shape["type"], object)
    if not isinstance(value, kind):
        return [_breach(path, value, f"be of type {shape['type']}")]
    return _scalar(shape, value, path)


def _structure(shape: Mapping[str, Any], value: Mapping[str, Any], path: str) -> list[str]:
    found = [
        f"Value null at '{_joined(path, name)}' failed to satisfy constraint: Member must not be null"
        for name in shape.get("required", ())
        if value.get(name) is None
    ]
    for name, member in shape["members"].items():
        if value.get(name) is not None:
            found += _breaches(member["shape"], value[name], _joined(path, name))
    return found


def _scalar(shape: Mapping[str, Any], value: Any, path: str) -> list[str]:
    found = []
    size, words = (len(value), "have length ") if isinstance(value, str) else (value, "have value ")
    if "min" in shape and size < shape["min"]:
        found.append(_breach(path, value, f"{words}greater than or equal to {shape['min']}"))
    if "max" in shape and size > shape["max"]:
        found.append(_breach(path, value, f"{words}less than or equal to {shape['max']}"))
    if "pattern" in shape and not re.fullmatch(shape["pattern"], value):
        found.append(_breach(path, value, f"satisfy regular expression pattern: {shape['pattern']}"))
    if "enum" in shape and value not in shape["enum"]:
        found.append(_breach(path, value, f"satisfy enum value set: [{', '.join(shape['enum'])}]"))
    return found


def _breach(path: str, value: Any, rule: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {rule}"


def _joined(path: str, name: str) -> str:
    small = name[:1].lower() + name[1:]
    return f"{path}.{small}" if path else small
