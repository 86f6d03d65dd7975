"""One value, encoded: small ones inline in the record, larger ones as objects ``values/<digest>``.

An encoded value is plain data: ``c`` the codec; ``v`` the plain form or ``at`` the object's key with ``n`` its bytes;
``d`` the digest to compare by, absent for pickled values (equal ones differ in their bytes); ``t`` the type's name;
``p`` a preview where there is no plain form to make one from, or one that names classes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from clary.artifacts import names
from clary.artifacts.plain import NotPlain, canonical, from_plain, names_classes, to_plain
from clary.errors import JournalError, SerializationError
from clary.secrets.redaction import mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.objects import ObjectStore

Encoded: TypeAlias = dict[str, Any]

INLINE_LIMIT = 64 * 1024
"""Bytes up to which a value stands in the record itself (DESIGN §4)."""
_PREVIEW = 80
_SCALARS = (type(None), bool, int, str, float)
_compact = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: Any, store: ObjectStore, *, inline_limit: int = INLINE_LIMIT) -> Encoded:
    """Encode a value, storing it as an object when it is over ``inline_limit`` bytes.

    Raises SerializationError (``value.not_serializable``) when nothing can keep it.
    """
    codec, data, plain, mark = _to_bytes(value)
    encoded: Encoded = {"c": codec, "t": type(value).__qualname__}
    if mark is not None:
        encoded["d"] = mark
    if len(data) <= inline_limit and inline_limit:
        if codec != "plain":
            encoded["b"] = base64.b64encode(data).decode()
        else:
            encoded["v"] = plain
            if not names_classes(data.decode()):
                return encoded  # a preview is made from it when somebody asks
    else:
        encoded["at"] = f"values/{hashlib.sha256(data).hexdigest()}"
        encoded["n"] = len(data)
        store.put(encoded["at"], data)  # not create(): S3 may answer 409 when nothing at all was stored
    encoded["p"] = _short(value)
    return encoded


def decode(encoded: Encoded, store: ObjectStore, *, unpickle: bool = True) -> Any:
    """Return the value.

    Raises SerializationError (``value.untrusted``) for a pickled value when ``unpickle`` is off, (``value.unreadable``)
    when its class is gone or its bytes are damaged, JournalError (``value.missing``) when its object is gone.
    """
    codec = encoded["c"]
    if codec == "pickle" and not unpickle:
        raise SerializationError(
            "value.untrusted",
            f"The value is a pickled {encoded['t']}; reading it runs code that it carries.",
            next_step="If you trust whoever made it, say so with --trust.",
        )
    try:
        if "v" in encoded:
            return from_plain(encoded["v"])
        data = base64.b64decode(encoded["b"]) if "b" in encoded else _fetch(encoded, store)
        return _DECODERS[codec](data)
    except (
        ImportError,
        AttributeError,
        KeyError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        RecursionError,
    ) as error:
        raise SerializationError(
            "value.unreadable",
            f"The kept {encoded['t']} cannot be read back: {type(error).__name__}: {error}.",
            next_step="Run with the code and packages that kept it, or let the call run again (--on-change rerun).",
        ) from error


def digest(value: Any) -> str | None:
    """Return a digest that is equal for equal values; None for values that are compared by nobody (pickled ones)."""
    try:
        if type(value) in _SCALARS:
            return _sha(_compact(to_plain(value)).encode())
        if _is_array(value):
            return _array_digest(value)
        return _sha(canonical(to_plain(value)))
    except (NotPlain, RecursionError, ValueError, TypeError):
        return None


def preview(encoded: Encoded) -> str:
    """Return one short line for a person."""
    if "p" in encoded:
        return str(encoded["p"])
    try:
        if names_classes(_compact(encoded["v"])):
            return f"a {encoded['t']}"  # looking at a run imports nothing that its record names
        return _short(from_plain(encoded["v"]))
    except (ImportError, AttributeError, KeyError, TypeError, ValueError):
        return f"a {encoded['t']}"


def _to_bytes(value: Any) -> tuple[str, bytes, Any, str | None]:
    """Return (codec, bytes, plain form if there is one, digest to compare by)."""
    try:
        if _is_array(value):
            return "npy", _array_bytes(value), None, _array_digest(value)
        plain = to_plain(value)
        data = _compact(plain).encode()
        return "plain", data, plain, _sha(data if type(value) in _SCALARS else canonical(plain))
    except (NotPlain, RecursionError, ValueError, TypeError):
        return "pickle", _pickled(value), None, None


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:  # whatever the object's own hooks raise
        raise SerializationError(
            "value.not_serializable",
            f"A {type(value).__qualname__} cannot be kept: {error}",
            next_step="Use plain data, arrays or objects that pickle; open files, locks and clients inside the call.",
        ) from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Find classes of the flow's own file under either of its names."""
        try:
            return names.find(module, name)
        except (ImportError, AttributeError):
            return super().find_class(module, name)


def _unpickled(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


def _is_array(value: Any) -> bool:
    imported = sys.modules.get("numpy")
    return imported is not None and type(value) is imported.ndarray and _keeps(value.dtype)


def _keeps(dtype: Any) -> bool:
    """Tell whether NumPy's file format gives this type of element back: no objects, no notes of the user's on it."""
    parts = [dtype.fields[name][0] for name in dtype.names] if dtype.names else [dtype.base] * (dtype.base is not dtype)
    return bool(dtype.itemsize) and not dtype.hasobject and not dtype.metadata and all(_keeps(part) for part in parts)


def _array_bytes(value: Any) -> bytes:
    import numpy.lib.format

    buffer = io.BytesIO()
    numpy.lib.format.write_array(buffer, value, version=(3, 0), allow_pickle=False)  # takes field names in any script
    return buffer.getvalue()


def _array_digest(value: Any) -> str:
    """Digest of type, shape and elements in C order, whatever the order in memory: equal arrays, equal digests."""
    hashed = hashlib.sha256(f"{value.dtype.str}{value.dtype.descr}{value.shape}".encode())
    for part in _elements(value):
        hashed.update(part)
    return hashed.hexdigest()


def _elements(value: Any) -> Iterator[Any]:
    """Yield the bytes of the elements, field by field where there are fields: what pads them is not part of them."""
    import numpy as np

    if value.dtype.names:
        for name in value.dtype.names:
            yield from _elements(value[name])
    elif value.size:
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data


def _array(data: bytes) -> Any:
    import numpy.lib.format

    return numpy.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


_DECODERS: dict[str, Any] = {
    "plain": lambda data: from_plain(json.loads(data)),
    "npy": _array,
    "pickle": _unpickled,
}


def _fetch(encoded: Encoded, store: ObjectStore) -> bytes:
    data = store.get(encoded["at"])
    if data is None:
        raise JournalError(
            "value.missing",
            f"The kept value {store.url(encoded['at'])} is gone.",
            next_step="Restore the object, or let the call run again (--on-change rerun).",
        )
    if hashlib.sha256(data).hexdigest() != encoded["at"].rpartition("/")[2]:
        raise SerializationError(
            "value.unreadable",
            f"The kept value {store.url(encoded['at'])} is damaged: its digest does not fit.",
            next_step="Restore the object, or let the call run again (--on-change rerun).",
        )
    return data


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _short(value: Any) -> str:
    kind = type(value).__qualname__
    shape, length = getattr(value, "shape", None), None
    if isinstance(shape, tuple):
        return f"{kind} {getattr(value, 'dtype', '')} {shape}".replace("  ", " ")
    if isinstance(value, (list, tuple, dict, set, frozenset, str, bytes, bytearray)):
        length = len(value)
    if length is not None and length > 1000:
        return f"{kind} of {length:,}"
    try:
        text = " ".join(mask(repr(value)).split())
    except Exception:  # noqa: BLE001 - a preview never fails a run
        return kind
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
