"""Event loops for flows: tasks that know their place. Apart, so that flows without a coroutine never load asyncio."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from clary.engine.scope import Scope, current_scope

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in a loop whose tasks are numbered children of their makers."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(numbered_task)
        return runner.run(coroutine, context=contextvars.copy_context())


def numbered_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:
    """Make an asyncio task a numbered child of the scope that makes it (a task factory)."""
    scope = current_scope.get()
    if scope is None:
        return asyncio.Task(coroutine, loop=loop, **options)
    context = options.pop("context", None) or contextvars.copy_context()
    context.run(current_scope.set, Scope(scope.execution, scope.next_path("task")))
    return asyncio.Task(coroutine, loop=loop, context=context, **options)
