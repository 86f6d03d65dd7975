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
import struct
import sys
import uuid
import zoneinfo
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from clary.artifacts import models, names, paths

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE = 1 << 64
"""Integers from here on are written in base 16: Python refuses to read very long ones in base 10."""
LONG = 1 << 20
"""Bytes or characters from which on a text is no plain data: it is kept as it is, in an object of its own."""
_COMPARABLE_SCALARS = frozenset("biufcmMSU")
"""Kinds of NumPy scalars that have a plain form: numbers, times, texts."""


_parts: ContextVar[list[Any]] = ContextVar("clary_parts")


class NotPlain(Exception):  # noqa: N818 - a signal between codecs that never leaves this room
    """The value is of a type that has no plain form."""


_in_order = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def names_classes(text: str) -> bool:
    """Tell whether a plain form, as JSON, may name classes: reading it back then imports their modules."""
    return '"~' in text and any(f'"{tag}"' in text for tag in ("~enum", "~flag", "~named", "~dataclass", "~model"))


def canonical(plain: Any) -> bytes:
    """Return bytes that are equal for equal values: keys and set members sorted."""
    return _in_order(_sorted(plain)).encode()


def to_plain(value: Any) -> Any:
    """Return the JSON form of the value; raises NotPlain."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= LONG and value.isascii() else _from_text(value)
    if kind is int:
        return value if -_LARGE < value < _LARGE else {"~int": hex(value)}
    if kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"~float": _float_name(value)}
    if kind is list:
        return [to_plain(item) for item in value]
    if kind is dict:
        return _from_dict(value)
    writer = _WRITERS.get(kind)
    if writer is not None:
        return writer(value)
    if isinstance(value, enum.Enum):
        return _from_enum(value)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {"~named": [class_name(value), [to_plain(item) for item in value]]}
    if dataclasses.is_dataclass(value):
        return _from_dataclass(value)
    return _from_library(value)


def _from_library(value: Any) -> Any:
    """Return the form of a scalar of NumPy's or a model of pydantic's."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _from_numpy(value, numpy)
    model = models.parts_of(value)
    if model is not None:
        return {"~model": [model[0], to_plain(model[1])]}
    raise NotPlain(type(value).__qualname__)


def from_plain_with(plain: Any, parts: list[Any]) -> Any:
    """Return the value whose ``{"~part": number}`` stand for these."""
    token = _parts.set(parts)
    try:
        return from_plain(plain)
    finally:
        _parts.reset(token)


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
    if all(type(key) is str and _is_text(key) for key in value) and not (
        len(value) == 1 and next(iter(value)).startswith("~")
    ):
        return {key: to_plain(item) for key, item in value.items()}
    return {"~dict": [[to_plain(key), to_plain(item)] for key, item in value.items()]}


def _is_text(value: str) -> bool:
    """Tell whether JSON gives the text back: of two surrogates in a row it would make one character."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _from_text(value: str) -> Any:
    if len(value) > LONG:
        raise NotPlain("a long text")
    return value if _is_text(value) else {"~str": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()}


def _float_name(value: float) -> str:
    """Return ``inf``, ``-inf``, ``nan``, or for a NaN with sign or payload its bits."""
    bits = struct.pack(">d", value)
    return repr(value) if math.isinf(value) or bits == _NAN else bits.hex()


def _float_of(name: str) -> float:
    if len(name) < 16:
        return float(name)
    found: float = struct.unpack(">d", bytes.fromhex(name))[0]
    return found


_NAN = struct.pack(">d", math.nan)


def _part(value: float) -> Any:
    return value.hex() if math.isfinite(value) else _float_name(value)


def _part_of(part: str) -> float:
    return float.fromhex(part) if part.lstrip("-").startswith("0x") else _float_of(part)


def _from_enum(value: enum.Enum) -> Any:
    kind = type(value)
    if value.name in kind.__members__:
        return {"~enum": [class_name(value), value.name]}
    if isinstance(value, enum.Flag) and type(value.value) is int:  # several members at once, or none
        return {"~flag": [class_name(value), value.value]}
    raise NotPlain(kind.__qualname__)


def class_name(value: Any) -> str:
    """Return the name of the value's class; NotPlain where the name would not lead back to an equal value."""
    kind = type(value)
    name = names.name_of(kind)
    try:
        found = names.find_class(name)
    except (ImportError, AttributeError):
        found = None
    if found is not kind or (not isinstance(value, enum.Enum) and (_has_extra_state(value) or _reduces_itself(kind))):
        raise NotPlain(kind.__qualname__)
    return name


def _has_extra_state(value: Any) -> bool:
    """Tell whether there are attributes beside the declared fields."""
    fields: Any = getattr(value, "_fields", None) or getattr(value, "__dataclass_fields__", ())
    slots = {slot for kind in type(value).__mro__ for slot in _slots(kind) if hasattr(value, slot)}
    return bool((set(getattr(value, "__dict__", ())) | slots) - set(fields))


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    listed = (slots,) if isinstance(slots, str) else tuple(slots)
    private = f"_{kind.__name__.lstrip('_')}"
    return tuple(
        private + slot if slot.startswith("__") and not slot.endswith("__") else slot
        for slot in listed
        if slot not in ("__dict__", "__weakref__")
    )


def _reduces_itself(kind: type) -> bool:
    """Tell whether the class has its own way to be copied, or is made by another constructor than ``object``'s."""
    hooks = [name for name in ("__reduce__", "__reduce_ex__") if getattr(kind, name) is not getattr(object, name)]
    return bool(hooks) or (not issubclass(kind, tuple) and kind.__new__ is not object.__new__)


def _from_dataclass(value: Any) -> Any:
    name = class_name(value)
    declared = {
        field.name: getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)
    }
    return {"~dataclass": [name, {name: to_plain(item) for name, item in declared.items()}]}


def _class(name: str, is_right: Callable[[Any], bool]) -> Any:
    """Return the class of that name; TypeError for anything else, which a record from outside might name."""
    kind = names.find_class(name)
    if not (isinstance(kind, type) and is_right(kind)):
        raise TypeError(f"{name} is not such a class any more")
    return kind


def _to_enum(content: Any) -> Any:
    return _class(content[0], lambda kind: issubclass(kind, enum.Enum))[content[1]]


def _to_flag(content: Any) -> Any:
    return _class(content[0], lambda kind: issubclass(kind, enum.Flag))(content[1])


def _to_named(content: Any) -> Any:
    kind = _class(content[0], lambda kind: issubclass(kind, tuple) and hasattr(kind, "_fields"))
    return tuple.__new__(kind, [from_plain(item) for item in content[1]])


def _to_dataclass(content: Any) -> Any:
    kind = _class(content[0], dataclasses.is_dataclass)
    value = object.__new__(kind)
    for name, item in content[1].items():
        object.__setattr__(value, name, from_plain(item))  # not the constructor, which may do more than keep values
    return value


def _from_numpy(value: Any, numpy: Any) -> Any:
    dtype = value.dtype
    if (
        dtype.kind not in _COMPARABLE_SCALARS
        or not dtype.itemsize
        or dtype.metadata
        or numpy.dtype(dtype.str).type is not type(value)
    ):
        raise NotPlain(type(value).__qualname__)
    return {"~numpy": [dtype.str, value.tobytes().hex()]}


def _to_numpy(content: Any) -> Any:
    import numpy as np

    return np.frombuffer(bytes.fromhex(content[1]), content[0])[0]


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
    kept = [naive, value.fold, [offset.days, offset.seconds, offset.microseconds]]
    name = zone.tzname(None)
    return {f"~{type(value).__name__}": kept if name == datetime.timezone(offset).tzname(None) else [*kept, name]}


def _to_time(kind: Any) -> Callable[[Any], Any]:
    def read(content: Any) -> Any:
        value = kind.fromisoformat(content[0]).replace(fold=content[1])
        if len(content) == 2:
            return value
        if isinstance(content[2], str):
            return value.replace(tzinfo=zoneinfo.ZoneInfo(content[2]))
        days, seconds, microseconds = content[2]
        offset = datetime.timedelta(days=days, seconds=seconds, microseconds=microseconds)
        return value.replace(tzinfo=datetime.timezone(offset, *content[3:]))

    return read


def _items(tag: str) -> Callable[[Any], Any]:
    return lambda value: {tag: [to_plain(item) for item in value]}


def _text(tag: str) -> Callable[[Any], Any]:
    return lambda value: {tag: str(value)}


def _bytes(tag: str) -> Callable[[Any], Any]:
    def write(value: Any) -> Any:
        if len(value) > LONG:
            raise NotPlain("long bytes")
        return {tag: base64.b64encode(value).decode()}

    return write


def _from_path(value: pathlib.Path) -> Any:
    if paths.has_content(value):
        raise NotPlain("a path with its content")
    return {"~path": _from_text(str(value))}


def _to_model(content: Any) -> Any:
    return models.make(names.find_class(content[0]), from_plain(content[1]))


_WRITERS: dict[type, Callable[[Any], Any]] = {
    tuple: _items("~tuple"),
    set: _items("~set"),
    frozenset: _items("~frozenset"),
    bytes: _bytes("~bytes"),
    bytearray: _bytes("~bytearray"),
    complex: lambda value: {"~complex": [_part(value.real), _part(value.imag)]},
    range: lambda value: {"~range": [value.start, value.stop, value.step]},
    datetime.datetime: _from_time,
    datetime.time: _from_time,
    datetime.date: lambda value: {"~date": value.isoformat()},
    datetime.timedelta: lambda value: {"~timedelta": [value.days, value.seconds, value.microseconds]},
    decimal.Decimal: _text("~decimal"),
    fractions.Fraction: _text("~fraction"),
    uuid.UUID: _text("~uuid"),
    pathlib.PosixPath: _from_path,
    pathlib.PurePosixPath: lambda value: {"~purepath": _from_text(str(value))},
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "~float": _float_of,
    "~int": lambda content: int(content, 16),
    "~str": lambda content: base64.b64decode(content).decode("utf-8", "surrogatepass"),
    "~dict": lambda content: {from_plain(key): from_plain(item) for key, item in content},
    "~tuple": lambda content: tuple(from_plain(item) for item in content),
    "~set": lambda content: {from_plain(item) for item in content},
    "~frozenset": lambda content: frozenset(from_plain(item) for item in content),
    "~bytes": base64.b64decode,
    "~bytearray": lambda content: bytearray(base64.b64decode(content)),
    "~complex": lambda content: complex(_part_of(content[0]), _part_of(content[1])),
    "~range": lambda content: range(*content),
    "~datetime": _to_time(datetime.datetime),
    "~time": _to_time(datetime.time),
    "~date": datetime.date.fromisoformat,
    "~timedelta": lambda content: datetime.timedelta(days=content[0], seconds=content[1], microseconds=content[2]),
    "~decimal": decimal.Decimal,
    "~fraction": fractions.Fraction,
    "~uuid": uuid.UUID,
    "~path": lambda content: pathlib.PosixPath(from_plain(content)),
    "~purepath": lambda content: pathlib.PurePosixPath(from_plain(content)),
    "~enum": _to_enum,
    "~flag": _to_flag,
    "~numpy": _to_numpy,
    "~named": _to_named,
    "~dataclass": _to_dataclass,
    "~model": _to_model,
    "~part": lambda content: _parts.get()[content],
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
            return {tag: sorted(inner[tag], key=_in_order)}
    return inner
