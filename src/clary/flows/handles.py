"""A run that was started from Python, in the hands of whoever started it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.agent.artifacts import Artifact
    from clary.agent.views import RunView

R = TypeVar("R")


class RunHandle(Generic[R]):
    """A run. It is looked at anew whenever something is asked of it."""

    def __init__(self, run_id: str, stack: Any, service: Any, *, reused: bool = False) -> None:
        self.id = run_id
        self.reused = reused
        """Whether its key stood for this run already, so that nothing was started."""
        self._stack = stack
        self._service = service

    @property
    def status(self) -> str:
        """The run's state now."""
        return self.view().status

    def view(self) -> RunView:
        """Return the run as it is now: attempts, calls, waits, artifacts, failure."""
        view: RunView = self._service.get_run(self._stack, self.id)
        return view

    def logs(self, *, follow: bool = False) -> Iterator[tuple[str, float, str]]:
        """Yield the run's output as (host, epoch seconds, line), all attempts in order; with ``follow`` to its end."""
        lines: Iterator[tuple[str, float, str]] = self._service.logs(self._stack, self.id, follow=follow)
        return lines

    def artifacts(self) -> list[Artifact]:
        """Return what the run has kept: saved values, outputs of its checkpoints, its result."""
        from importlib import import_module

        kept: list[Artifact] = import_module("clary.agent.artifacts").list_artifacts(self._stack, self.id)
        return kept

    def wait(self, timeout: float | None = None) -> str:
        """Wait until nothing runs for the run any more and return its state; RunTimeoutError after ``timeout`` s."""
        return str(self._service.wait(self._stack, self.id, timeout).status)

    def result(self, timeout: float | None = None) -> R:
        """Wait for the run and return the flow's value.

        Raises RunFailedError, RunStoppedError or RunTimeoutError; a local run raises what the flow raised.
        """
        self.wait(timeout)
        value: R = self._service.result(self._stack, self.id)
        return value

    def stop(self) -> None:
        """Ask the run to stop."""
        self._service.stop(self._stack, self.id)

    def resume(self, *, on_change: str | None = None) -> RunHandle[R]:
        """Go on with the run where it was, and return it; a local one is over, or waits, when this returns.

        ``on_change`` says what becomes of a recorded call whose code changed: ``error``, ``rerun`` or ``accept``.
        """
        self._service.resume(self._stack, self.id, on_change=on_change)
        return self

    def retry(self) -> RunHandle[R]:
        """Run the calls again whose failure the run ended with, and only those, and return it."""
        self._service.retry(self._stack, self.id)
        return self

    def answer(self, name: str | None, value: Any) -> RunHandle[R]:
        """Answer what the run has asked by that name (None: the only open question) and return it.

        On SageMaker the run goes on at once, a local one with ``resume()``.
        """
        self._service.answer(self._stack, self.id, name, value)
        return self

    def __repr__(self) -> str:
        return f"<run {self.id}>"
