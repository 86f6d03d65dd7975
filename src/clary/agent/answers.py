"""Answering what a flow has asked: checked against the question, recorded once, and the run goes on."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from clary.agent import lifecycle, local
from clary.errors import ConflictError, NotFoundError, UsageError, ValidationError, nearest
from clary.journal import records
from clary.journal.state import RunState, fold
from clary.journal.writer import append

if TYPE_CHECKING:
    from jsonschema import FormatChecker

    from clary.agent.lifecycle import Seen
    from clary.agent.place import Place
    from clary.journal.records import Record


def answer(place: Place, run: str, name: str | None, value: Any, *, how: str = records.ANSWERED) -> Seen:
    """Record an answer, and on SageMaker let the run go on.

    Args:
        place: where the run is kept.
        run: its id.
        name: of the wait, or its path; None for the only open one.
        value: plain data; it has to fit the question's type.
        how: ``records.ANSWERED``, or ``records.ABORTED``: the wait then raises in the flow.

    Raises NotFoundError (``run.not_found``, ``wait.not_found``), ConflictError (``wait.answered``,
    ``run.not_waiting``), UsageError (``wait.ambiguous``), ValidationError (``wait.bad_answer``).
    """
    by = local.who()
    with place.log(run) as log:
        state = fold(log.read())
        if state.status == "absent":
            raise place.no_run(run)

        def answered(now: RunState) -> list[Record]:
            asked = _asked(now, name)
            if how == records.ANSWERED:
                check(asked, value)
            return [records.answer(asked["path"], how, value, by)]

        append(log, state, answered)
    return lifecycle.advance(place, run)


def check(asked: Record, value: Any) -> None:
    """Refuse an answer that does not fit its question: ValidationError ``wait.bad_answer``, with where and why."""
    found = _problems(asked["schema"], value)
    if not found:
        return
    raise ValidationError(
        "wait.bad_answer",
        f"The answer to {asked['name']!r} does not fit: "
        + "; ".join(f"{one['field'].replace('$', 'the answer', 1)}: {one['message']}" for one in found)
        + ".",
        next_step=f"Give {expected(asked['schema'])}.",
        field=asked["name"],
        details={"findings": found, "schema": asked["schema"]},
    )


def fits(schema: Record, value: Any) -> bool:
    """Tell whether an answer fits the schema of its question."""
    return not _problems(schema, value)


def expected(schema: Record) -> str:
    """Return in words what an answer looks like."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(expected(one) for one in schema["anyOf"])
    words = {
        "boolean": "true or false",
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "null": "null",
        "array": "a JSON list",
        "object": "a JSON object",
    }
    shown = words.get(schema.get("type", ""), "JSON")
    members = schema.get("properties")
    return f"{shown} with {', '.join(members)}" if members else shown


def _problems(schema: Record, value: Any) -> list[dict[str, str]]:
    """Return where and why an answer does not fit a schema."""
    import jsonschema

    checked = jsonschema.Draft202012Validator(schema, format_checker=_formats()).iter_errors(value)
    return [
        {"field": problem.json_path, "message": problem.message}
        for problem in sorted(checked, key=lambda one: one.json_path)
    ]


@functools.cache
def _formats() -> FormatChecker:
    """Return the checker of the formats of texts: those that pydantic writes into schemas are read as it reads them."""
    import datetime
    import ipaddress
    import uuid

    import pydantic
    from jsonschema import FormatChecker

    kinds: dict[str, Any] = {
        "date": datetime.date,
        "date-time": datetime.datetime,
        "time": datetime.time,
        "duration": datetime.timedelta,
        "uuid": uuid.UUID,
        **{f"uuid{version}": getattr(pydantic, f"UUID{version}") for version in (1, 3, 4, 5, 6, 7, 8)},
        "ipv4": ipaddress.IPv4Address,
        "ipv4network": ipaddress.IPv4Network,
        "ipv4interface": ipaddress.IPv4Interface,
        "ipv6": ipaddress.IPv6Address,
        "ipv6network": ipaddress.IPv6Network,
        "ipv6interface": ipaddress.IPv6Interface,
        "ipvanyaddress": pydantic.IPvAnyAddress,
        "ipvanynetwork": pydantic.IPvAnyNetwork,
        "ipvanyinterface": pydantic.IPvAnyInterface,
        "uri": pydantic.AnyUrl,
        "base64": pydantic.Base64Bytes,
        "base64url": pydantic.Base64UrlBytes,
    }
    checker = FormatChecker(["email", "regex"])

    def reads(kind: Any, value: object) -> bool:
        if isinstance(value, str):
            pydantic.TypeAdapter(kind).validate_json(json.dumps(value))
        return True

    for name, kind in kinds.items():
        checker.checks(name, raises=ValueError)(functools.partial(reads, kind))
    return checker


def _asked(state: RunState, name: str | None) -> Record:
    """Return the open wait that is meant."""
    waiting = state.open_waits()
    if state.settled:
        raise _not_waiting(state)
    found = [one for one in waiting if name is None or name in (one["path"], one["name"])]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        names = ", ".join(one["path"] if name else one["name"] for one in found)
        raise UsageError(
            "wait.ambiguous",
            f"Run {state.run} waits for {len(found)} answers: {names}.",
            next_step=f"Name one: clary runs answer {state.run} {found[0]['path' if name else 'name']} VALUE.",
            field="name",
        )
    if name is None:
        raise _not_waiting(state)
    before = next((one for one in state.waits.values() if name in (one["path"], one["name"])), None)
    if before is not None:
        given = state.answers[before["path"]]
        by = f" by {given['by']}" if given["by"] else ""
        raise ConflictError(
            "wait.answered",
            f"{name!r} was {given['how']}{by} already; the first answer holds.",
            next_step=f"See it with `clary runs show {state.run}`.",
            field="name",
            details={"answer": given["value"]},
        )
    meant = nearest(name, [one["name"] for one in waiting])
    names = ", ".join(one["name"] for one in waiting) or "nothing"
    raise NotFoundError(
        "wait.not_found",
        f"Run {state.run} does not ask for {name!r}.",
        next_step=f"Did you mean {meant!r}?" if meant else f"It waits for: {names}.",
        field="name",
    )


def _not_waiting(state: RunState) -> ConflictError:
    return ConflictError(
        "run.not_waiting",
        f"Run {state.run} waits for no answer; it is {state.status}.",
        next_step=f"See it with `clary runs show {state.run}`.",
        field="run",
    )
