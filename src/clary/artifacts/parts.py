"""Containers that hold more than plain data: their form as plain data, and the rest in parts of their own.

A part is kept like any value, under its digest. What can only be pickled goes together into one part, so that objects
which several members share are still shared when they come back.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from clary.artifacts import models
from clary.artifacts.codecs import codec_for, tensors_codec
from clary.artifacts.plain import NotPlain, canonical, class_name, to_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.artifacts.codecs import Codec


class Split:
    """A container taken apart. Raises NotPlain for what is no container, holds itself, or has nothing but pickles."""

    def __init__(self, value: Any) -> None:
        self.values: list[tuple[Any, Codec]] = []
        """The parts that have a codec of their own."""
        self.opaque: list[Any] = []
        """What can only be pickled."""
        self._numbers: dict[int, int] = {}
        self._open: set[int] = set()
        self._holders: list[Any] = []
        self.form = self._form(value, top=True)
        """The container as plain data, with ``{"~part": number}`` for a part, and ``{"~part": -number}`` (from 1) for
        one of the pickled."""
        if not self.values:
            raise NotPlain("a container without parts")

    def mark(self) -> str | None:
        """Return the digest to compare by; None where a part has none."""
        if self.opaque:
            return None
        marks = [codec.mark(value, None) for value, codec in self.values]
        if None in marks:
            return None
        return hashlib.sha256(canonical([self.form, marks])).hexdigest()

    def _form(self, value: Any, *, top: bool = False) -> Any:
        kind = type(value)
        children = _children(value)
        if children is None:
            if top:
                raise NotPlain(kind.__qualname__)
            return self._leaf(value)
        if id(value) in self._open:
            raise NotPlain("a container that holds itself")
        self._open.add(id(value))
        try:
            return children(self._form)
        finally:
            self._open.remove(id(value))

    def _leaf(self, value: Any) -> Any:
        codec = codec_for(value)
        if codec is None:
            try:
                return to_plain(value)
            except NotPlain:
                codec = tensors_codec(value)
        number = self._numbers.get(id(value))
        if number is None:
            if codec is None:
                self.opaque.append(value)
                number = -len(self.opaque)
            else:
                self.values.append((value, codec))
                number = len(self.values) - 1
            self._numbers[id(value)] = number
            self._holders.append(value)  # its identity stays its own while the container is taken apart
        return {"~part": number}


def _children(value: Any) -> Callable[[Callable[[Any], Any]], Any] | None:
    """Return what makes the container's form, given what makes that of a member; None for what is no container."""
    kind = type(value)
    if kind is list:
        return lambda form: [form(item) for item in value]
    if kind is dict and tensors_codec(value) is None:
        if all(type(key) is str and key.isascii() and not key.startswith("~") for key in value):
            return lambda form: {key: form(item) for key, item in value.items()}
        return lambda form: {"~dict": [[to_plain(key), form(item)] for key, item in value.items()]}
    if kind is tuple:
        return lambda form: {"~tuple": [form(item) for item in value]}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        name = _name(value)
        return None if name is None else lambda form: {"~named": [name, [form(item) for item in value]]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = _name(value)
        held = {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if hasattr(value, one.name)}
        return None if name is None else lambda form: {"~dataclass": [name, {key: form(held[key]) for key in held}]}
    model = models.parts_of(value)
    return None if model is None else lambda form: {"~model": [model[0], form(model[1])]}


def _name(value: Any) -> str | None:
    try:
        return class_name(value)
    except NotPlain:
        return None
