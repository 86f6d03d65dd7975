"""The layers of a base as they are looked through: read in order, names that take away, links that are followed."""

from __future__ import annotations

import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from clary.errors import ConfigError
from clary.images import oci

if TYPE_CHECKING:
    from clary.images.oci import Descriptor, Manifest

LARGEST = 1024 * 1024 * 1024
"""Compressed bytes of a base that is looked through."""
OPAQUE = ".wh..wh..opq"
GONE = ".wh."
"""Names that take away what lower layers have. Source: the OCI image specification 1.1, "Whiteouts"."""
_LINKS = 40
"""Links that one path may lead through, as Linux has it (MAXSYMLINKS)."""


def look_through(
    manifest: Manifest,
    read: Callable[[Descriptor], AbstractContextManager[Iterable[bytes]]],
    look: Callable[[Iterable[bytes]], None],
) -> None:
    """Give the bytes of each layer to ``look``, the lowest first; ``read`` opens them.

    Raises ConfigError ``image.layer_type``, ``image.bad_layer``.
    """
    oci.check_layers(manifest.layers)
    for layer in manifest.layers:
        with read(layer) as chunks:
            try:
                look(chunks)
            except (tarfile.TarError, zlib.error, EOFError, OSError) as error:  # gzip's own errors are OSError
                raise ConfigError(
                    "image.bad_layer",
                    f"The layer {layer.digest} of the base cannot be unpacked: {error}.",
                    next_step="Push the base anew, or name another; `clary image verify` tells which of its layers "
                    "are damaged.",
                    field="image.base",
                ) from error


def follow(path: str, leads: Callable[[str], str | None]) -> str | None:
    """Return an absolute path with every link in it followed; None for a circle.

    ``leads`` returns what is written in the link at an absolute path, None where there is no link.
    """
    left, done, followed = path.split("/")[::-1], "", 0
    while left:
        part = left.pop()
        if part == "..":
            done = posixpath.dirname(done).rstrip("/")
        elif part not in ("", "."):
            target = leads(f"{done}/{part}")
            if target is None:
                done = f"{done}/{part}"
                continue
            followed += 1
            if followed > _LINKS:
                return None
            done = "" if target.startswith("/") else done
            left += target.split("/")[::-1]
    return done or "/"
