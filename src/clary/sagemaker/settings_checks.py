"""The types of settings: pydantic judges, in our words. What is said of a value never repeats a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from clary.errors import nearest
from clary.sagemaker.findings import Finding, Kind, shown
from clary.sagemaker.settings_model import Channel, JobSettings

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_WORDS: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "mapping_type": "an object",
    "dict_type": "an object",
    "dataclass_type": "an s3:// address, or an object with uri",
}
"""Pydantic's kinds of error to what was wanted."""
_NUMBERS = tuple(known.name for known in fields(JobSettings) if str(known.type).startswith("int"))
_MEMBERS = tuple(known.name for known in fields(Channel))


def parsed(values: Mapping[str, Any]) -> tuple[JobSettings, list[Finding]]:
    """Return the settings of values under our names, without those that do not fit their types, and what does not."""
    from pydantic import ValidationError as Invalid

    truths = [name for name in _NUMBERS if isinstance(values.get(name), bool)]  # to pydantic true is 1
    findings = [_wrong(name, values[name], "a whole number", Kind.TYPE) for name in truths]
    good = {name: value for name, value in values.items() if name not in truths}
    try:
        return _adapter().validate_python(good), findings
    except Invalid as invalid:
        errors = invalid.errors(include_url=False)
    wrong = {error["loc"][0] for error in errors}
    settings = _adapter().validate_python({name: value for name, value in good.items() if name not in wrong})
    return settings, [*findings, *map(_finding, errors)]


@cache
def _adapter() -> TypeAdapter[JobSettings]:
    from pydantic import TypeAdapter

    return TypeAdapter(JobSettings)


def _finding(error: Mapping[str, Any]) -> Finding:
    path, value, kind = _path(error["loc"]), error.get("input"), error["type"]
    if kind == "unexpected_keyword_argument":
        return _unknown_member(path, str(error["loc"][-1]))
    if kind == "missing":
        return Finding(path, "null", "required", f"{path} is missing.", f"Add {path}.", kind=Kind.REQUIRED)
    if kind == "literal_error":
        return _not_among(path, value, str(error["ctx"]["expected"]))
    return _wrong(path, value, _WORDS.get(kind, "something else"), Kind.TYPE)


def _path(loc: tuple[Any, ...]) -> str:
    """Return ``tags.team`` or ``subnets[0]``; pydantic marks the key of an object by a last part ``[key]``."""
    return "".join(_parts(loc)).removeprefix(".")


def _parts(loc: tuple[Any, ...]) -> Iterator[str]:
    for part in loc:
        if isinstance(part, int):
            yield f"[{part}]"
        elif part != "[key]":
            yield f".{part}"


def _wrong(path: str, value: Any, words: str, kind: Kind) -> Finding:
    told = "true or false" if isinstance(value, bool) else f"of type {type(value).__name__}"
    told = shown(value, name=path, hidden=path.startswith("environment")) if isinstance(value, str) else told
    step = f"Give {words} for {path}."
    if isinstance(value, bool) and words == "text":
        step = f'Put it in quotes: "{str(value).lower()}".'
    return Finding(path, told, words, f"{path} must be {words}, and is {told}.", step, kind=kind)


def _not_among(path: str, value: Any, expected: str) -> Finding:
    allowed = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
    near = nearest(value, allowed) if isinstance(value, str) else None
    words = " or ".join(allowed)
    told = shown(value, name=path)
    step = f"Did you mean {near}?" if near else f"Give {words}."
    return Finding(path, told, f"one of {words}", f"{path} is '{told}'; it must be {words}.", step, kind=Kind.ENUM)


def _unknown_member(path: str, name: str) -> Finding:
    near = nearest(name, _MEMBERS)
    step = f"Did you mean {near}?" if near else f"A channel has {', '.join(_MEMBERS)}."
    message = f"{path} is not a member of a channel."
    return Finding(path, "(not shown)", "a member of a channel", message, step, kind=Kind.UNKNOWN_MEMBER)
