"""What code inside a flow may ask and keep: the current run, recorded clock and chance, named values, facts."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import time
import unicodedata
import uuid
from datetime import UTC, datetime
from typing import Any

from clary.artifacts import decode, encode
from clary.engine.scope import Scope, current_scope, live
from clary.errors import NotFoundError, UsageError
from clary.flows.isolation import HOSTS_VARIABLE, RANK_VARIABLE
from clary.journal import records
from clary.secrets.redaction import masked

_NOT_IN_NAMES = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, halves of characters, and ends of lines and paragraphs."""


class RunContext:
    """The current run, as code in it sees it."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def id(self) -> str:
        """The run's id; it stays the same through crashes, retries and resumes."""
        return self._scope.execution.run_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._scope.execution.journal.attempt

    @property
    def path(self) -> str:
        """The path of the current call; empty in the flow's own body."""
        return self._scope.path

    @property
    def idempotency_key(self) -> str:
        """A key that is the same whenever this very call runs again: hand it to services with effects."""
        return hashlib.sha256(f"{self.id}/{self.path}".encode()).hexdigest()[:32]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the isolated call that this code runs in; this machine alone where there is one."""
        told = os.environ.get(HOSTS_VARIABLE)
        return tuple(told.split(",")) if told else (socket.gethostname(),)

    @property
    def rank(self) -> int:
        """The number of this host among ``hosts``, from 0."""
        return int(os.environ.get(RANK_VARIABLE, "0"))

    def now(self) -> datetime:
        """Return the time, UTC; recorded, so that a replay sees the same."""
        seconds = self._scope.execution.recorded_value("~now", self._scope, time.time)
        return datetime.fromtimestamp(seconds, UTC)

    def uuid(self) -> uuid.UUID:
        """Return a random UUID; recorded."""
        return uuid.UUID(self._scope.execution.recorded_value("~uuid", self._scope, lambda: str(uuid.uuid4())))

    def random(self) -> float:
        """Return a random number in [0, 1); recorded."""
        number: float = self._scope.execution.recorded_value("~random", self._scope, random.random)
        return number


def current_run() -> RunContext:
    """Return the run this code belongs to; raises UsageError (``flow.none_running``) outside a flow."""
    return RunContext(scope_of("current_run()"))


def save(name: str, value: Any) -> str:
    """Keep a value by name as an artifact of the run; returns where it lies.

    A later ``save`` of the same name replaces it in the run's list; the bytes of both stay. Raises UsageError
    ``artifact.bad_name``.
    """
    _check_name("artifact.bad_name", "a value", name)
    scope = scope_of("save()")
    execution = scope.execution
    path = scope.next_path(f"~save:{name}")
    if path not in execution.values:
        encoded = encode(value, execution.store, inline_limit=0)
        execution.journal.write(
            {"kind": records.SAVED, "path": path, "name": name, "value": encoded},
            {"kind": records.VALUE, "path": path, "value": encoded["at"]},
        )
        execution.values[path] = encoded["at"]
    return execution.store.url(execution.values[path])


def load(name: str) -> Any:
    """Return the value that this run has kept by that name; raises NotFoundError (``artifact.not_found``).

    Which value that was is recorded, so that a replay finds the same, whatever has been kept since. Raises UsageError
    ``artifact.bad_name``.
    """
    _check_name("artifact.bad_name", "a value", name)
    scope = scope_of("load()")
    execution = scope.execution
    saved = execution.journal.state.saved
    kept = execution.recorded_value(f"~load:{name}", scope, lambda: saved[name]["value"] if name in saved else None)
    if kept is None:
        raise NotFoundError(
            "artifact.not_found",
            f"This run has kept nothing by the name “{name}”.",
            next_step=f"It has: {', '.join(sorted(saved)) or 'nothing yet'}.",
            field="name",
        )
    return decode(kept, execution.store)


def log(**values: Any) -> None:
    """Note facts about the run (metrics, parameters), shown with it. Values are plain data: what JSON can hold.

    While no flow runs in this process it does nothing: a checkpoint's function can be used by itself. Raises UsageError
    ``log.bad_name``, ``log.not_plain``.
    """
    for name in values:
        _check_name("log.bad_name", "a fact", name)
    try:
        json.dumps(values)
    except (TypeError, ValueError) as error:
        raise UsageError(
            "log.not_plain", f"log() takes plain data: {error}.", next_step="Use save() for other values."
        ) from error
    if current_scope.get() is None and not live:
        return
    scope = scope_of("log()")
    path = scope.next_path("~log")
    if path not in scope.execution.values:
        scope.execution.journal.write(
            {"kind": records.LOGGED, "path": path, "values": masked(values)},
            {"kind": records.VALUE, "path": path, "value": True},
        )


def scope_of(what: str) -> Scope:
    """Return the scope of the flow that runs this code; raises UsageError (``flow.none_running``) outside one."""
    scope = current_scope.get()
    if scope is None:
        raise UsageError(
            "flow.none_running",
            f"{what} works in a flow only.",
            next_step="Call it from a function decorated with @flow or @checkpoint, while the flow runs.",
        )
    return scope


def _check_name(code: str, what: str, name: Any) -> None:
    if isinstance(name, str) and name.strip() and not _NOT_IN_NAMES & set(map(unicodedata.category, name)):
        return
    raise UsageError(
        code,
        f"{name!r} cannot name {what}: a name is a text that is not empty, without control characters.",
        next_step="Choose another name.",
        field="name",
    )
