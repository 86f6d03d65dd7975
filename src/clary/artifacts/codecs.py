"""The table of codecs: which one keeps a value, and which one reads it back.

A value's codec is looked for by the package that its type comes from, so no library is imported that the user has not
imported. Plain data (``plain``) and containers (``parts``) are no codecs of this kind: ``values`` handles them.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Protocol

from clary.artifacts.plain import LONG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clary.artifacts.content import Content
    from clary.artifacts.storing import Source
    from clary.objects import ObjectStore


class Codec(Protocol):
    """One way to keep values."""

    name: str
    """As the record has it."""
    runs_code: bool
    """Whether reading a value back runs code that it carries."""
    ending: str
    """Of the file that the bytes make."""

    def takes(self, value: Any) -> bool:
        """Tell whether the value is exactly of a kind that comes back equal in type and value."""

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:
        """Return the bytes, and what else must be known to read them: plain data for the record."""

    def read(self, source: Source, meta: dict[str, Any]) -> Any:
        """Return the value; raises ValueError and its kin for bytes that are none."""

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:
        """Return a digest that is equal for equal values, None if there is none; ``kept`` is what was just kept."""


_BY_PACKAGE = {
    "numpy": "arrays",
    "pandas": "frames",
    "polars": "polars_frames",
    "pyarrow": "arrow",
    "torch": "tensors",
    "pathlib": "files",
}
"""The module of this room with the codecs for types of a package."""
_BY_NAME = {
    "npy": "arrays",
    "parquet": "frames",
    "polars": "polars_frames",
    "arrow": "arrow",
    "safetensors": "tensors",
    "torch-tensors": "tensors",
    "file": "files",
    "folder": "files",
    "bytes": "raw",
    "text": "raw",
    "pickle": "pickles",
    "cloudpickle": "pickles",
    "torch": "pickles",
}


def codec_for(value: Any) -> Codec | None:
    """Return the codec of the value's own kind; None for plain data, containers, and what is left to pickle."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package == "builtins":
        if kind in (bytes, bytearray, str) and len(value) > LONG:
            return _taking(value, "raw")
        return None
    module = _BY_PACKAGE.get(package)
    return None if module is None else _taking(value, module)


def tensors_codec(value: Any) -> Codec | None:
    """Return the codec for a dictionary of PyTorch's tensors, such as a model's state; None for all else."""
    if "torch" not in sys.modules or not isinstance(value, dict):
        return None
    return _taking(value, "tensors")


def named(name: str) -> Codec:
    """Return the codec of that name; raises ValueError for one that is not known here."""
    if name not in _BY_NAME:
        raise ValueError(f"kept in a way that this version does not know: {name!r}")
    return next(codec for codec in _codecs(_BY_NAME[name]) if codec.name == name)


def _taking(value: Any, module: str) -> Codec | None:
    return next((codec for codec in _codecs(module) if codec.takes(value)), None)


def _codecs(module: str) -> Iterable[Codec]:
    found: Iterable[Codec] = importlib.import_module(f"clary.artifacts.{module}").CODECS
    return found
