"""What lies outside a job: the way there, and what stands for it in a job, where there is nothing that it could do."""

from __future__ import annotations

import importlib
from typing import Any

from clary.errors import UsageError


def door(module: str) -> Any | None:
    """Return a room that looks at stacks and submits, opened by its module's name; None in a job, which has none."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("clary."):
            raise
        return None


class Client:
    """Refuses to be made. A module that imports the client, and uses it elsewhere, can still be imported in a job."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise UsageError(
            "client.in_job",
            "A job has neither stacks nor the rights to look at other runs, so there is no client in it.",
            next_step='Use it outside, under if __name__ == "__main__"; in a flow, current_run() tells about its run.',
        )
