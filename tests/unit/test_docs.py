"""The reference pages are current, and name every setting and every error code of the command line's rooms."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from clary import config

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "clary"
ROOMS = ("cli", "stacks", "control")
AREAS = "cli|config|control|internal|run|sandbox|stack"


def test_the_made_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "gen_docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_every_variable_that_is_read_is_documented() -> None:
    read = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r"[\"'](CLARY_[A-Z_]+)[\"']", path.read_text(encoding="utf-8"))
    }
    assert read <= set(config.ENVIRONMENT) | set(config.JOB_ENVIRONMENT)


def test_every_error_code_of_these_rooms_is_documented() -> None:
    files = [SOURCE / "config.py", *(path for room in ROOMS for path in (SOURCE / room).rglob("*.py"))]
    code = re.compile(rf'(?<!= )"((?:{AREAS})\.[a-z_]+)"')  # not those that are only compared with
    named = {found for path in files for found in code.findall(path.read_text(encoding="utf-8"))}
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").rglob("*.md"))
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", pages, re.MULTILINE))
    assert named
    assert named <= documented, sorted(named - documented)
