"""Containers for the tests: one image for the session, a folder of its own for every test."""

from __future__ import annotations

import textwrap
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from clary.sandbox.containers.namespaces import Mode, NamespaceContainer, NamespaceExecutor
from clary.sandbox.model import ContainerSpec, ImageNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from clary.sandbox.containers.image import Image

PATIENCE = 20.0


class OneImage:
    """A source that knows one image, by the name ``python``."""

    def __init__(self, image: Image) -> None:
        self.image = image

    def resolve(self, reference: str) -> Image:
        if reference != "python":
            raise ImageNotFound(f"no image {reference}")
        return self.image


@dataclass
class Started:
    """A container and what it has written so far."""

    spec: ContainerSpec
    pieces: list[bytes] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    container: NamespaceContainer = field(init=False)

    @property
    def text(self) -> str:
        return b"".join(self.pieces).decode()

    def take(self, data: bytes) -> None:
        with self.arrived:
            self.pieces.append(data)
            self.arrived.notify_all()

    def await_text(self, text: str) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: text in self.text, PATIENCE), self.text

    def result(self) -> tuple[int, str]:
        code = self.container.wait(PATIENCE)
        assert code is not None, "the container does not end"
        return code, self.text


class Machine:
    """Starts containers in a folder of its own."""

    def __init__(self, folder: Path, image: Image, mode: Mode) -> None:
        self.folder = folder
        self.image = image
        self.executor = NamespaceExecutor(folder, [OneImage(image)], mode)
        self.started: list[Started] = []

    def spec(self, words: Sequence[str] | str, **changes: Any) -> ContainerSpec:
        """A specification; a text is Python code."""
        place = self.folder / f"c{len(self.started)}-{changes.get('host', 'algo-1')}"
        (place / "ml").mkdir(parents=True, exist_ok=True)
        entrypoint = ["python", "-u", "-c", textwrap.dedent(words)] if isinstance(words, str) else words
        usual: Mapping[str, Any] = {
            "job": "job",
            "host": "algo-1",
            "hosts": ["algo-1"],
            "image": "python",
            "entrypoint": entrypoint,
            "arguments": None,
            "environment": {},
            "opt_ml": place / "ml",
            "scratch": place / "scratch",
        }
        return ContainerSpec(**{**usual, **changes})

    def start(self, words: Sequence[str] | str, **changes: Any) -> Started:
        return self.start_spec(self.spec(words, **changes))

    def start_spec(self, spec: ContainerSpec) -> Started:
        started = Started(spec)
        started.container = self.executor.start(spec, started.take)
        self.started.append(started)
        return started

    def run(self, words: Sequence[str] | str, **changes: Any) -> tuple[int, str]:
        return self.start(words, **changes).result()

    def close(self) -> None:
        for started in self.started:
            started.container.kill()
        for started in self.started:
            started.container.wait(PATIENCE)
        self.executor.close()


@pytest.fixture
def make_machine(tmp_path: Path, image: Image) -> Iterator[Callable[..., Machine]]:
    with ExitStack() as stack:

        def make(mode: Mode, *, name: str = "machine", of: Image = image) -> Machine:
            (tmp_path / name).mkdir(exist_ok=True)
            machine = Machine(tmp_path / name, of, mode)
            stack.callback(machine.close)
            return machine

        yield make


@pytest.fixture
def machine(make_machine: Callable[..., Machine], mode: Mode) -> Machine:
    return make_machine(mode)
