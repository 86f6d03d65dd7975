"""The client object: runs, artifacts, stacks and secrets from Python, as the command line has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clary import flows
from clary.client.runs import Runs, Statistics
from clary.client.secrets import Secrets

if TYPE_CHECKING:
    from clary.agent.artifacts import Artifact
    from clary.stacks.model import Stack

__all__ = ["Artifacts", "Client", "Runs", "Secrets", "Stacks", "Statistics"]


class Client:
    """What can be done with runs from outside: ``Client().runs.list()``.

    A run is named by its id, the beginning of one, or ``latest``. It is looked for on ``stack``, and without one on
    every stack, the current one first. Nothing is opened before it is used.
    """

    def __init__(self, stack: str | None = None) -> None:
        """Make a client for the stack of that name; None: the stack that a run would use, and all for finding runs."""
        self.stack = stack
        self.runs = Runs(stack)
        """Look at runs, and move them."""
        self.artifacts = Artifacts(self.runs)
        """What runs have kept."""
        self.stacks = Stacks()
        """The stacks of this machine."""
        self.secrets = Secrets(stack)
        """The stack's secrets."""

    def __repr__(self) -> str:
        return f"<client of {self.stack or 'the current stack'}>"


class Artifacts:
    """What runs have kept: values saved by name, outputs of checkpoints, results."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def list(self, run: str, *, name: str | None = None) -> list[Artifact]:
        """Return what a run has kept: of each its name, kind, type, size, address and preview.

        ``name`` leaves those of that name, or of that checkpoint.
        """
        from clary.agent import artifacts

        return artifacts.list_artifacts(*self._runs.find(run), name=name)

    def get(self, run: str, name: str, *, trust: bool = False) -> Any:
        """Return a value by its name, the path of its call (``train#1``), ``result`` or its digest.

        Raises SerializationError ``value.untrusted`` for a pickled one without ``trust``: reading it runs code.
        """
        from clary.agent import artifacts

        return artifacts.get(*self._runs.find(run), name, trust=trust)


class Stacks:
    """The stacks of this machine."""

    create: Callable[..., Stack] = staticmethod(flows.create_stack)
    """As ``clary.create_stack``."""
    delete: Callable[..., None] = staticmethod(flows.delete_stack)
    """As ``clary.delete_stack``."""

    def list(self) -> list[Stack]:
        """Return every stack, ``local`` first."""
        return flows.list_stacks()

    def get(self, name: str) -> Stack:
        """Return a stack by name or id; raises NotFoundError ``stack.not_found``."""
        from clary.stacks import service

        return service.find(name).stack

    def current(self) -> Stack:
        """Return the stack that a run would use now."""
        return flows.current_stack()

    def use(self, name: str) -> Stack:
        """Make a stack the saved current one and return it."""
        return flows.use_stack(name)
