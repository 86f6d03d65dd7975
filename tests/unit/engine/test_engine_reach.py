"""What code a function reaches: what matters changes it, nothing else does, and it is the code that is loaded."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from clary.engine.reach import Reach, reach_of

MAIN = """
import functools
import json
import re
from dataclasses import dataclass, field
from enum import Enum

from reached import helpers
from reached.helpers import direct, Model as Renamed

LIMIT = 10
TABLE = {"a": direct}
PATTERN = re.compile("a+")
UNREAD = 5


class Colour(Enum):
    RED = 1


@dataclass
class Settings:
    rate: float = 0.5
    names: list = field(default_factory=list)


def decorated(times):
    def wrap(function):
        @functools.wraps(function)
        def inner(*args):
            return function(*args) * times
        return inner
    return wrap


@decorated(2)
def doubled(value):
    return value


@functools.cache
def cached(value):
    return value + 1


def unrelated():
    return 1


def start(value, scale=LIMIT):
    def local(x):
        return helpers.through(x)

    from reached import late

    text = json.dumps([Colour.RED.value, PATTERN.pattern, Settings().rate])
    return [local(value), late.step(value), doubled(value), cached(value), Renamed().run(), TABLE["a"](1), text, LIMIT]
"""
HELPERS = """
OFFSET = 1

def direct(x):
    return x

def through(x):
    return deep(x) + OFFSET

def deep(x):
    '''Docs.'''
    return x * 2

def unused(x):
    return x

class Base:
    def shared(self):
        return 1

class Model(Base):
    depth = 3

    @property
    def size(self):
        return self.depth

    @staticmethod
    def make():
        return 4

    def run(self):
        return self.shared() + self.size
"""
LATE = """
def step(x):
    return x - 1
"""
FILES = {"main": MAIN, "helpers": HELPERS, "late": LATE}


@pytest.fixture
def reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the package with changes, import it anew, and return what its ``start`` reaches."""
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "reached"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def reach(**changes: tuple[str, str]) -> Reach:
        for name, text in FILES.items():
            old, new = changes.get(name, ("", ""))
            assert old in text
            (package / f"{name}.py").write_text(text.replace(old, new, 1) if old else text)
        for name in [name for name in sys.modules if name.partition(".")[0] == "reached"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return reach_of(importlib.import_module("reached.main").start)

    yield reach
    for name in [name for name in sys.modules if name.partition(".")[0] == "reached"]:
        del sys.modules[name]


def _parts(found: Reach) -> tuple[dict[str, str], dict[str, str]]:
    return found.code, found.constants()


SAME = {
    "comment in a helper": {"helpers": ("    return x * 2", "    # twice\n\n    return x * 2")},
    "unused helper": {"helpers": ("def unused(x):\n    return x", "def unused(x):\n    return x + 1")},
    "unrelated function": {"main": ("    return 1\n", "    return 2\n")},
    "constant that nobody reads": {"main": ("UNREAD = 5", "UNREAD = 6")},
    "place in the file": {"helpers": ("OFFSET = 1", "\n\nOFFSET = 1")},
}
OTHER = {
    "own code": {"main": ("value, scale=LIMIT", "value, scale=3")},
    "function by module attribute": {"helpers": ("deep(x) + OFFSET", "deep(x) - OFFSET")},
    "function two steps away": {"helpers": ("return x * 2", "return x * 3")},
    "constant two steps away": {"helpers": ("OFFSET = 1", "OFFSET = 2")},
    "own constant": {"main": ("LIMIT = 10", "LIMIT = 11")},
    "function in a table": {"helpers": ("def direct(x):\n    return x", "def direct(x):\n    return -x")},
    "pattern": {"main": ('compile("a+")', 'compile("a*")')},
    "enum": {"main": ("RED = 1", "RED = 2")},
    "dataclass default": {"main": ("rate: float = 0.5", "rate: float = 0.6")},
    "dataclass factory": {"main": ("default_factory=list", "default_factory=lambda: [1]")},
    "argument of a decorator": {"main": ("@decorated(2)", "@decorated(3)")},
    "body of a decorator": {"main": ("function(*args) * times", "function(*args) + times")},
    "decorated function": {"main": ("def doubled(value):\n    return value", "def doubled(value):\n    return -value")},
    "function behind functools.cache": {"main": ("return value + 1", "return value + 2")},
    "method": {"helpers": ("self.shared() + self.size", "self.shared() - self.size")},
    "method of a base": {
        "helpers": ("    def shared(self):\n        return 1", "    def shared(self):\n        return 2")
    },
    "property": {"helpers": ("return self.depth", "return -self.depth")},
    "static method": {"helpers": ("return 4", "return 5")},
    "class attribute": {"helpers": ("depth = 3", "depth = 4")},
    "import in the body": {"late": ("x - 1", "x - 2")},
}


@pytest.mark.parametrize("change", SAME)
def test_what_makes_no_difference(reached: Any, change: str) -> None:
    assert _parts(reached()) == _parts(reached(**SAME[change]))


@pytest.mark.parametrize("change", OTHER)
def test_what_makes_a_difference(reached: Any, change: str) -> None:
    before, after = reached(), reached(**OTHER[change])
    assert _parts(before) != _parts(after)
    assert before.packages == after.packages == {}


def test_it_is_what_is_loaded_not_what_the_file_says_since(reached: Any, tmp_path: Path) -> None:
    before = _parts(reached())
    (tmp_path / "reached" / "helpers.py").write_text(HELPERS.replace("x * 2", "x * 9"))
    assert _parts(reach_of(sys.modules["reached.main"].start)) == before


def test_a_value_that_changes_in_the_process_is_read_again(reached: Any) -> None:
    found = reached()
    before = found.constants()
    vars(sys.modules["reached.helpers"])["OFFSET"] = 7
    changed = {label for label, mark in found.constants().items() if before[label] != mark}
    assert changed == {"reached.helpers:OFFSET"}


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "there.py").write_text(
        "def helper(x):\n    return x in {'a', 'b', 'c', 'd'}\n\ndef start(x):\n    return helper(x)\n"
    )
    code = "from clary.engine.reach import reach_of; import there; print(sorted(reach_of(there.start).code.items()))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_a_script_and_the_module_that_it_is_in_a_job_have_the_same_names(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        textwrap.dedent("""
            from clary.engine.reach import reach_of

            def helper():
                return 1

            def start():
                return helper()

            print(sorted(reach_of(start).code.items()))
        """)
    )
    as_script = [sys.executable, "script.py"]
    as_module = [sys.executable, "-c", "import script"]
    said = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for command in (as_script, as_module)
    ]
    assert said[0] == said[1]
    assert "script:helper" in said[0]


def test_packages_count_by_their_version() -> None:
    def uses_click() -> Any:
        import click

        return click.Command, pytest.approx(1)

    found = reach_of(uses_click)
    assert found.packages["pytest"] == pytest.__version__
    assert found.packages["click"]
    assert len(found.code) == 1


def test_functions_that_name_each_other_end() -> None:
    def even(number: int) -> bool:
        return number == 0 or odd(number - 1)

    def odd(number: int) -> bool:
        return number != 0 and even(number - 1)

    assert len(reach_of(even).code) == 2
    assert reach_of(even).code.keys() == reach_of(odd).code.keys()


def test_an_import_that_fails_is_left_to_the_body() -> None:
    def broken() -> Any:
        import no_such_module_at_all  # type: ignore[import-not-found]

        return no_such_module_at_all

    assert list(reach_of(broken).code)
