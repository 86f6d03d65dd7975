"""Values as JSON that keeps their types: what JSON lacks is written as ``{"~tag": …}``.

``from_plain(to_plain(x))`` equals ``x`` in type and value for everything this module takes. What it does not take
(``NotPlain``) is left to the other codecs. Subclasses of the built-in types are not taken: they would come back as
their parents.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import math
import pathlib
import uuid
import zoneinfo
from typing import TYPE_CHECKING, Any

from clary.artifacts import names

if TYPE_CHECKING:
    from collections.abc import Callable

_SIMPLE = (type(None), bool, int, str)


class NotPlain(Exception):  # noqa: N818 - a signal between codecs that never leaves this room
    """The value is of a type that has no plain form."""


def canonical(plain: Any) -> bytes:
    """Return bytes that are equal for equal values: keys and set members sorted."""
    return json.dumps(_sorted(plain), separators=(",", ":"), sort_keys=True).encode()


def to_plain(value: Any) -> Any:
    """Return the JSON form of the value; raises NotPlain."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"~float": repr(value)}
    if kind is list:
        return [to_plain(item) for item in value]
    if kind is dict:
        return _from_dict(value)
    writer = _WRITERS.get(kind)
    if writer is not None:
        return writer(value)
    if isinstance(value, enum.Enum):
        return {"~enum": [names.name_of(kind), value.name]}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {"~named": [names.name_of(kind), [to_plain(item) for item in value]]}
    if dataclasses.is_dataclass(value):
        return _from_dataclass(value)
    raise NotPlain(kind.__qualname__)


def from_plain(plain: Any) -> Any:
    """Return the value; raises ImportError or AttributeError where a class of it is gone."""
    kind = type(plain)
    if kind is list:
        return [from_plain(item) for item in plain]
    if kind is not dict:
        return plain
    if len(plain) == 1:
        ((tag, content),) = plain.items()
        if tag.startswith("~"):
            return _READERS[tag](content)
    return {key: from_plain(item) for key, item in plain.items()}


def _from_dict(value: dict[Any, Any]) -> Any:
    if all(type(key) is str for key in value) and not (len(value) == 1 and next(iter(value)).startswith("~")):
        return {key: to_plain(item) for key, item in value.items()}
    return {"~dict": [[to_plain(key), to_plain(item)] for key, item in value.items()]}


def _from_dataclass(value: Any) -> Any:
    declared = {
        field.name: getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)
    }
    extra = set(getattr(value, "__dict__", {})) - set(declared)
    if extra or "<locals>" in type(value).__qualname__:
        raise NotPlain(type(value).__qualname__)
    return {"~dataclass": [names.name_of(type(value)), {name: to_plain(item) for name, item in declared.items()}]}


def _to_dataclass(content: Any) -> Any:
    kind = names.find_class(content[0])
    value = object.__new__(kind)
    for name, item in content[1].items():
        object.__setattr__(value, name, from_plain(item))  # not the constructor, which may do more than keep values
    return value


def _from_time(value: datetime.datetime | datetime.time) -> Any:
    zone = value.tzinfo
    if zone is not None and type(zone) not in (datetime.timezone, zoneinfo.ZoneInfo):
        raise NotPlain(type(zone).__qualname__)
    naive = value.replace(tzinfo=None).isoformat()
    if zone is None:
        return {f"~{type(value).__name__}": [naive, value.fold]}
    if isinstance(zone, zoneinfo.ZoneInfo):
        if zone.key is None:
            raise NotPlain("ZoneInfo without a key")
        return {f"~{type(value).__name__}": [naive, value.fold, zone.key]}
    offset = zone.utcoffset(None) or datetime.timedelta()
    return {f"~{type(value).__name__}": [naive, value.fold, [offset.days, offset.seconds, offset.microseconds]]}


def _to_time(kind: Any) -> Callable[[Any], Any]:
    def read(content: Any) -> Any:
        value = kind.fromisoformat(content[0]).replace(fold=content[1])
        if len(content) == 2:
            return value
        if isinstance(content[2], str):
            return value.replace(tzinfo=zoneinfo.ZoneInfo(content[2]))
        days, seconds, microseconds = content[2]
        offset = datetime.timedelta(days=days, seconds=seconds, microseconds=microseconds)
        return value.replace(tzinfo=datetime.timezone(offset) if offset else datetime.UTC)

    return read


def _items(tag: str) -> Callable[[Any], Any]:
    return lambda value: {tag: [to_plain(item) for item in value]}


def _text(tag: str) -> Callable[[Any], Any]:
    return lambda value: {tag: str(value)}


def _bytes(tag: str) -> Callable[[Any], Any]:
    return lambda value: {tag: base64.b64encode(value).decode()}


_WRITERS: dict[type, Callable[[Any], Any]] = {
    tuple: _items("~tuple"),
    set: _items("~set"),
    frozenset: _items("~frozenset"),
    bytes: _bytes("~bytes"),
    bytearray: _bytes("~bytearray"),
    complex: lambda value: {"~complex": [value.real.hex(), value.imag.hex()]},
    range: lambda value: {"~range": [value.start, value.stop, value.step]},
    datetime.datetime: _from_time,
    datetime.time: _from_time,
    datetime.date: lambda value: {"~date": value.isoformat()},
    datetime.timedelta: lambda value: {"~timedelta": [value.days, value.seconds, value.microseconds]},
    decimal.Decimal: _text("~decimal"),
    fractions.Fraction: _text("~fraction"),
    uuid.UUID: _text("~uuid"),
    pathlib.PosixPath: _text("~path"),
    pathlib.PurePosixPath: _text("~purepath"),
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "~float": float,
    "~dict": lambda content: {from_plain(key): from_plain(item) for key, item in content},
    "~tuple": lambda content: tuple(from_plain(item) for item in content),
    "~set": lambda content: {from_plain(item) for item in content},
    "~frozenset": lambda content: frozenset(from_plain(item) for item in content),
    "~bytes": base64.b64decode,
    "~bytearray": lambda content: bytearray(base64.b64decode(content)),
    "~complex": lambda content: complex(float.fromhex(content[0]), float.fromhex(content[1])),
    "~range": lambda content: range(*content),
    "~datetime": _to_time(datetime.datetime),
    "~time": _to_time(datetime.time),
    "~date": datetime.date.fromisoformat,
    "~timedelta": lambda content: datetime.timedelta(days=content[0], seconds=content[1], microseconds=content[2]),
    "~decimal": decimal.Decimal,
    "~fraction": fractions.Fraction,
    "~uuid": uuid.UUID,
    "~path": pathlib.PosixPath,
    "~purepath": pathlib.PurePosixPath,
    "~enum": lambda content: names.find_class(content[0])[content[1]],
    "~named": lambda content: tuple.__new__(names.find_class(content[0]), [from_plain(item) for item in content[1]]),
    "~dataclass": _to_dataclass,
}


def _sorted(plain: Any) -> Any:
    """Return the plain form with the members of sets, and the pairs of general dictionaries, in one order."""
    if type(plain) is list:
        return [_sorted(item) for item in plain]
    if type(plain) is not dict:
        return plain
    inner = {key: _sorted(item) for key, item in plain.items()}
    for tag in ("~set", "~frozenset", "~dict"):
        if tag in inner and len(inner) == 1:
            return {tag: sorted(inner[tag], key=lambda item: json.dumps(item, sort_keys=True))}
    return inner
