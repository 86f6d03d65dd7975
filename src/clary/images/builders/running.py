"""A program that builds: its words told as they come, its end awaited, and never left behind."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from clary.secrets.redaction import mask

if TYPE_CHECKING:
    from clary.images.building import Progress

_KEPT = 200
"""Lines of a program's output that are kept."""
_SHOWN = 15
"""Lines of it that an error shows at most."""
_GRACE = 2
"""Seconds between asking a program to end and ending it.

Docker 20.10's does not always end when it is asked; the engine stops a build whose program is gone."""
_HEAD, _TAIL = 60, 240
"""Characters that an error shows of a long line: its beginning, and more of its end, where the cause is."""
_STEP = re.compile(r"#(\d+) \d+\.\d+ (.*)")
"""What a step's programs say, as BuildKit tells it: after the step's number and the seconds."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Ended(NamedTuple):
    """What became of a program."""

    code: int
    lines: list[str]
    """The last ones that it said, masked."""


def run(
    command: Sequence[str], environment: Mapping[str, str], progress: Progress, *, stdin: Path | None = None
) -> Ended:
    """Run a program to its end and tell each line that it says to ``progress``, set in: the words are not Clary's.

    Whatever is raised here, Ctrl-C too, the program is ended first.
    """
    with (stdin or Path("/dev/null")).open("rb") as given:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to hand on, once
        )
        assert process.stdout is not None
        try:
            lines = _listened(process.stdout, progress)
            return Ended(process.wait(), lines)
        finally:
            process.stdout.close()
            _end(process)


def useful(lines: Sequence[str]) -> str:
    """Return the lines that say what went wrong: the last step's own, and the program's last word."""
    steps = [found for line in lines if (found := _STEP.fullmatch(line))]
    said = [found[2] for found in steps if found[1] == steps[-1][1]]
    others = [line for line in lines if not line.startswith(("#", "---", " > "))]
    shown = [*said[1 - _SHOWN :], *others[-1:]] if said else others[-_SHOWN:]
    return "\n".join(_shortened(line) for line in shown or lines[-_SHOWN:])


def _shortened(line: str) -> str:
    return line if len(line) <= _HEAD + _TAIL else f"{line[:_HEAD]} … {line[-_TAIL:]}"


def _listened(stream: IO[bytes], progress: Progress) -> list[str]:
    kept: deque[str] = deque(maxlen=_KEPT)
    for raw in stream:
        text = mask(_COLOURS.sub("", raw.decode("utf-8", "replace"))).rstrip()
        if text:
            kept.append(text)
            progress.stage(f"  {text}")
    return list(kept)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
