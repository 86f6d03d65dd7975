from __future__ import annotations

import gzip
import hashlib
import io
import zlib

from clary.images.layers.gzipping import GzipWriter


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def test_members_follow_one_another() -> None:
    file, foreign = io.BytesIO(), b"foreign " * 1000
    packed = _deflated(foreign)
    writer = GzipWriter(file)

    writer.write(b"one ")
    writer.write(b"two ")
    writer.splice(zlib.crc32(foreign), len(foreign), lambda stream, content: (stream(packed), content(foreign)))
    writer.splice(zlib.crc32(foreign), len(foreign), lambda stream, content: (stream(packed), content(foreign)))
    writer.write(b"three")
    writer.close()

    data, content = file.getvalue(), b"one two " + 2 * foreign + b"three"
    assert gzip.decompress(data) == content
    assert data.count(packed) == 2
    assert writer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert writer.diff_id == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert writer.size == len(data)


def test_headers_tell_nothing() -> None:
    file = io.BytesIO()
    writer = GzipWriter(file)

    writer.write(b"x")
    writer.close()

    assert file.getvalue()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_nothing_written_is_nothing() -> None:
    file = io.BytesIO()
    writer = GzipWriter(file)

    writer.close()

    assert file.getvalue() == b""
