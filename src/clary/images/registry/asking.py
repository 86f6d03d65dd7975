"""A request and its answer, as the modules of this package hand them to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

READ_TIMEOUT = 60.0
"""Seconds without a byte of answer."""
COMMIT_TIMEOUT = 600.0
"""Seconds for the answer to a whole blob: the registry may read all of it again before it says a word."""


@dataclass(frozen=True)
class Request:
    """A request that may be sent several times."""

    method: str
    url: str
    subject: str
    """What it is about, for errors: the repository, perhaps with what in it."""
    scopes: tuple[str, ...] = ()
    """What a token must allow, ``repository:NAME:pull``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], Iterable[bytes]] | None = None
    """Bytes, or what makes them, which each try calls anew; then the headers say Content-Length."""
    timeout: float = READ_TIMEOUT
    upload: bool = False
    """Whether a blob is on its way, so that a lost upload is no lost cause."""


class Answer(NamedTuple):
    """An answer that has been read."""

    status: int
    url: str
    """Where it came from, redirects followed."""
    headers: Mapping[str, str]
    data: bytes
