"""What must not be shown: the values of secrets in use in this process, and how texts are rid of them.

A value is known by its exact text, as it is and as ``repr``, JSON and URLs write it. Values shorter than four
characters are left: they would be found everywhere. Standard library only, for it runs inside the job.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

MASK = "***"
SHORTEST = 4
"""Characters of a value from which on it is masked."""
_SHORTEST_LINE = 8
"""Characters of a line of a text of several lines from which on it is masked by itself."""


class _Hidden:
    """The forms of the hidden values, how often each was asked for, and one pattern for all."""

    def __init__(self) -> None:
        self.forms: Counter[str] = Counter()
        self.pattern: re.Pattern[str] | None = None
        self.renew_locks()

    def renew_locks(self) -> None:
        """Let a forked child print, whatever the parent's other threads were doing at that moment."""
        self.lock = threading.Lock()
        self.writing = threading.RLock()

    def count(self, forms: Iterable[str], step: int) -> None:
        with self.lock:
            for form in forms:
                self.forms[form] += step
                if self.forms[form] <= 0:
                    del self.forms[form]
            longest_first = sorted(self.forms, key=len, reverse=True)
            self.pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


_hidden = _Hidden()
os.register_at_fork(after_in_child=_hidden.renew_locks)


def hide(values: Iterable[str]) -> None:
    """Mask these values from now on."""
    _hidden.count({form for value in values for form in _forms(value)}, 1)


@contextmanager
def hidden(values: Iterable[str]) -> Iterator[None]:
    """Mask these values within the block."""
    forms = {form for value in values for form in _forms(value)}
    _hidden.count(forms, 1)
    try:
        yield
    finally:
        _hidden.count(forms, -1)


@contextmanager
def masked_output() -> Iterator[None]:
    """Mask what Python code prints within the block, if anything is hidden."""
    if not any_hidden():
        yield
        return
    before = sys.stdout, sys.stderr
    streams = MaskedStream(sys.stdout), MaskedStream(sys.stderr)
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in streams:
            stream.finish()


def any_hidden() -> bool:
    """Tell whether there is anything to mask."""
    return _hidden.pattern is not None


def mask(text: str) -> str:
    """Return the text with every hidden value replaced by ``***``."""
    pattern = _hidden.pattern
    return text if pattern is None else pattern.sub(MASK, text)


def masked(data: Any) -> Any:
    """Return plain data with every text in it masked; the very same object when nothing is hidden."""
    if _hidden.pattern is None:
        return data
    if isinstance(data, str):
        return mask(data)
    if isinstance(data, dict):
        return {masked(name): masked(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(masked(value) for value in data) if type(data) in (list, tuple) else data
    return data


def holds_hidden(data: bytes) -> bool:
    """Tell whether bytes, such as those of a pickle, hold a hidden value as text."""
    with _hidden.lock:
        return any(form.encode("utf-8", "surrogatepass") in data for form in _hidden.forms)


class MaskedStream(io.TextIOBase):
    """A text stream that masks what Python code writes to it; in all else it is the stream itself.

    An end of what was written that may be the beginning of a hidden value is held back until the next write, so that
    a value is found that arrives in pieces.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._held = ""

    def write(self, text: str) -> int:
        """Write a text, masked."""
        with _hidden.writing:
            whole = self._held + text
            rest = _after_last(whole)
            self._held = whole[len(whole) - _beginning_at_end(whole[rest:]) :]
            self._stream.write(mask(whole[: len(whole) - len(self._held)]))
        return len(text)

    def finish(self) -> None:
        """Write what is held back; the stream is used no more."""
        with _hidden.writing:
            held, self._held = self._held, ""
            if held:
                self._stream.write(held)
            self._stream.flush()

    def flush(self) -> None:
        """Flush the stream beneath."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether the stream beneath is a terminal."""
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        """Return the descriptor beneath; what is written to it directly is not masked."""
        return int(self._stream.fileno())

    def writable(self) -> bool:
        """Tell that it takes texts."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the stub
        """The encoding of the stream beneath."""
        return str(self._stream.encoding)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _forms(value: str) -> set[str]:
    from urllib.parse import quote  # not for those who hide nothing

    lines = [line.strip() for line in value.splitlines()]
    texts = {value, value.strip(), *(line for line in lines[1:] + lines[:-1] if len(line) >= _SHORTEST_LINE)}
    forms = set(texts)
    for text in texts:
        forms |= {repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        forms |= {quote(text, safe="", errors="replace"), quote(text, errors="replace")}
    return {form for form in forms if len(form) >= SHORTEST}


def _after_last(text: str) -> int:
    """Return where the last hidden value in the text ends."""
    pattern, end = _hidden.pattern, 0
    for found in pattern.finditer(text) if pattern is not None else ():
        end = found.end()
    return end


def _beginning_at_end(text: str) -> int:
    """Return how many characters at the end of the text may be the beginning of a hidden value."""
    longest = 0
    with _hidden.lock:
        for form in _hidden.forms:
            at = text.find(form[0], max(0, len(text) - len(form) + 1))
            while at >= 0 and len(text) - at > longest:
                if form.startswith(text[at:]):
                    longest = len(text) - at
                    break
                at = text.find(form[0], at + 1)
    return longest
