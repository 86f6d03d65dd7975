"""Flows as data, for tests that compare the engine with a model: what a body does is a list of steps.

A step is a call of a checkpoint (which has steps of its own), a reading of chance, a question to a person, or a sleep.
How often a body fails is scripted in its step, and what has run is noted in a world that lies outside of every record.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clary import checkpoint, current_run, flow, sleep, sleep_async, wait, wait_async
from clary.engine.retry import Retries
from clary.errors import ClaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.flows import Flow
    from clary.flows.checkpoint import Checkpoint

Step = dict[str, Any]
"""``do`` and what that takes. A call: ``do`` (how it is made), ``mode``, ``fails``, ``retries``, ``inner`` (steps)."""

FINE, EARLY, LATE, DEAD, ILL = "fine", "early", "late", "dead", "ill"
"""How a body ends: it returns; it raises ``fails`` times, before or after its steps, and is tried again; it always
raises, and its caller catches that; it raises until the world is mended, and nobody catches that."""
CALLS = ("call", "submit", "map", "task")
MOST_RETRIES = 2
SLEEP = 1000.0
"""Seconds of every sleep: too many for a process to stay."""
EXPIRES = 500.0
DEAD_WORTH, DEFAULT, EXPIRED, ABORTED = 100, 1_000, 20_000, 300_000


class ScriptedError(Exception):
    """What a body raises because its step says so."""


class DeadError(Exception):
    """What the body of a ``dead`` step raises."""


class IllError(Exception):
    """What the body of an ``ill`` step raises."""


@dataclass(eq=False)
class Process:
    """One process of an attempt, as it were: from opening the log to its end."""

    attempt: int
    on_change: str
    sources: dict[str, str]
    """Digest of each checkpoint's source, by name."""
    opened_at: int = 0
    """Number of the entry with which it took the log over; 0 before."""


@dataclass
class Ran:
    """One time that a body ran."""

    process: Process
    path: str
    returned: bool | None = None
    """None: it was broken off, or has not ended."""


@dataclass
class World:
    """What lies outside of every record."""

    clock: float = 1_000_000.0
    mended: bool = False
    ran: list[Ran] = field(default_factory=list)
    woke: list[tuple[int, float]] = field(default_factory=list)
    """Which sleep of the flow ended when."""
    raised: Counter[str] = field(default_factory=Counter)
    """How often each body has raised as scripted; the flow's own under an empty path."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, path: str) -> Ran:
        """Note that a body begins."""
        ran = Ran(process_here.get(), path)
        with self.lock:
            self.ran.append(ran)
        return ran

    def play(self, path: str, times: int) -> None:
        """Raise, unless that body has raised so often already."""
        with self.lock:
            if self.raised[path] >= times:
                return
            self.raised[path] += 1
        raise ScriptedError(path)


process_here: contextvars.ContextVar[Process] = contextvars.ContextVar("process_here")
"""Set by whoever runs an attempt; calls in threads and tasks inherit it."""
world = World()


def new_world() -> World:
    """Begin with an empty world."""
    global world
    world = World()
    return world


def _begins(step: Step, ran: Ran) -> None:
    if step["mode"] == EARLY:
        world.play(ran.path, step["fails"])


def _ends(step: Step, ran: Ran) -> None:
    if step["mode"] == LATE:
        world.play(ran.path, step["fails"])
    if step["mode"] == DEAD:
        raise DeadError(ran.path)
    if step["mode"] == ILL and not world.mended:
        raise IllError(ran.path)


def _body(step: Step) -> int:
    ran = world.begin(current_run().path)
    try:
        _begins(step, ran)
        total = 1 + grow(step["inner"])
        _ends(step, ran)
    except Exception:
        ran.returned = False
        raise
    ran.returned = True
    return total


async def _body_in_a_loop(step: Step) -> int:
    ran = world.begin(current_run().path)
    try:
        _begins(step, ran)
        total = 1 + await grow_in_a_loop(step["inner"])
        _ends(step, ran)
    except Exception:
        ran.returned = False
        raise
    ran.returned = True
    return total


def _checkpoints(prefix: str, body: Any) -> list[Checkpoint[Any, Any]]:
    return [
        checkpoint(name=f"{prefix}{count}", retries=Retries(count, delay=0))(body) for count in range(MOST_RETRIES + 1)
    ]


NODES = _checkpoints("n", _body)
"""By the number of their retries."""
NODES_IN_A_LOOP = _checkpoints("a", _body_in_a_loop)


def set_sources(versions: dict[str, int]) -> dict[str, str]:
    """Let the checkpoints have the source of these versions; return its digests by name."""
    for node in [*NODES, *NODES_IN_A_LOOP]:
        node.__dict__["source"] = f"version {versions.get(node.name, 0)}"
    return {node.name: node.source for node in [*NODES, *NODES_IN_A_LOOP]}


def grow(steps: list[Step]) -> int:
    """Do the steps; what was begun beside is collected at the end."""
    total, waiting = 0, []
    for step in steps:
        if step["do"] == "value":
            current_run().random()
            continue
        node = NODES[step["retries"]]
        if step["do"] == "map":
            waiting += [(step, future) for future in node.map([step, step])]
        elif step["do"] in ("submit", "task"):
            waiting.append((step, node.submit(step)))
        else:
            total += _caught(step, lambda node=node, step=step: node(step))
    return total + sum(_caught(step, future.result) for step, future in waiting)


async def grow_in_a_loop(steps: list[Step]) -> int:
    """Do the same in an event loop."""
    total = 0
    waiting: list[tuple[Step, Any]] = []
    for step in steps:
        if step["do"] == "value":
            current_run().random()
            continue
        node = NODES_IN_A_LOOP[step["retries"]]
        if step["do"] == "map":
            waiting += [(step, future) for future in node.map([step, step])]
        elif step["do"] == "submit":
            waiting.append((step, node.submit(step)))
        elif step["do"] == "task":
            waiting.append((step, asyncio.ensure_future(node(step))))
        else:
            total += await _caught_in_a_loop(step, node(step))
    for step, one in waiting:
        total += await _caught_in_a_loop(step, one)
    return total


def _caught(step: Step, call: Any) -> int:
    try:
        found: int = call()
    except DeadError:
        if step["mode"] != DEAD:
            raise
        return DEAD_WORTH
    return found


async def _caught_in_a_loop(step: Step, awaited: Any) -> int:
    try:
        found: int = await awaited
    except DeadError:
        if step["mode"] != DEAD:
            raise
        return DEAD_WORTH
    return found


def _options(step: Step) -> dict[str, Any]:
    return {"expires": {"expires": EXPIRES}, "default": {"expires": EXPIRES, "default": DEFAULT}}.get(step["kind"], {})


def _ended(error: ClaryError) -> int:
    if error.code not in ("wait.expired", "wait.aborted"):
        raise error
    return EXPIRED if error.code == "wait.expired" else ABORTED


def make_flow(parts: list[Step], *, in_a_loop: bool, workers: int, fails: int, retries: int) -> Flow[Any, Any]:
    """Return the flow that does the parts: calls and values in between, waits and sleeps by themselves.

    It raises ``fails`` times when it has done everything, and has ``retries`` of its own.
    """

    def plain() -> int:
        total, slept = 0, 0
        for part in parts:
            if part["do"] == "wait":
                try:
                    total += wait(part["name"], int, **_options(part))
                except ClaryError as error:
                    total += _ended(error)
            elif part["do"] == "sleep":
                sleep(SLEEP)
                world.woke.append((slept, world.clock))
                slept += 1
            else:
                total += grow(part["steps"])
        world.play("", fails)
        return total

    async def looped() -> int:
        total, slept = 0, 0
        for part in parts:
            if part["do"] == "wait":
                try:
                    total += await wait_async(part["name"], int, **_options(part))
                except ClaryError as error:
                    total += _ended(error)
            elif part["do"] == "sleep":
                await sleep_async(SLEEP)
                world.woke.append((slept, world.clock))
                slept += 1
            else:
                total += await grow_in_a_loop(part["steps"])
        world.play("", fails)
        return total

    options: Any = {"workers": workers, "retries": Retries(retries, delay=0)}
    made: Flow[Any, Any] = flow(**options)(looped if in_a_loop else plain)
    return made


def worth(steps: list[Step]) -> int:
    """Return what the steps come to, by the script alone."""
    return sum(_worth(step) * (2 if step["do"] == "map" else 1) for step in steps if step["do"] in CALLS)


def _worth(step: Step) -> int:
    return DEAD_WORTH if step["mode"] == DEAD else 1 + worth(step["inner"])


class Paths:
    """Gives each call of a flow its path, by the rules alone: parent, name, and the count of that name there."""

    def __init__(self, *, in_a_loop: bool) -> None:
        self._loop = in_a_loop
        self._counts: Counter[str] = Counter()

    def of(self, steps: list[Step], parent: str, above: list[Step]) -> Iterator[tuple[str, Step, list[Step]]]:
        """Yield path, step and the steps above it."""
        for step in steps:
            if step["do"] not in CALLS:
                continue
            name = f"{'a' if self._loop else 'n'}{step['retries']}"
            for _ in range(2 if step["do"] == "map" else 1):
                path = self._next(parent, name)
                yield path, step, above
                yield from self.of(step["inner"], path, [*above, step])

    def _next(self, parent: str, name: str) -> str:
        place = f"{parent}/{name}".lstrip("/")
        self._counts[place] += 1
        return f"{place}#{self._counts[place]}"
