from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from clary.code.patterns import Patterns

_PATTERNS = [
    "*.log",
    "/top",
    "build/",
    "a/**/z",
    "**/deep",
    "under/**",
    "doc/*.txt",
    "b[0-9].c",
    "n[!a].c",
    "what?",
    r"\#hash",
    r"\!bang",
    "sp ace",
    "trailing   ",
    "x.tmp/",
]
_PATHS = [
    "a.log",
    "q/a.log",
    "top",
    "q/top",
    "build",
    "q/build/x",
    "a/z",
    "a/b/z",
    "a/b/c/z",
    "ab/z",
    "deep",
    "q/deep",
    "under/x",
    "under/x/y",
    "q/under",
    "doc/a.txt",
    "doc/q/a.txt",
    "b1.c",
    "bx.c",
    "na.c",
    "nb.c",
    "whats",
    "what",
    "#hash",
    "!bang",
    "sp ace",
    "trailing",
    "x.tmp",
    "plain.py",
]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the oracle of this test")
@pytest.mark.parametrize("pattern", _PATTERNS)
def test_patterns_mean_what_they_mean_to_git(tmp_path: Path, pattern: str) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(f"{pattern}\n")
    asked = subprocess.run(
        ["git", "-C", str(tmp_path), "check-ignore", "--no-index", "--stdin", "-z"],
        input="\0".join(_PATHS).encode() + b"\0",
        capture_output=True,
        check=False,
    )
    by_git = {path for path in asked.stdout.decode().split("\0") if path}

    patterns = Patterns([pattern])

    assert {path for path in _PATHS if _left_out(patterns, path)} == by_git


def _left_out(patterns: Patterns, path: str) -> bool:
    parts = path.split("/")
    above = ["/".join(parts[:size]) for size in range(1, len(parts))]
    return any(patterns.verdict(folder, folder=True) for folder in above) or bool(patterns.verdict(path, folder=False))


def test_the_last_match_wins() -> None:
    patterns = Patterns(["# what follows", "", "*.csv", "!small.csv"])

    assert patterns.verdict("big.csv", folder=False) is True
    assert patterns.verdict("data/small.csv", folder=False) is False
    assert patterns.verdict("flow.py", folder=False) is None
