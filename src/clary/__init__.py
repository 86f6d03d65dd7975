"""Clary runs Python as managed Amazon SageMaker jobs: durable flows, pipelines, queues and images.

The public names are loaded when they are first used, so that ``import clary`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary._version import __version__

if TYPE_CHECKING:
    from clary.client import Client
    from clary.flows import (
        Cache,
        Retries,
        as_completed,
        checkpoint,
        configure,
        create_stack,
        current_run,
        current_stack,
        delete_stack,
        flow,
        list_stacks,
        load,
        log,
        progress,
        save,
        sleep,
        sleep_async,
        use_stack,
        wait,
        wait_async,
    )
    from clary.image import Image
    from clary.stacks.model import Stack

__all__ = [
    "Cache",
    "Client",
    "Image",
    "Retries",
    "Stack",
    "__version__",
    "as_completed",
    "checkpoint",
    "configure",
    "create_stack",
    "current_run",
    "current_stack",
    "delete_stack",
    "flow",
    "list_stacks",
    "load",
    "log",
    "progress",
    "save",
    "sleep",
    "sleep_async",
    "use_stack",
    "wait",
    "wait_async",
]


def __getattr__(name: str) -> Any:
    if name == "Stack":
        from clary.stacks.model import Stack

        return Stack
    if name == "Image":
        from clary.image import Image

        return Image
    if name == "Client":
        return _client()
    if name in __all__:
        from clary import flows

        return getattr(flows, name)
    raise AttributeError(f"module 'clary' has no attribute {name!r}")


def _client() -> Any:
    try:
        from clary.client import Client
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("clary."):
            raise
        from clary.flows.outside import Client  # type: ignore[assignment]  # in a job
    return Client


def __dir__() -> list[str]:
    return sorted(__all__)
