from __future__ import annotations

import threading

from clary.sandbox.clock import SandboxClock
from clary.sandbox.joblogs import MAX_EVENT_BYTES, StreamSink


class Kept:
    """Collects events in place of the streams."""

    def __init__(self, known: int = 0) -> None:
        self.messages: list[str] = []
        self.known = known
        self.came = threading.Event()

    def count(self, *place: str) -> int:
        return self.known

    def append(self, account: str, region: str, group: str, stream: str, events: list[tuple[int, str]]) -> None:
        self.messages += [message for _, message in events]
        self.came.set()


def sink(kept: Kept) -> StreamSink:
    return StreamSink(kept, SandboxClock(), "1", "r", "g", "s")  # type: ignore[arg-type]


def test_lines_cut_anywhere_are_put_together() -> None:
    kept = Kept()
    out = sink(kept)
    for part in (b"on", b"e\ntw", b"o\r\n\nfour ", "ü".encode()[:1], "ü".encode()[1:]):
        out.write(part)
    out.close()
    assert kept.messages == ["one", "two", " ", "four ü"]


def test_lines_arrive_without_a_close() -> None:
    kept = Kept()
    out = sink(kept)
    out.write(b"soon\nrest")
    assert kept.came.wait(5)
    assert kept.messages == ["soon"]
    out.close()
    assert kept.messages == ["soon", "rest"]


def test_a_line_without_end_is_cut_into_events() -> None:
    kept = Kept()
    out = sink(kept)
    for _ in range(3):
        out.write(b"x" * MAX_EVENT_BYTES)
    out.write(b"yz\xff")
    out.close()
    assert [len(message) for message in kept.messages] == [MAX_EVENT_BYTES] * 3 + [3]
    assert kept.messages[-1] == "yz�"


def test_what_is_kept_already_is_skipped() -> None:
    kept = Kept(known=2)
    out = sink(kept)
    out.write(b"1\n2\n3\n")
    out.close()
    assert kept.messages == ["3"]
