"""What a function reaches through wrappers, and through containers of more than plain data."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import types
from collections import Counter, deque
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from clary.engine import held
from clary.engine.reach import Reach, reach_of

SOURCE = """
import functools
import operator
from collections import deque
from types import MappingProxyType

def helper(x):
    return x

class Part:
    def go(self, x):
        return helper(x)

class Dispatching:
    @functools.singledispatchmethod
    def by_method(self, x):
        return 'method for all'

    @by_method.register
    def _(self, x: int):
        return 'method for int'

    @by_method.register
    @classmethod
    def _(cls, x: str):
        return 'method for str'

    def _two(self, x, y):
        return 'partial method'

    two = functools.partialmethod(_two, 2)

    @functools.cached_property
    def once(self):
        return 'cached property'

    @functools.lru_cache
    def often(self):
        return 'cached method'

@functools.singledispatch
def choose(x):
    return 'for all'

@choose.register
def _(x: int):
    return helper('for int')

@choose.register(bytes)
def _(x):
    return 'for bytes'

def both(n):
    def scaled(x):
        return x * n
    return scaled

def unwrapped(x):
    return 'behind two'

twice = functools.wraps(functools.cache(unwrapped))(lambda *args: helper(args))

OBJECTS = [Part(), 'a', 1]
NESTED = {'first': [(Part(),)], 'rate': 0.5}
SCALED = [both(1), both(2)]
FROZEN = MappingProxyType({'a': Part()})
WAITING = deque([Part()])
BOUND = Part().go
PARTIAL = functools.partial(both, 3, 4)
GETTER = operator.attrgetter('first')
CALLS = {both, helper, Part, len}

def start(x):
    found = [OBJECTS, NESTED, SCALED, FROZEN, WAITING, BOUND, PARTIAL, GETTER, CALLS, twice]
    return Dispatching(), choose(x), found
"""
CHANGES = {
    "implementation of a generic function": ("return helper('for int')", "return helper('for integers')"),
    "default implementation": ("return 'for all'", "return 'for every'"),
    "implementation registered for a class": ("return 'for bytes'", "return 'for many bytes'"),
    "the class that it is registered for": ("@choose.register(bytes)", "@choose.register(bytearray)"),
    "what implementations call": ("def helper(x):\n    return x", "def helper(x):\n    return -x"),
    "generic method": ("'method for all'", "'method for every'"),
    "implementation of a generic method": ("'method for int'", "'method for integers'"),
    "implementation that is a class method": ("'method for str'", "'method for texts'"),
    "function behind a partial method": ("'partial method'", "'part of a method'"),
    "argument of a partial method": ("partialmethod(_two, 2)", "partialmethod(_two, 3)"),
    "cached property": ("'cached property'", "'kept property'"),
    "cached method": ("'cached method'", "'kept method'"),
    "function behind two wrappers": ("'behind two'", "'behind both'"),
    "method of objects in a list": ("return helper(x)\n", "return helper(x) + 1\n"),
    "longer list of objects": ("OBJECTS = [Part(), ", "OBJECTS = [Part(), Part(), "),
    "plain value beside objects": ("OBJECTS = [Part(), 'a', 1]", "OBJECTS = [Part(), 'a', 2]"),
    "plain value in a table of objects": ("'rate': 0.5", "'rate': 0.6"),
    "longer list in a table": ("[(Part(),)]", "[(Part(), Part())]"),
    "what the first of two closures holds": ("[both(1), both(2)]", "[both(5), both(2)]"),
    "what the second of two closures holds": ("[both(1), both(2)]", "[both(1), both(5)]"),
    "key of a frozen table": ("{'a': Part()}", "{'b': Part()}"),
    "first argument of a partial": ("functools.partial(both, 3, 4)", "functools.partial(both, 5, 4)"),
    "attribute of a getter": ("attrgetter('first')", "attrgetter('second')"),
    "function in a set": ("CALLS = {both, helper", "CALLS = {both, unwrapped"),
}
ONLY_HOLDERS = """
class Alone:
    def go(self, x):
        return {0}

HOLDER = {1}

def start(x):
    return HOLDER
"""
HOLDERS = (
    "[Alone()]",
    "{'a': (1, [Alone()])}",
    "deque([Alone()])",
    "Alone().go",
    "{Alone()}",
    "{1: {2: {3: Alone()}}}",
)
_names = itertools.count()


def _reached(source: str) -> Reach:
    """Return what ``start`` of a module of that source reaches; every module has the same name."""
    module = types.ModuleType("held_here")
    vars(module)["deque"] = deque
    exec(compile(source, f"held_here_{next(_names)}.py", "exec"), vars(module))
    return reach_of(module.start)


def _parts(found: Reach) -> tuple[dict[str, str], dict[str, str]]:
    return found.code, found.constants()


@pytest.mark.parametrize("change", CHANGES)
def test_what_makes_a_difference(change: str) -> None:
    old, new = CHANGES[change]
    assert SOURCE.count(old) == 1
    assert _parts(_reached(SOURCE)) != _parts(_reached(SOURCE.replace(old, new)))


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_class_that_only_a_holder_leads_to(holder: str) -> None:
    before, after = (_reached(ONLY_HOLDERS.format(body, holder)) for body in (1, 2))
    assert before.code["held_here:Alone.go"] != after.code["held_here:Alone.go"]


def test_the_same_code_gives_the_same_parts_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "there.py").write_text(SOURCE)
    code = (
        "from clary.engine.reach import reach_of; import there; r = reach_of(there.start); print(r.code, r.constants())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", "import random; held = bytearray(random.randrange(9**6)); " + code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_a_list_that_grows_in_the_process_is_read_again() -> None:
    module: dict[str, Any] = {"__name__": "held_here", "deque": deque}
    exec(ONLY_HOLDERS.format(1, "[Alone()]"), module)
    found = reach_of(module["start"])
    before = found.constants()
    module["HOLDER"].append(module["Alone"]())
    assert before.keys() == found.constants().keys() == {"held_here:HOLDER"}
    assert before != found.constants()


def test_counters_and_queues_change_as_the_code_runs_and_do_not_count() -> None:
    counted: Counter[str] = Counter()
    waiting: deque[object] = deque()

    def start() -> None:
        counted["a"] += 1
        waiting.append(object())

    found = reach_of(start)
    before = found.constants()
    start()
    assert found.constants() == before


def test_containers_that_hold_themselves_or_are_deep_end() -> None:
    own: list[Any] = [partial(str, 1)]
    own.append(own)
    deep: list[Any] = [object()]
    for _ in range(10_000):
        deep = [deep, object()]

    def start() -> Any:
        return own, deep

    found = reach_of(start)
    assert found.constants() == reach_of(start).constants()


def test_a_container_that_holds_another_many_times_ends() -> None:
    shared: list[Any] = [object()]
    for _ in range(held.DEEPEST):
        shared = [shared] * 300
    assert held.form_of(shared)[:3] == ["builtins", "list", 300]
    assert list(held.code_in(shared)) == [list]


def test_a_long_list_of_numbers_is_walked_at_once() -> None:
    numbers = list(range(100_000))

    def start() -> Any:
        return numbers

    reach_of(start)
    begun = time.process_time()
    reach_of(start)
    assert time.process_time() - begun < 0.1


def test_an_object_is_known_by_its_class_beyond_the_bound() -> None:
    objects = [object() for _ in range(held.MOST_PARTS * 3)]
    *_, parts = held.form_of(objects)
    assert parts[0] == ["builtins", "object", None]
    assert parts[-1] == ["builtins", "object"]
