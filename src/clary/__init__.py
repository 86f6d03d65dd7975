"""Clary runs Python as managed Amazon SageMaker jobs: durable flows, pipelines, queues and images.

The public names are loaded when they are first used, so that ``import clary`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clary._version import __version__

if TYPE_CHECKING:
    from clary.flows import as_completed, checkpoint, current_run, flow, load, log, save

__all__ = ["__version__", "as_completed", "checkpoint", "current_run", "flow", "load", "log", "save"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from clary import flows

        return getattr(flows, name)
    raise AttributeError(f"module 'clary' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
