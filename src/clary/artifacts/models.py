"""pydantic's models as plain data: by their class, with the values they hold, made again without their validators."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from clary.artifacts import names

_NONE_SET: tuple[Any, ...] = (None, {})
"""A model without extra fields, or without private attributes, has one of these."""


def parts_of(value: Any) -> tuple[str, list[Any]] | None:
    """Return the name of a model's class and its state (fields, names of those that were set, extra fields).

    None for what is no model, or one that keeps more than that: private attributes, cached properties, an own way to
    be copied, a class that is not found by its name.
    """
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(value, pydantic.BaseModel):
        return None
    kind = type(value)
    name = names.name_of(kind)
    if not _is_found(name, kind) or not _is_ordinary(kind, pydantic.BaseModel):
        return None
    fields = vars(value)
    if set(fields) != set(kind.model_fields) or value.__pydantic_private__ not in _NONE_SET:
        return None
    extra = value.__pydantic_extra__
    return name, [dict(fields), sorted(value.__pydantic_fields_set__), extra and dict(extra), extra is not None]


def make(kind: Any, state: list[Any]) -> Any:
    """Return the model; TypeError where the class is no model any more."""
    pydantic = importlib.import_module("pydantic")  # the user's, where the model's own module needs it
    if not (isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)):
        raise TypeError(f"{names.name_of(kind)} is no model any more")
    fields, were_set, extra, has_extra = state
    value: Any = object.__new__(kind)
    object.__setattr__(value, "__dict__", fields)
    object.__setattr__(value, "__pydantic_fields_set__", set(were_set))
    object.__setattr__(value, "__pydantic_extra__", (extra or {}) if has_extra else None)
    object.__setattr__(value, "__pydantic_private__", {} if value.__private_attributes__ else None)
    return value


def _is_found(name: str, kind: type) -> bool:
    try:
        return names.find_class(name) is kind
    except (ImportError, AttributeError):
        return False


def _is_ordinary(kind: type, base: type) -> bool:
    hooks = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__new__")
    return all(getattr(kind, hook, None) is getattr(base, hook, None) for hook in hooks) and not any(
        base_kind.__dict__.get("__slots__")
        for base_kind in kind.__mro__
        if issubclass(base_kind, base) and base_kind is not base
    )
