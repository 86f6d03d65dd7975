"""What stands for the client object in a job, where there is nothing that it could do."""

from __future__ import annotations

from typing import Any

from clary.errors import UsageError


class Client:
    """Refuses to be made. A module that imports the client, and uses it elsewhere, can still be imported in a job."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise UsageError(
            "client.in_job",
            "A job has neither stacks nor the rights to look at other runs, so there is no client in it.",
            next_step='Use it outside, under if __name__ == "__main__"; in a flow, current_run() tells about its run.',
        )
