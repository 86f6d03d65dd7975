"""A stack, opened: its artifact store, the logs of its runs, and its way to AWS."""

from __future__ import annotations

import functools
import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.errors import NotFoundError
from clary.ids import is_id
from clary.journal.log import ObjectLog
from clary.journal.state import RunState, fold
from clary.objects import open_store
from clary.stacks.access import open_aws
from clary.stacks.model import LOCAL, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clary.journal.log import Log
    from clary.objects import ObjectStore
    from clary.sagemaker.session import Aws

_CREDENTIALS_LIFE = timedelta(minutes=5)
"""How long the object-store client is told that keys live. It asks again when less than five minutes are left, and at
most ten times a second: so it always does, and the renewal is botocore's."""
_open: dict[str, Place] = {}


def place_of(stack: Stack) -> Place:
    """Return the opened stack; the same one each time in this process, since clients take long to make."""
    key = json.dumps([os.getpid(), stack.to_dict()], sort_keys=True, default=str)  # a fork makes its own connections
    found = _open.get(key)
    if found is None:
        found = _open[key] = Place(stack)
    return found


class Place:
    """Where a stack's runs are kept and run. Nothing is opened before it is used; safe from any thread."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.local = stack.type == LOCAL

    @functools.cached_property
    def aws(self) -> Aws:
        """The stack's way to AWS."""
        return open_aws(self.stack)

    @functools.cached_property
    def s3_endpoint(self) -> str:
        """The S3 endpoint that botocore resolves: partition, FIPS and overrides included.

        For an endpoint that the stack names itself, no client need be made to learn it.
        """
        return self.aws.named_endpoint("s3") or self.aws.resolved_endpoint("s3")

    @functools.cached_property
    def store(self) -> ObjectStore:
        """The artifact store."""
        if self.local:
            return open_store(self.stack.artifact_store)
        return open_store(
            self.stack.artifact_store,
            region=self.aws.region,
            endpoint=self.s3_endpoint,
            credentials=_Credentials(self.aws),
        )

    @property
    def root(self) -> str:
        """The artifact store's root, without a trailing slash."""
        return self.stack.artifact_store.rstrip("/")

    @property
    def journal(self) -> Path:
        """The file of a local stack's logs."""
        return Path(self.stack.artifact_store) / "journal.db"

    @contextmanager
    def log(self, run: str) -> Iterator[Log]:
        """Open the log of a run; raises NotFoundError (``run.not_found``) for what is no run's id."""
        if not is_id(run):
            raise self.no_run(run)
        if not self.local:
            yield ObjectLog(self.store, run)
            return
        from clary.journal.sqlite import SqliteLog

        log = SqliteLog(self.journal, run)
        try:
            yield log
        finally:
            log.close()

    def read(self, run: str) -> RunState:
        """Return the state of a run; raises NotFoundError (``run.not_found``) when the stack has none of that id."""
        if self.local and not self.journal.exists():
            raise self.no_run(run)
        with self.log(run) as log:
            state = fold(log.read())
        if state.status == "absent":
            raise self.no_run(run)
        return state

    def run_ids(self) -> list[str]:
        """Return the ids of all runs, newest first."""
        if self.local:
            from clary.journal.sqlite import run_ids

            return run_ids(self.journal)
        return sorted((name for name in self.store.folders("runs") if is_id(name)), reverse=True)

    def no_run(self, run: str) -> NotFoundError:
        """Return the error for a run that this stack does not have."""
        return NotFoundError(
            "run.not_found",
            f"The stack {self.stack.name!r} has no run {run!r}.",
            next_step="`clary runs list` shows its runs; name another stack with --stack.",
            field="run",
            details={"run": run, "stack": self.stack.name},
        )


class _Credentials:
    """Gives the object-store client the keys of a stack's way to AWS."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def __call__(self) -> dict[str, Any]:
        """Return keys that are good now; the client asks again before nearly every request (see the life above)."""
        keys = self._aws.keys()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LIFE,
        }

    def renew(self) -> None:
        """Look for the credentials anew."""
        self._aws.renew()
