"""The reference pages are current, and name every setting and every error code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from clary import config

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "clary"
CODE = re.compile(r"[a-z]+\.[a-z_]+")


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


def raised_codes() -> set[str]:
    """Return every code that the source gives to an error, its first argument."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                value = node.args[0].value
                if (
                    isinstance(value, str)
                    and CODE.fullmatch(value)
                    and {"next_step"} & {one.arg for one in node.keywords}
                ):
                    found.add(value)
    return found


def test_every_error_code_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", page, re.MULTILINE))
    raised = raised_codes()
    assert len(raised) > 50
    assert raised <= documented, sorted(raised - documented)
