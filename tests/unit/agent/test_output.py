from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from clary.agent.output import kept_output, not_kept, output_file, read_lines

if TYPE_CHECKING:
    import pytest


def test_what_is_printed_is_shown_and_kept_with_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = output_file(str(tmp_path), "RUN")
    before = time.time()

    with kept_output(file):
        print("one\ntwo", end="")
        print(" and a half")
        print("wrong", file=sys.stderr)
        with not_kept():
            print("about the run")
        print("no end", end="")

    shown = capsys.readouterr()
    assert shown.out == "one\ntwo and a half\nabout the run\nno end"
    assert shown.err == "wrong\n"
    lines, _ = read_lines(file)
    assert [text for _, text in lines] == ["one", "two and a half", "wrong", "no end"]
    assert all(before - 1 <= moment <= time.time() for moment, _ in lines)


def test_reading_goes_on_where_it_was_and_takes_whole_lines_only(tmp_path: Path) -> None:
    file = tmp_path / "output.log"
    assert read_lines(file) == ([], 0)
    with kept_output(file):
        print("one")
        first, offset = read_lines(file)
        print("two")
        sys.stdout.write("thr")
        second, offset = read_lines(file, offset)
    third, _ = read_lines(file, offset)

    assert [[text for _, text in lines] for lines in (first, second, third)] == [["one"], ["two"], ["thr"]]


def test_lines_of_several_threads_stay_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "output.log"

    def talk(name: int) -> None:
        for number in range(50):
            sys.stdout.write(f"{name}-{number}\n")

    with kept_output(file):
        threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lines = [text for _, text in read_lines(file)[0]]
    assert sorted(lines) == sorted(f"{name}-{number}" for name in range(4) for number in range(50))
    capsys.readouterr()


def test_the_stream_is_the_terminal_s_in_all_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    real = sys.stdout
    with kept_output(tmp_path / "output.log"):
        assert sys.stdout.fileno() == real.fileno()
        assert sys.stdout.encoding == real.encoding
        assert sys.stdout.isatty() == real.isatty()
        assert sys.stdout.writable()
        sys.stdout.flush()
    assert sys.stdout is real


def test_a_foreign_line_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "output.log").write_text("written by hand\n")

    ((_, text),) = read_lines(tmp_path / "output.log")[0]

    assert text == "written by hand"
