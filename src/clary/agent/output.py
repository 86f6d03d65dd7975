"""What a local run prints: to the terminal as ever, and line by line, with times, to ``runs/<run>/output.log``."""

from __future__ import annotations

import contextvars
import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

_telling: contextvars.ContextVar[bool] = contextvars.ContextVar("clary_telling", default=False)


def output_file(root: str, run: str) -> Path:
    """Return where the output of a local run is kept; ``root`` is the folder of the artifact store."""
    return Path(root) / "runs" / run / "output.log"


@contextmanager
def kept_output(file: Path) -> Iterator[None]:
    """Keep what Python code prints in this block; lines are appended to the file, each with its time."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as kept:
        lines = _Lines(kept)
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Tee(sys.stdout, lines), _Tee(sys.stderr, lines)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            lines.finish()


@contextmanager
def not_kept() -> Iterator[None]:
    """Keep nothing of what this thread prints in this block: it is about the run, not from it."""
    token = _telling.set(True)
    try:
        yield
    finally:
        _telling.reset(token)


def read_lines(file: Path, offset: int = 0) -> tuple[list[tuple[float, str]], int]:
    """Return the whole lines behind a byte offset, each with its time (epoch seconds), and the offset to go on from."""
    try:
        with file.open("rb") as kept:
            kept.seek(offset)
            data = kept.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    lines = [_parsed(line) for line in whole.decode("utf-8", errors="replace").split("\n")[:-1]]
    return lines, offset + len(whole)


class _Lines:
    """Makes lines of what is written, by any thread, and stamps them."""

    def __init__(self, kept: IO[str]) -> None:
        self._kept = kept
        self._rest = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        with self._lock:
            *whole, self._rest = (self._rest + text).split("\n")
            stamp = datetime.now(UTC).isoformat()
            self._kept.write("".join(f"{stamp} {line}\n" for line in whole))

    def finish(self) -> None:
        if self._rest:
            self.write("\n")


class _Tee(io.TextIOBase):
    """A stream that also keeps what goes through it; in all else it is the stream itself."""

    def __init__(self, stream: Any, lines: _Lines) -> None:
        self._stream = stream
        self._lines = lines

    def write(self, text: str) -> int:
        if not _telling.get():
            self._lines.write(text)
        self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the stub
        return str(self._stream.encoding)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _parsed(line: str) -> tuple[float, str]:
    stamp, _, text = line.partition(" ")
    try:
        return datetime.fromisoformat(stamp).timestamp(), text
    except ValueError:  # a line of something else that wrote to the file
        return time.time(), line
