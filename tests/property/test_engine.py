"""Random trees of calls, run by any number of threads or in a loop and broken off at random writes, end alike."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clary import checkpoint, current_run, flow
from durable import Disturbed, assert_once, attempt, begin, call_paths, claim, open_log

if TYPE_CHECKING:
    from clary.journal.log import Log
    from clary.journal.records import Entry

TREES: Any = st.recursive(
    st.just([]),
    lambda inner: st.lists(st.tuples(st.sampled_from(["call", "submit", "map"]), inner), max_size=3),
    max_leaves=8,
)
"""A tree is what a body does: a list of calls, each with the tree of its own body."""


class Death(BaseException):
    """Ends the process of an attempt, as it were."""


_ran: Counter[str] = Counter()


@checkpoint
def node(tree: list[Any]) -> int:
    _ran[current_run().path] += 1
    return 1 + grow(tree)


@checkpoint
async def node_in_a_loop(tree: list[Any]) -> int:
    _ran[current_run().path] += 1
    return 1 + await grow_in_a_loop(tree)


def grow(tree: list[Any]) -> int:
    """Do what the tree says."""
    total, waiting = 0, []
    for how, inner in tree:
        if how == "call":
            total += node(inner)
        elif how == "submit":
            waiting.append(node.submit(inner))
        else:
            waiting += node.map([inner, inner])
    return total + sum(int(future.result()) for future in waiting)


async def grow_in_a_loop(tree: list[Any]) -> int:
    """Do the same in an event loop."""
    total = 0
    waiting: list[Any] = []
    for how, inner in tree:
        if how == "call":
            total += await node_in_a_loop(inner)
        elif how == "submit":
            waiting.append(asyncio.ensure_future(node_in_a_loop(inner)))
        else:
            waiting += node_in_a_loop.map([inner, inner])
    return total + int(sum(await asyncio.gather(*waiting)))


def size(tree: list[Any]) -> int:
    """Return how many calls a tree makes."""
    return sum((1 + size(inner)) * (2 if how == "map" else 1) for how, inner in tree)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    tree=TREES,
    workers=st.integers(1, 4),
    deaths=st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=3),
    kind=st.sampled_from(["sqlite", "objects"]),
    in_a_loop=st.booleans(),
)
def test_any_tree_ends_alike_however_it_is_run_and_broken_off(
    tree: list[Any], workers: int, deaths: list[tuple[int, bool]], kind: str, in_a_loop: bool
) -> None:
    _ran.clear()
    body: Any = flow(workers=workers)(lambda: (grow_in_a_loop if in_a_loop else grow)(tree))
    with tempfile.TemporaryDirectory() as folder:
        log, store = open_log(kind, Path(folder))
        begin(log, store)
        number = 0
        recorded: Counter[str] = Counter()
        for write, stored in [*deaths, (0, False)]:
            number += 1
            if number > 1:
                claim(log, number)
            try:
                outcome = attempt(Disturbed(log, _dying(write, stored)), store, body, number)
            except Death:
                _wait_for_threads()
                assert not {path for path, count in recorded.items() if _ran[path] != count}
                recorded = Counter({path: _ran[path] for path in call_paths(log)})
                continue
            break
        assert outcome.value == size(tree)
        assert not {path for path, count in recorded.items() if _ran[path] != count}
        assert_once(log)
        assert set(call_paths(log)) == set(_ran)
        assert len(_ran) == size(tree)
        getattr(log, "close", lambda: None)()


def _dying(write: int, stored: bool) -> Any:
    left = [write]

    def disturb(inner: Log, entry: Entry) -> bool:
        left[0] -= 1
        if left[0] >= 0 or write == 0:
            return inner.create(entry)
        if left[0] == -1 and stored:
            inner.create(entry)
        raise Death

    return disturb


def _wait_for_threads() -> None:
    """Wait for the bodies that a real death would have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("clary-call"):
            thread.join(30)
