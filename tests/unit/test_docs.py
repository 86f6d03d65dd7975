"""The reference pages are current, and name every setting and every error code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from clary import config
from clary.agent.views import SETTLED
from clary.sagemaker.causes import BY_CAUSE

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


def test_every_error_code_is_documented_and_every_documented_one_exists() -> None:
    texts = {
        node.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    made = {f"run.{status}" for status in SETTLED - {"completed"}}  # by ``agent.service``, of a run without a result
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([^`]+)` \|", page.partition("\n## ")[0], re.MULTILINE)
    raised = raised_codes()

    assert len(raised) > 50
    assert raised | made <= set(documented), sorted((raised | made) - set(documented))
    assert set(documented) <= texts | made, sorted(set(documented) - texts - made)
    assert documented == sorted(set(documented))


def test_every_cause_is_documented_with_its_verdict() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| (\w+) \|", page, re.MULTILINE))
    verdicts = {cause: str(BY_CAUSE[cause].retry) for cause in {one.cause for one in BY_CAUSE.values()}}
    assert told == verdicts | {"invalid_request": "no"}  # of a request that SageMaker refused (``agent.lifecycle``)
