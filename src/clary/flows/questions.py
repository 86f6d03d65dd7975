"""What an answer may be: a Python type as JSON Schema, and plain data as a value of the type. Standard library only.

pydantic models and other types that it knows are asked of pydantic, if the flow's environment has it.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import shlex
import sys
import textwrap
import types
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin
from urllib.parse import quote

from clary.errors import UsageError, ValidationError
from clary.journal import records

if TYPE_CHECKING:
    from clary.journal.records import Record
    from clary.journal.state import RunState

_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_WORDS: dict[type, str] = {
    str: "text",
    bool: "truth value",
    int: "whole number",
    float: "number",
    type(None): "null",
    list: "list",
    dict: "object",
}
_LONGEST_REASON = 400
"""Characters of why an answer does not fit, in the words of the type."""
_KEY_PATTERNS = {int: "^(0|-?[1-9][0-9]*)$", float: r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"}
"""What the text of a dictionary's key is, where the key is a number."""


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type; an empty one takes everything.

    Raises UsageError ``wait.bad_type`` for a type that no JSON can stand for.
    """
    if kind is Any or kind is None:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal or _is_enum(kind):
        return {"enum": [_plain(one) for one in arguments or kind]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one) for one in arguments]}
    if kind is set:
        return {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}}
    if kind in (list, tuple) or origin in (list, set):
        return {"type": "array"} | ({"items": schema_of(arguments[0])} if arguments else {})
    if kind is dict or origin is dict:
        return {"type": "object"} | (_of_members(*arguments) if arguments else {})
    if (pydantic := _pydantic(kind)) is not None:
        return _of_model(kind, pydantic)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _of_dataclass(kind)
    raise _bad_type(kind)


def read(kind: Any, value: Any) -> Any:
    """Return plain data as a value of the type.

    Raises ValueError for data that does not fit, and whatever the type's own code raises.
    """
    if kind is Any or kind is None:
        return value
    if kind in _PLAIN:
        return _read_plain(kind, value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal or _is_enum(kind):
        return _choice(arguments or kind, value)
    if origin in (Union, types.UnionType):
        return _read_member(arguments, value)
    holder = origin or kind
    if holder in (list, tuple, set):
        items = _of_kind(list, value)
        return holder(read(arguments[0], one) for one in items) if arguments else holder(items)
    if holder is dict:
        return _read_mapping(arguments, _of_kind(dict, value))
    if (pydantic := _pydantic(kind)) is not None:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(value))
    return _read_dataclass(kind, _of_kind(dict, value))


def check_default(name: str, kind: Any, default: Any) -> None:
    """Refuse a default, plain data, that is no answer: UsageError ``wait.bad_question``. None is fine: no answer."""
    if default is None:
        return
    try:
        read(kind, json.loads(json.dumps(default)))
    except Exception as error:  # whatever the type's own code raises
        raise UsageError(
            "wait.bad_question",
            f"The default of the wait “{name}” does not fit its type: {_reason(error)}.",
            next_step="Give a default of the type, or None where nobody's answer is none.",
            field="default",
        ) from error


def answered(kind: Any, value: Any, asked: Record, state: RunState) -> Any:
    """Return the recorded answer to a wait as a value of its type.

    Raises ValidationError ``wait.unusable_answer`` for one that fits the schema but not the type, of which a schema
    cannot say everything, or which has changed since.
    """
    try:
        return read(kind, value)
    except Exception as error:  # whatever the type's own code raises
        before = [
            path
            for path, call in state.calls.items()
            if call["kind"] == records.CALL and call["ended"] <= asked["asked_at"]
        ]
        again = "start a new run, which asks again"
        if before:
            options = f"--at {shlex.quote(before[-1])} --skip {shlex.quote(before[-1])}"
            again = f"have it asked again in a new run: `clary runs replay {state.run} {options}`"
        raise ValidationError(
            "wait.unusable_answer",
            f"The recorded answer to “{asked['name']}” does not fit its type: {_reason(error)}.",
            next_step=f"Let the type take it, and go on with `clary runs resume {state.run}`; or {again}.",
            field=asked["name"],
        ) from error


def _reason(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", _LONGEST_REASON, placeholder="…").rstrip(".")


def _bad_type(kind: Any) -> UsageError:
    return UsageError(
        "wait.bad_type",
        f"{kind!r} is no type that an answer can have.",
        next_step="Use bool, int, float, str, Literal, an Enum, list, dict, a dataclass or a pydantic model.",
        field="type",
    )


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _plain(choice: Any) -> Any:
    """Return what stands for a member of an Enum or a Literal in an answer."""
    return choice.value if isinstance(choice, enum.Enum) else choice


def _of_members(key: Any, value: Any) -> dict[str, Any]:
    """Return what the schema of a dictionary says of keys and values; keys of JSON are text."""
    said: dict[str, Any] = {"additionalProperties": schema_of(value)}
    if key in _KEY_PATTERNS:
        said["propertyNames"] = {"pattern": _KEY_PATTERNS[key]}
    elif (choices := _choices_of_key(key)) is not None:
        said["propertyNames"] = {"enum": [_key_text(one) for one in choices]}
    elif key is not str and key is not Any:
        raise _bad_type(dict[key, value])
    return said


def _choices_of_key(key: Any) -> Iterable[Any] | None:
    if key is bool:
        return (False, True)
    if get_origin(key) is Literal:
        return get_args(key)
    members: Iterable[Any] | None = key if _is_enum(key) else None
    return members


def _key_text(choice: Any) -> str:
    plain = _plain(choice)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _of_model(kind: Any, pydantic: Any) -> dict[str, Any]:
    """Return pydantic's schema, whose references keep their meaning wherever it becomes a part of another."""
    found: dict[str, Any] = pydantic.TypeAdapter(kind).json_schema()
    if "$defs" in found:
        found["$id"] = f"urn:clary:{quote(f'{kind.__module__}.{kind.__qualname__}')}"
    return found


def _of_kind(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {_WORDS[kind]}")
    return value


def _read_plain(kind: type, value: Any) -> Any:
    """Return a number, a text, a truth value or None; JSON has one kind of numbers, so 3.0 is an int."""
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and type(value) is int:
        return float(value)
    return _of_kind(kind, value)


def _choice(choices: Iterable[Any], value: Any) -> Any:
    """Return the member of an Enum or a Literal that the value stands for."""
    for one in choices:
        plain = json.loads(json.dumps(_plain(one)))
        if plain == value and isinstance(plain, bool) == isinstance(value, bool):
            return one
    raise ValueError(f"{value!r} is none of {', '.join(repr(_plain(one)) for one in choices)}")


def _read_member(kinds: tuple[Any, ...], value: Any) -> Any:
    """Return the value as the member of a union that it is of, as the first that takes it if none is exact."""
    problems = []
    for kind in (*(one for one in kinds if type(value) is one), *kinds):
        try:
            return read(kind, value)
        except Exception as error:  # noqa: BLE001 whatever the type's own code raises
            problems.append(error)
    raise problems[0]


def _read_mapping(arguments: tuple[Any, ...], value: dict[str, Any]) -> dict[Any, Any]:
    if not arguments:
        return value
    found = {_read_key(arguments[0], name): read(arguments[1], one) for name, one in value.items()}
    if len(found) < len(value):
        raise ValueError("two of its keys are the same")
    return found


def _read_key(kind: Any, text: str) -> Any:
    if kind in _KEY_PATTERNS:
        return kind(text)
    choices = _choices_of_key(kind)
    if choices is None:
        return text
    for one in choices:
        if _key_text(one) == text:
            return one
    raise ValueError(f"{text!r} is none of its keys")


def _read_dataclass(kind: Any, value: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    known = {one.name for one in dataclasses.fields(kind) if one.init}
    if unknown := value.keys() - known:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    return kind(**{name: read(hints[name], one) for name, one in value.items()})


def _of_dataclass(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    members = [one for one in dataclasses.fields(kind) if one.init]
    needed = [
        one.name for one in members if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    ]
    return {
        "type": "object",
        "title": kind.__name__,
        "properties": {one.name: schema_of(hints[one.name]) for one in members},
        "required": needed,
        "additionalProperties": False,
    }


def _pydantic(kind: Any) -> Any | None:
    """Return pydantic if the type is one of its models; who made such a model has imported it."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(kind, type):
        return None
    is_model = issubclass(kind, pydantic.BaseModel) or hasattr(kind, "__pydantic_fields__")
    return pydantic if is_model else None
