"""What is masked, how it may be written, and when it stops."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import sys
import threading
from urllib.parse import quote

import pytest

from clary.secrets import redaction
from patience import until

VALUE = "p@ss\"word'é\n-second line-"


def test_nothing_is_masked_where_nothing_is_hidden() -> None:
    data = {"a": ["text"]}
    assert redaction.masked(data) is data
    assert not redaction.any_hidden()
    with redaction.masked_output():
        pass


@pytest.mark.parametrize(
    "written", [VALUE, repr(VALUE), json.dumps(VALUE), json.dumps(VALUE, ensure_ascii=False), quote(VALUE, safe="")]
)
def test_a_value_is_masked_however_it_is_written(written: str) -> None:
    with redaction.hidden([VALUE]):
        shown = redaction.mask(f"before {written} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "ss" not in shown
    assert redaction.mask(written) == written  # outside of the block


def test_short_values_are_left_and_longer_ones_go_first() -> None:
    with redaction.hidden(["abc", "abcd", "abcdef"]):
        assert redaction.mask("abc abcd abcdef") == "abc *** ***"


def test_blocks_nest_and_overlap() -> None:
    with redaction.hidden(["value one"]):
        with redaction.hidden(["value one", "value two"]):
            assert redaction.mask("value one, value two") == "***, ***"
        assert redaction.mask("value one, value two") == "***, value two"


def test_plain_data_is_masked_deep_down() -> None:
    with redaction.hidden(["hidden"]):
        data = redaction.masked({"hidden": [1, ("x hidden", None)], "n": {"b": True}})
        assert data == {"***": [1, ("x ***", None)], "n": {"b": True}}
        assert redaction.holds_hidden(pickle.dumps({"a": "it is hidden"}))
        assert not redaction.holds_hidden(b"nothing")


def test_printing_is_masked_in_pieces_too() -> None:
    kept = io.StringIO()
    with redaction.hidden(["abcabcd"]):
        stream = redaction.MaskedStream(kept)
        for piece in ("xabc", "abc", "abcd", "", "\nabca"):
            assert stream.write(piece) == len(piece)
        stream.flush()
        assert kept.getvalue() == "xabc***\n"
        stream.finish()
    assert kept.getvalue() == "xabc***\nabca"
    assert (stream.isatty(), stream.writable(), stream.newlines) == (False, True, None)


def test_a_forked_child_can_print_while_another_thread_does(capfd: pytest.CaptureFixture[str]) -> None:
    stream = redaction.MaskedStream(io.StringIO())
    inside, go_on = threading.Event(), threading.Event()

    def slow(_text: str) -> None:
        inside.set()
        go_on.wait(30)

    stream._stream.write = slow
    other = threading.Thread(target=stream.write, args=("x",))
    other.start()
    assert inside.wait(30)
    with redaction.hidden(["a hidden text"]):
        child = os.fork()
        if child == 0:  # the other thread is not here, and its locks must not be held either
            redaction.MaskedStream(sys.__stdout__).write("the child\n")
            os._exit(0 if redaction.mask("a hidden text") == "***" else 1)
    ended = (0, 0)
    try:
        ended = until(lambda: now if (now := os.waitpid(child, os.WNOHANG))[0] else None, "the end of the child")
    finally:
        if not ended[0]:
            os.kill(child, signal.SIGKILL)
        go_on.set()
        other.join()
    assert ended == (child, 0)


def test_the_output_of_a_block_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    with redaction.hidden(["a hidden text"]), redaction.masked_output():
        print("this is a hidden", end="")
        print(" text")
    assert capsys.readouterr().out == "this is ***\n"
