"""Bytes and texts too long for the record's JSON: as they are."""

from __future__ import annotations

import codecs
import hashlib
from typing import TYPE_CHECKING, Any

from clary.artifacts.content import Chunk, Made, Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.artifacts.content import Content
    from clary.artifacts.storing import Source
    from clary.objects import ObjectStore

_CHARACTERS = 1 << 20
"""Of a text that are encoded at once."""


class BytesCodec:
    """Long ``bytes`` and ``bytearray``."""

    name = "bytes"
    runs_code = False
    ending = ".bin"

    def takes(self, value: Any) -> bool:
        """Tell whether it is one; the caller asks for long ones only."""
        return type(value) in (bytes, bytearray)

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Return the bytes where they are."""
        return Memory(value), {"kind": type(value).__name__}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:
        """Return them."""
        if meta["kind"] == "bytes":
            return source.all()
        whole = bytearray()
        for chunk in source.chunks():
            whole += chunk
        return whole

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Return the digest to compare by."""
        hashed = hashlib.sha256(f"{type(value).__name__} ".encode())
        for chunk in Memory(value).chunks():
            hashed.update(chunk)
        return hashed.hexdigest()


class TextCodec:
    """Long ``str``, in UTF-8; lone surrogates are kept."""

    name = "text"
    runs_code = False
    ending = ".txt"

    def takes(self, value: Any) -> bool:
        """Tell whether it is one; the caller asks for long ones only."""
        return type(value) is str

    def write(self, value: Any, store: ObjectStore) -> tuple[Content, dict[str, Any]]:  # noqa: ARG002 - the protocol's
        """Return the text's bytes, made piece by piece."""
        return Made(sum(len(chunk) for chunk in _encoded(value)), lambda: _encoded(value)), {}

    def read(self, source: Source, meta: dict[str, Any]) -> Any:  # noqa: ARG002 - the protocol's
        """Return the text."""
        decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        text = ""
        for chunk in source.chunks():
            text += decoder.decode(bytes(chunk))  # grows in place: nobody else holds it
        return text + decoder.decode(b"", final=True)

    def mark(self, value: Any, kept: dict[str, Any] | None) -> str | None:  # noqa: ARG002 - the protocol's
        """Return the digest to compare by."""
        hashed = hashlib.sha256(b"str ")
        for chunk in _encoded(value):
            hashed.update(chunk)
        return hashed.hexdigest()


def _encoded(text: str) -> Iterator[Chunk]:
    start = 0
    while start < len(text):
        yield text[start : start + _CHARACTERS].encode("utf-8", "surrogatepass")
        start += _CHARACTERS


CODECS = (BytesCodec(), TextCodec())
