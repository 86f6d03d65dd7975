"""What an answer may be: a Python type as JSON Schema, and plain data as a value of the type. Standard library only.

pydantic models and other types that it knows are asked of pydantic, if the flow's environment has it.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

from clary.errors import UsageError

_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type; an empty one takes everything.

    Raises UsageError ``wait.bad_type`` for a type that no JSON can stand for.
    """
    if kind is Any or kind is None:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one) for one in arguments]}
    if kind in (list, tuple, set) or origin in (list, set):
        return {"type": "array"} | ({"items": schema_of(arguments[0])} if arguments else {})
    if kind is dict or origin is dict:
        return {"type": "object"} | ({"additionalProperties": schema_of(arguments[1])} if arguments else {})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if (pydantic := _pydantic(kind)) is not None:
        found: dict[str, Any] = pydantic.TypeAdapter(kind).json_schema()
        return found
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _of_dataclass(kind)
    raise UsageError(
        "wait.bad_type",
        f"{kind!r} is no type that an answer can have.",
        next_step="Use bool, int, float, str, Literal, an Enum, list, dict, a dataclass or a pydantic model.",
        field="type",
    )


def read(kind: Any, value: Any) -> Any:
    """Return plain data, which fits the type's schema, as a value of the type."""
    if kind is Any or kind is None or kind in _PLAIN:
        return float(value) if kind is float else value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal or kind in (list, dict):
        return value
    if origin in (Union, types.UnionType):
        return read(_member(arguments, value), value)
    if kind in (tuple, set):
        return kind(value)
    if origin in (list, set):
        return origin(read(arguments[0], one) for one in value)
    if origin is dict:
        return {name: read(arguments[1], one) for name, one in value.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if (pydantic := _pydantic(kind)) is not None:
        return pydantic.TypeAdapter(kind).validate_python(value)
    hints = typing.get_type_hints(kind)
    return kind(**{name: read(hints[name], one) for name, one in value.items()})


def _of_dataclass(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    members = dataclasses.fields(kind)
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


def _member(kinds: tuple[Any, ...], value: Any) -> Any:
    """Return the member of a union that the value is of, the first that takes it if none is exact."""
    for kind in kinds:
        if type(value) is kind:
            return kind
    for kind in kinds:
        try:
            read(kind, value)
        except (TypeError, ValueError):
            continue
        return kind
    return Any


def _pydantic(kind: Any) -> Any | None:
    """Return pydantic if the type is one of its models; who made such a model has imported it."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(kind, type):
        return None
    is_model = issubclass(kind, pydantic.BaseModel) or hasattr(kind, "__pydantic_fields__")
    return pydantic if is_model else None
