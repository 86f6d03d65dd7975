"""Equality in type and value: stricter than ``==``, which takes 1 for True and finds no NaN equal to itself."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import struct
from typing import Any

import numpy as np


def same(one: Any, other: Any) -> bool:
    """Tell whether the two are of one type and have one value, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return _same_array(one, other)
    if isinstance(one, np.generic):
        return bool(one.dtype == other.dtype and one.tobytes() == other.tobytes())
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other)) and vars_of(one) == vars_of(other)
    if isinstance(one, (set, frozenset)):
        return len(one) == len(other) and all(any(same(item, its) for its in other) for item in one)
    if isinstance(one, (datetime.datetime, datetime.time)):
        return (one.replace(tzinfo=None), one.fold) == (other.replace(tzinfo=None), other.fold) and same_zone(
            one, other
        )
    if dataclasses.is_dataclass(one):
        return same(fields_of(one), fields_of(other))
    if isinstance(one, decimal.Decimal):
        return bool(one.as_tuple() == other.as_tuple())
    return bool(one == other)


def same_zone(one: datetime.datetime | datetime.time, other: datetime.datetime | datetime.time) -> bool:
    """Tell whether both are in one time zone, of one name."""
    return type(one.tzinfo) is type(other.tzinfo) and str(one.tzinfo) == str(other.tzinfo)


def vars_of(value: Any) -> dict[str, Any]:
    """Return the attributes in the value's own dictionary, if it has one."""
    return dict(getattr(value, "__dict__", {}))


def fields_of(value: Any) -> list[tuple[str, Any]]:
    """Return the fields of a dataclass that are set, with their values."""
    return [(one.name, getattr(value, one.name)) for one in dataclasses.fields(value) if hasattr(value, one.name)]


def _same_array(one: Any, other: Any) -> bool:
    return bool(
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.flags.f_contiguous == other.flags.f_contiguous
        and one.flags.writeable == other.flags.writeable
        and one.tobytes() == other.tobytes()
    )
