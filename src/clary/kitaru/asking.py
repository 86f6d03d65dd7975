"""Waits of a local execution, told to whoever has started it; at a terminal the answer is typed there, as in Kitaru."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

from clary.errors import ValidationError
from clary.kitaru.handles import current_body

if TYPE_CHECKING:
    from clary.engine.scope import Scope
    from clary.flows import Flow


def is_at_terminal() -> bool:
    """Tell whether somebody can be asked: both ends are terminals."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def is_asked_here(scope: Scope) -> bool:
    """Tell whether the waits of the execution that runs this code are answered at this terminal, once it waits."""
    return scope.execution.waker is None and is_at_terminal()


def tell(scope: Scope, name: str, question: str) -> None:
    """Write on stderr that the execution is about to wait, unless that wait has been answered already."""
    body = current_body.get()
    if body is None:
        return
    number = body.asked[name] = body.asked.get(name, 0) + 1
    if scope.join(f"~wait:{name}#{number}") in scope.execution.journal.state.answers:
        return
    run = scope.execution.run_id
    print(
        f"Execution {run} waits for an answer to {name!r}{f': {question}' if question else '.'}\n"
        f"  Answer: clary runs answer {run} {name} VALUE",
        file=sys.stderr,
        flush=True,
    )


def ask(run: str, flow: Flow[..., Any] | None) -> None:
    """Ask at the terminal for what a local execution waits for, and let it go on; elsewhere do nothing.

    ``flow`` is the one that goes on; None: it is found by the record.
    """
    if not is_at_terminal():
        return
    service = importlib.import_module("clary.agent.service")
    stack, _ = service.find_run(run)
    view = service.get_run(stack, run)
    while stack.type == "local" and view.status == "waiting":
        open_ = [wait for wait in view.waits if wait.outcome is None]
        if not all(_answered(service, stack, run, wait) for wait in open_):
            return
        target = None if flow is None else service.target_of(flow)
        view = service.resume(stack, run, flow=target)


def _answered(service: Any, stack: Any, run: str, wait: Any) -> bool:
    """Ask until an answer fits; False for none."""
    print(f"\n{wait.name}: {wait.question}\n  Expected: {wait.expected}", file=sys.stderr)
    while True:
        print("Answer (nothing leaves the execution waiting): ", end="", file=sys.stderr, flush=True)
        text = sys.stdin.readline().strip()
        if not text:
            return False
        refused = ""
        for value in _readings(text):
            try:
                service.answer(stack, run, wait.path, value)
            except ValidationError as error:
                refused = refused or error.summary
            else:
                return True
        print(refused, file=sys.stderr)


def _readings(text: str) -> list[Any]:
    """Return what was typed as JSON, where it is some, and as text."""
    try:
        return [json.loads(text), text]
    except ValueError:
        return [text]
