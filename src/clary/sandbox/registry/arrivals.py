"""Bodies of uploads go straight from the socket into files of the registry's own, and are moved, not copied, later."""

from __future__ import annotations

import os
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clary.sandbox.faults import Faults
    from clary.sandbox.registry.blobs import Blobs
    from clary.sandbox.wire import Environ

_UPLOAD = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>[^/?]*)(?:\?.*)?")
_OPERATIONS = {"POST": "InitiateLayerUpload", "PATCH": "UploadLayerPart", "PUT": "CompleteLayerUpload"}
_HALF = 32 * 1024
"""After how many bytes a connection breaks that is to break, of a body whose length is not known."""


class Arriving:
    """The body of one request, on its way into a file: what waitress needs of a buffer."""

    def __init__(self, path: Path, breaks_after: int | None) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._size = 0
        self._breaks_after = breaks_after
        self._end = weakref.finalize(self, _discard, self._handle, path)

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Write what has come. Raises ConnectionResetError where a fault was planned."""
        self._size += len(data)
        if self._breaks_after is not None and self._size > self._breaks_after:
            raise ConnectionResetError("planned by a fault of the sandbox")
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._handle, rest) :]

    def getfile(self) -> _Body:
        """Return the body as a file of bytes, which knows this object."""
        return _Body(self)

    def close(self) -> None:
        """Remove the file, unless it was taken over."""
        self._end()


class _Body:
    """What the application finds as ``wsgi.input``."""

    def __init__(self, arriving: Arriving) -> None:
        self.arriving = arriving


def _discard(handle: int, path: Path) -> None:
    os.close(handle)
    path.unlink(missing_ok=True)


class Arrivals:
    """Opens a file for the body of every request that uploads to the registry."""

    def __init__(self, blobs: Blobs, faults: Faults) -> None:
        self._blobs = blobs
        self._faults = faults

    def open(self, method: str, uri: str, length: int | None) -> Arriving | None:
        """Return where the body of a request goes, or None for a request of another kind.

        ``length`` is the number of bytes, where the request says it.
        """
        found = _UPLOAD.fullmatch(uri)
        if found is None or method not in _OPERATIONS:
            return None
        fault = self._faults.take("broken_upload", operation=_OPERATIONS[method], name=found["name"])
        breaks_after = None if fault is None else int(fault.get("bytes", length // 2 if length else _HALF))
        return Arriving(self._blobs.arriving(), breaks_after)


def body_of(environ: Environ) -> Path | bytes:
    """Return the body of an upload: the path of its file, to be moved or removed, or the bytes of a small one."""
    body = environ["wsgi.input"]
    return body.arriving.path if isinstance(body, _Body) else bytes(body.read())
