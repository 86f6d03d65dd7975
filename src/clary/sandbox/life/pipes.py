"""Pipe mode: a channel is read through FIFOs ``<channel>_<epoch>``, one for each pass over the data.

Source: AWS developer guide, "Access Training Data" (Pipe mode) and the RecordIO format of MXNet (magic 0xced7230a).
"""

from __future__ import annotations

import errno
import gzip
import logging
import os
import shutil
import struct
import threading
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clary.sandbox.life.inputs import Channel
    from clary.sandbox.life.s3 import Source
    from clary.sandbox.model import ObjectAccess

_log = logging.getLogger(__name__)
_MAGIC = 0xCED7230A
_CHUNK = 1 << 20
_RETRY = 0.02
"""Real seconds between looks for a reader; opening a FIFO for writing cannot be interrupted."""


class Feeder:
    """Feeds one channel of one host until it is closed."""

    def __init__(
        self, objects: ObjectAccess, channel: Channel, found: Sequence[Source], folder: Path, spool: Path
    ) -> None:
        self._objects = objects
        self._channel = channel
        self._found = found
        self._folder = folder
        self._spool = spool / f"pipe-{threading.get_ident()}-{channel.name}-{id(self)}"
        self._over = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        os.mkfifo(self._fifo(0))
        self._thread = threading.Thread(target=self._run, name=f"pipe-{channel.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop feeding."""
        self._over.set()
        self._thread.join()
        self._spool.unlink(missing_ok=True)

    def _fifo(self, epoch: int) -> Path:
        return self._folder / f"{self._channel.name}_{epoch}"

    def _run(self) -> None:
        epoch = 0
        while not self._over.is_set():
            descriptor = self._open(epoch)
            if descriptor is None:
                return
            # The next pass's FIFO is there before this one ends, so a reader finds it at once.
            os.mkfifo(self._fifo(epoch + 1))
            try:
                with os.fdopen(descriptor, "wb") as sink:
                    self._pour(sink)
            except BrokenPipeError:
                _log.debug("the reader of %s left early", self._fifo(epoch))
            except OSError:
                _log.exception("channel %s could not be fed", self._channel.name)
                return
            self._fifo(epoch).unlink(missing_ok=True)
            epoch += 1

    def _open(self, epoch: int) -> int | None:
        while not self._over.is_set():
            try:
                descriptor = os.open(self._fifo(epoch), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    return None
                self._over.wait(_RETRY)
                continue
            os.set_blocking(descriptor, True)
            return descriptor
        return None

    def _pour(self, sink: BinaryIO) -> None:
        for one in self._found:
            if self._over.is_set():
                return
            self._spool.unlink(missing_ok=True)
            self._objects.download(one.bucket, one.key, self._spool)
            opened = gzip.open if self._channel.compression == "Gzip" else open
            with opened(self._spool, "rb") as source:
                if self._channel.record_wrapper == "RecordIO":
                    size = self._spool.stat().st_size
                    sink.write(struct.pack("<II", _MAGIC, size))
                    shutil.copyfileobj(source, sink, _CHUNK)
                    sink.write(b"\0" * (-size % 4))
                else:
                    shutil.copyfileobj(source, sink, _CHUNK)
