"""One value, encoded: small ones inline in the record, larger ones as objects ``values/<digest>``.

An encoded value is plain data: ``c`` the codec; ``v`` the plain form, or ``b`` the bytes in base 64, or ``at`` the
object's key with ``n`` its bytes; ``m`` what else the codec must know; ``d`` the digest to compare by, absent for what
has none (pickled values: equal ones differ in their bytes); ``t`` the type's name; ``p`` a preview in one line where
there is no plain form to make one from, or one that names classes; ``s`` a preview to show.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias

from clary.artifacts import previews
from clary.artifacts.codecs import codec_for, named, tensors_codec
from clary.artifacts.content import Memory
from clary.artifacts.identity import known
from clary.artifacts.parts import Split
from clary.artifacts.paths import only_names
from clary.artifacts.plain import NotPlain, canonical, from_plain, from_plain_with, names_classes, to_plain
from clary.artifacts.storing import Source, address, keep
from clary.errors import ClaryError, SerializationError

if TYPE_CHECKING:
    from clary.artifacts.codecs import Codec
    from clary.objects import ObjectStore

Encoded: TypeAlias = dict[str, Any]

INLINE_LIMIT = 64 * 1024
"""Bytes up to which a value stands in the record itself (DESIGN §4)."""
PLAIN, PARTS = "plain", "parts"
_SCALARS = (type(None), bool, int, str, float)
_NUMBERS = (type(None), bool, int, float)
_SHORT = 24
"""Characters of a number that stands in a record as it is: every float, and integers up to there."""
IN_WORDS = "="
"""What a mark in words begins with."""
_compact = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: Any, store: ObjectStore, *, inline_limit: int = INLINE_LIMIT, label: str = "result") -> Encoded:
    """Encode a value, storing it as an object when it is over ``inline_limit`` bytes.

    ``label`` names the value in errors. Raises SerializationError: ``value.not_serializable`` when nothing can keep it,
    ``value.special_file``, ``value.no_space``, ``value.changed``; and what the store raises.
    """
    codec = codec_for(value)
    if codec is not None:
        return _encode_with(codec, value, store, inline_limit)
    try:
        plain = to_plain(value)
        text = _compact(plain)
    except (NotPlain, RecursionError, ValueError, TypeError):
        return _encode_rest(value, store, inline_limit, label)
    data = text.encode()
    mark = _sha(data if type(value) in _SCALARS else canonical(plain))
    encoded: Encoded = {"c": PLAIN, "t": type(value).__qualname__, "d": mark}
    if len(data) <= inline_limit and inline_limit:
        encoded["v"] = plain
        if names_classes(text):
            encoded["p"] = previews.line(value)
        return encoded  # else a preview is made from it when somebody asks
    encoded |= keep(Memory(data), store, 0)
    return _previewed(encoded, value, store)


def decode(encoded: Encoded, store: ObjectStore, *, unpickle: bool = True) -> Any:
    """Return the value.

    Raises SerializationError (``value.untrusted``) for a pickled value, or one with pickled parts, when ``unpickle`` is
    off, (``value.unreadable``) when its class is gone or its bytes are damaged, JournalError (``value.missing``) when
    its object is gone.
    """
    try:
        if encoded["c"] == PLAIN:
            return from_plain(encoded["v"] if "v" in encoded else json.loads(Source(encoded, store).all()))
        if encoded["c"] == PARTS:
            value = _decode_parts(encoded, store, unpickle=unpickle)
        else:
            codec = named(encoded["c"])
            if codec.runs_code and not unpickle:
                raise untrusted(encoded)
            value = codec.read(Source(encoded, store), encoded.get("m", {}))
    except ClaryError:
        raise
    except Exception as error:  # whatever a library or a class makes of damaged or foreign bytes
        raise SerializationError(
            "value.unreadable",
            f"The kept {encoded['t']} cannot be read back: {type(error).__name__}: {error}.",
            next_step="Run with the code and packages that kept it, or let the call run again (--on-change rerun).",
        ) from error
    if "d" not in encoded:
        known.remember(value, address(encoded), Source(encoded, store).size)
    return value


def untrusted(encoded: Encoded) -> SerializationError:
    """Return the error for a value that is read only by those who trust its writer."""
    return SerializationError(
        "value.untrusted",
        f"The value is a pickled {encoded['t']}; reading it runs code that it carries.",
        next_step="If you trust whoever made it, say so with --trust.",
    )


def digest(value: Any) -> str | None:
    """Return a digest that is equal for equal values; None for values that are compared by nobody.

    A value that has no digest of its own is compared by the address of what was kept of it, if this very object was
    kept or read back in this process.
    """
    try:
        if type(value) in _SCALARS:
            return _sha(_compact(to_plain(value)).encode())
        codec = codec_for(value)
        mark = codec.mark(value, None) if codec is not None else _sha(canonical(to_plain(value)))
    except (NotPlain, RecursionError, ValueError, TypeError, SerializationError):
        mark = _parts_mark(value)
    return mark if mark is not None else known.address(value)


def mark_of(value: Any) -> str | None:
    """Return what an argument is compared by: a short number as it is, which shows a difference, or a digest.

    Texts, which may be secret, have a digest however short they are.
    """
    if type(value) in _NUMBERS and len(text := repr(value)) <= _SHORT:
        return f"{IN_WORDS}{text}"
    return digest(value)


def preview(encoded: Encoded) -> str:
    """Return one short line for a person."""
    if "p" in encoded:
        return str(encoded["p"])
    try:
        if names_classes(_compact(encoded["v"])):
            return f"a {encoded['t']}"  # looking at a run imports nothing that its record names
        with only_names():  # whatever lies at a path on this machine
            return previews.line(from_plain(encoded["v"]))
    except (ImportError, AttributeError, KeyError, TypeError, ValueError):
        return f"a {encoded['t']}"


def shown(encoded: Encoded) -> dict[str, Any]:
    """Return a preview to show: plain data of at most 2 KiB, ``kind`` says of which form (see ``previews``)."""
    if "s" in encoded:
        kept: dict[str, Any] = encoded["s"]
        return kept
    try:
        if "v" in encoded and not names_classes(_compact(encoded["v"])):
            with only_names():
                return previews.show(from_plain(encoded["v"]))
    except (ImportError, AttributeError, KeyError, TypeError, ValueError):
        pass
    return {"kind": "text", "text": preview(encoded)}


def _encode_with(codec: Codec, value: Any, store: ObjectStore, inline_limit: int) -> Encoded:
    content, meta = codec.write(value, store)
    try:
        return _finished(codec, value, {**keep(content, store, inline_limit), "m": meta}, store)
    finally:
        content.close()


def _encode_rest(value: Any, store: ObjectStore, inline_limit: int, label: str) -> Encoded:
    """Encode what is no plain data and has no codec of its own: tensors by name, containers with parts, pickles."""
    try:
        split = Split(value)
    except (NotPlain, RecursionError, ValueError, TypeError):
        return _encode_opaque(value, store, inline_limit, label)
    parts = [_encode_with(codec, part, store, inline_limit) for part, codec in split.values]
    body = {"v": split.form, "parts": [_without_previews(part) for part in parts]}
    if split.opaque:
        body["opaque"] = _without_previews(_encode_opaque(split.opaque, store, inline_limit, label))
    encoded: Encoded = {
        "c": PARTS,
        "t": type(value).__qualname__,
        **keep(Memory(_compact(body).encode()), store, inline_limit),
    }
    encoded["m"] = {"bytes": sum(Source(part, store).size for part in [*parts, *filter(None, [body.get("opaque")])])}
    mark = split.mark()
    if mark is not None:
        encoded["d"] = mark
    if "opaque" in body:
        encoded["m"]["opaque"] = True
    return _remembered(_previewed(encoded, value, store), value, store)


def _encode_opaque(value: Any, store: ObjectStore, inline_limit: int, label: str) -> Encoded:
    from clary.artifacts import pickles

    tensors = tensors_codec(value)
    if tensors is not None:
        return _encode_with(tensors, value, store, inline_limit)
    codec, content = pickles.written(value, store, label)
    try:
        return _finished(codec, value, keep(content, store, inline_limit), store)
    finally:
        content.close()


def _finished(codec: Codec, value: Any, kept: dict[str, Any], store: ObjectStore) -> Encoded:
    encoded: Encoded = {"c": codec.name, "t": type(value).__qualname__, **kept}
    mark = codec.mark(value, encoded)
    if mark is not None:
        encoded["d"] = mark
    return _remembered(_previewed(encoded, value, store), value, store)


def _previewed(encoded: Encoded, value: Any, store: ObjectStore) -> Encoded:
    size = Source(encoded, store).size
    encoded["p"] = previews.line(value, size)
    form = previews.show(value, size, store)
    if form.get("text") != encoded["p"]:  # else the line says it all
        encoded["s"] = form
    return encoded


def _without_previews(encoded: Encoded) -> Encoded:
    return {name: part for name, part in encoded.items() if name not in ("p", "s")}


def _remembered(encoded: Encoded, value: Any, store: ObjectStore) -> Encoded:
    if "d" not in encoded:
        known.remember(value, address(encoded), Source(encoded, store).size)
    return encoded


def _decode_parts(encoded: Encoded, store: ObjectStore, *, unpickle: bool) -> Any:
    body = json.loads(Source(encoded, store).all())
    opaque = decode(body["opaque"], store, unpickle=unpickle)[::-1] if "opaque" in body else []
    values = [decode(part, store, unpickle=unpickle) for part in body["parts"]]
    return from_plain_with(body["v"], values + opaque)  # number -1 is the last of the list: the first pickled one


def _parts_mark(value: Any) -> str | None:
    try:
        return Split(value).mark()
    except (NotPlain, RecursionError, ValueError, TypeError, SerializationError):
        return None


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
