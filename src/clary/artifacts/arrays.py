"""NumPy arrays in NumPy's own file format (version 3.0), to and from the store without a second copy."""

from __future__ import annotations

import ast
import hashlib
import struct
import sys
from typing import TYPE_CHECKING, Any

from clary.artifacts.content import CHUNK, Chunk, Made
from clary.artifacts.storing import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.artifacts.content import Content
    from clary.artifacts.storing import Source
    from clary.objects import ObjectStore

_MAGIC = b"\x93NUMPY"
_ALIGNED = 64
"""The format's data begin at a multiple of this."""
_LONGEST_HEADER = 1 << 20


class ArrayCodec:
    """Exactly ``numpy.ndarray``, of elements that the format gives back."""

    name = "npy"
    runs_code = False
    ending = ".npy"

    def takes(self, value: Any) -> bool:
        """Tell whether the value is such an array."""
        numpy = sys.modules.get("numpy")
        return numpy is not None and type(value) is numpy.ndarray and _keeps(value.dtype) and _is_told(value.dtype)

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Return header and elements, the latter from where they lie."""
        header = _header(value)
        ordered = value.T if _is_fortran(value) else value

        def made() -> Iterator[Chunk]:
            yield header
            for part in _slabs(ordered):
                yield from _cut(part)

        return Made(len(header) + value.nbytes, made), {}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:  # noqa: ARG002 - the protocol's
        """Return the array, filled as the bytes arrive."""
        import numpy as np

        with Reader(source.chunks()) as reader:
            dtype, fortran, shape = _described(reader)
            array = np.empty(shape[::-1] if fortran else shape, dtype)
            if array.nbytes:
                raw = array.reshape(-1).view(np.uint8).data
                if reader.readinto(raw) != raw.nbytes:
                    raise ValueError("the array's bytes end too early")
            reader.finish()
        return array.T if fortran else array

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Digest of type, shape and elements in C order, whatever the order in memory: equal arrays, equal digests."""
        hashed = hashlib.sha256(f"{value.dtype.str}{value.dtype.descr}{value.shape}".encode())
        for part in _elements(value):
            hashed.update(part)
        return hashed.hexdigest()


def _keeps(dtype: Any) -> bool:
    """Tell whether NumPy's file format gives this type of element back: no objects, no notes of the user's on it."""
    parts = [dtype.fields[name][0] for name in dtype.names] if dtype.names else [dtype.base] * (dtype.base is not dtype)
    return bool(dtype.itemsize) and not dtype.hasobject and not dtype.metadata and all(_keeps(part) for part in parts)


def _is_told(dtype: Any) -> bool:
    """Tell whether the format has words for a type with fields: not where they overlap."""
    import numpy.lib.format

    if not dtype.names:
        return True
    try:
        return bool(numpy.lib.format.descr_to_dtype(numpy.lib.format.dtype_to_descr(dtype)) == dtype)
    except ValueError:
        return False


def _is_fortran(value: Any) -> bool:
    return bool(value.flags.f_contiguous and not value.flags.c_contiguous)


def _header(value: Any) -> bytes:
    """Return the beginning of the file; version 3.0 takes names of fields in any script."""
    import numpy.lib.format

    described = {
        "descr": numpy.lib.format.dtype_to_descr(value.dtype),
        "fortran_order": _is_fortran(value),
        "shape": value.shape,
    }
    text = repr(described).encode()
    padding = -(len(_MAGIC) + 2 + 4 + len(text) + 1) % _ALIGNED
    text += b" " * padding + b"\n"
    return _MAGIC + b"\x03\x00" + struct.pack("<I", len(text)) + text


def _described(reader: Reader) -> tuple[Any, bool, tuple[int, ...]]:
    import numpy.lib.format

    start = reader.read(8) or b""
    if start[:6] != _MAGIC:
        raise ValueError("it is no array file")
    length = int.from_bytes(reader.read(2 if start[6] == 1 else 4) or b"", "little")
    if length > _LONGEST_HEADER:
        raise ValueError("the array's header is too long")
    text = (reader.read(length) or b"").decode("utf-8" if start[6] >= 3 else "latin1")
    header = ast.literal_eval(text.strip())
    return numpy.lib.format.descr_to_dtype(header["descr"]), bool(header["fortran_order"]), tuple(header["shape"])


def _elements(value: Any) -> Iterator[Any]:
    """Yield the bytes of the elements, field by field where there are fields: what pads them is not part of them."""
    if value.dtype.names:
        for name in value.dtype.names:
            yield from _elements(value[name])
    elif value.size:
        yield from _slabs(value)


def _slabs(value: Any) -> Iterator[Any]:
    """Yield the bytes of the elements in C order; of an array that lies otherwise, a few rows at a time are copied."""
    import numpy as np

    if not value.size:
        return
    if value.flags.c_contiguous:
        yield value.reshape(-1).view(np.uint8).data
    elif value.nbytes <= CHUNK or value.shape == (1,):
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    else:
        rows = max(1, CHUNK * len(value) // value.nbytes)
        for start in range(0, len(value), rows):
            part = value[start : start + rows]
            yield from _slabs(part[0] if rows == 1 and value.ndim > 1 else part)


def _cut(part: Any) -> Iterator[Chunk]:
    for start in range(0, part.nbytes, CHUNK):
        yield part[start : start + CHUNK]


CODECS = (ArrayCodec(),)
