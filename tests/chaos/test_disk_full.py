"""The disk fills up while a value is kept: nothing half is left, the message helps, and the run goes on after."""

from __future__ import annotations

import errno
import os
from typing import IO, TYPE_CHECKING, Any, Self

import pytest

from clary import checkpoint, flow
from clary.errors import ClaryError
from clary.journal import records
from durable import KINDS, attempt, begin, claim, open_log, written

if TYPE_CHECKING:
    from pathlib import Path

ROOM = 100_000
"""Bytes that a file may have."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_does_not_fit_fails_its_call_and_a_resume_keeps_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []

    @checkpoint
    def made(size: int) -> bytes:
        ran.append(size)
        return b"x" * size

    @flow
    def body() -> int:
        return len(made(10)) + len(made(ROOM // 2 + 20_000)) + len(made(ROOM * 2))

    log, store = open_log(kind, tmp_path)
    begin(log, store)
    with monkeypatch.context() as full:
        full.setattr("clary.objects.folder.os.fdopen", _with_little_room)
        outcome = attempt(log, store, body)
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert isinstance(outcome.error, ClaryError)
    assert outcome.error.code == "files.no_space"
    assert "resume" in outcome.error.next_step
    assert [record["cause"] for record in written(log, records.FAILED)] == ["internal"]
    assert not list(tmp_path.rglob(".arriving-*"))
    claim(log, 2)
    assert attempt(log, store, body, 2).value == 10 + ROOM // 2 + 20_000 + ROOM * 2
    assert ran == [10, ROOM // 2 + 20_000, ROOM * 2, ROOM * 2]
    assert [record["path"] for record in written(log, records.CALL)] == ["made#1", "made#2", "made#3"]


def _with_little_room(handle: int, mode: str) -> Any:
    file: IO[bytes] = open(handle, mode)  # noqa: SIM115 - a descriptor, that its user closes
    write = file.write

    def limited(data: bytes) -> int:
        if len(data) > ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(data)

    return _Limited(file, limited)


class _Limited:
    def __init__(self, file: IO[bytes], write: Any) -> None:
        self._file = file
        self.write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
