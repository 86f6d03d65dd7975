"""EventBridge Scheduler's schedules, fired by the sandbox's clock: moto keeps them and never looks at the time.

moto holds what a schedule is; ``schedules.db`` holds when it is due next, and what is on its way to a target. An
invocation is written down in the transaction that moves the schedule on, and forgotten once its target has answered:
a sandbox that is killed between the two invokes again, as the service does ("at least once"). A time that passed while
the sandbox was down is made up for once.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from clary.sandbox.database import Database
from clary.sandbox.operations.context import Caller
from clary.sandbox.schedule_rules import check, expression_of, is_one_time
from clary.sandbox.schedule_targets import Invocation, Refused, Targets
from clary.sandbox.wire import ApiError, Request, Response, json_response, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from clary.sandbox.clock import SandboxClock
    from clary.sandbox.gateway import Gateway
    from clary.sandbox.wire import Environ

_log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE schedules (
    account TEXT NOT NULL, region TEXT NOT NULL, grp TEXT NOT NULL, name TEXT NOT NULL,
    definition TEXT NOT NULL, token TEXT, begin REAL NOT NULL, due REAL,
    PRIMARY KEY (account, region, grp, name)
);
CREATE TABLE invocations (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, grp TEXT NOT NULL, name TEXT NOT NULL,
    scheduled REAL NOT NULL, target TEXT NOT NULL, last INTEGER NOT NULL,
    attempt INTEGER NOT NULL, first REAL NOT NULL, next REAL NOT NULL
);
"""
_LOOK_SECONDS = 0.2
"""How often, in real seconds, the clock is looked at while a schedule is due some time."""
_LONGEST_PAUSE = 900.0
"""Seconds, on the sandbox's clock, between two tries to reach a target. The service's own pauses are not published."""
_DEFINING = (
    "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate", "State", "Target",
    "ActionAfterCompletion", "FlexibleTimeWindow",
)  # fmt: skip

Key = tuple[str, str, str, str]
"""Account, region, group, name."""


@dataclass(frozen=True)
class _Schedule:
    """A schedule as moto holds it."""

    key: Key
    definition: Mapping[str, Any]

    def due(self, after: float, begin: float) -> float | None:
        """Return when it is due next; None where it never is again."""
        wanted = self.definition
        if wanted["State"] == "DISABLED":
            return None
        expression = expression_of(wanted)
        if is_one_time(expression):
            return expression.next(float("-inf"), begin)  # one for a time that has gone is made up for
        found = expression.next(after, float(wanted["StartDate"] or begin))
        end = wanted["EndDate"]
        return None if found is None or (end is not None and found > float(end)) else found


class Schedules:
    """Answers Scheduler's requests, with moto, and fires what is due."""

    def __init__(self, data: Path, gateway: Gateway, clock: SandboxClock) -> None:
        self._database = Database(data / "schedules.db", _SCHEMA, version=1, durable=True)
        self._gateway = gateway
        self._clock = clock
        self._lock = threading.RLock()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._targets: Targets | None = None
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)

    def start(self, send: Callable[[Environ], Response]) -> None:
        """Begin to fire; ``send`` answers a request as the sandbox's door does."""
        self._targets = Targets(self._gateway, send)
        self.sync()
        self._thread.start()

    def close(self) -> None:
        """Fire no more; what is due meanwhile is fired after the next start."""
        self._closing.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._database.close()

    # -- requests

    def handle(self, request: Request) -> Response:
        """Answer a request to EventBridge Scheduler."""
        if not request.mutating:
            return self._gateway.handle(request)
        with self._lock:
            token = None
            if request.method in ("POST", "PUT") and request.path.startswith("/schedules/"):
                wanted = _document(request)
                token = wanted.get("ClientToken")
                caller = Caller(self._gateway.account_of(request.access_key), request.region)
                check(wanted, caller)
                if request.method == "POST" and (made := self._made_before(wanted, caller)) is not None:
                    return json_response({"ScheduleArn": made}, content_type="application/json")
            response = self._gateway.handle(request)
            if response.status < 400:
                self.sync(token)
            return response

    def sync(self, token: str | None = None) -> None:
        """Take in which schedules there are; ``token`` is the client's, of the request that made a new one."""
        with self._lock, self._database.transaction() as db:
            known = {(r["account"], r["region"], r["grp"], r["name"]): r for r in db.rows("SELECT * FROM schedules")}
            now = self._clock.now()
            for one in _all():
                row = known.pop(one.key, None)
                definition = json.dumps(one.definition, sort_keys=True)
                if row is None or row["definition"] != definition:
                    db.execute(
                        "INSERT OR REPLACE INTO schedules VALUES (?,?,?,?,?,?,?,?)",
                        (*one.key, definition, token, now, one.due(now - 1e-3, now)),
                    )
            for key in known:
                self._forget(key)
        self._news.set()

    def _made_before(self, wanted: Mapping[str, Any], caller: Caller) -> str | None:
        """Return the ARN of the schedule that the same request, of the same client token, has made already."""
        group, name = wanted.get("GroupName") or "default", wanted["Name"]
        key = (caller.account, caller.region, group, name)
        row = self._database.row("SELECT * FROM schedules WHERE account=? AND region=? AND grp=? AND name=?", key)
        if row is None or not row["token"] or row["token"] != wanted.get("ClientToken"):
            return None
        return f"arn:{caller.partition}:scheduler:{caller.region}:{caller.account}:schedule/{group}/{name}"

    def _forget(self, key: Key) -> None:
        for table in ("schedules", "invocations"):
            self._database.execute(f"DELETE FROM {table} WHERE account=? AND region=? AND grp=? AND name=?", key)  # noqa: S608

    # -- firing

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.clear()
            try:
                self._begin_due()
                for invocation in self._ready():
                    if self._closing.is_set():
                        return
                    self._invoke(invocation)
            except Exception:  # noqa: BLE001 - one schedule must not stop the others
                _log.exception("the schedules could not be looked at")
            self._news.wait(self._pause())

    def _pause(self) -> float | None:
        """Return for how long nothing need be looked at, in real seconds; None until there is news."""
        row = self._database.row(
            "SELECT min(t) AS t FROM (SELECT min(due) AS t FROM schedules UNION ALL SELECT min(next) FROM invocations)"
        )
        if row is None or row["t"] is None:
            return None
        left = (float(row["t"]) - self._clock.now()) / self._clock.speed
        return min(max(left, 0.01), _LOOK_SECONDS)  # the clock may be sped up meanwhile

    def _begin_due(self) -> None:
        """Write an invocation down for each schedule whose time has come, and move the schedule on."""
        with self._lock, self._database.transaction() as db:
            now = self._clock.now()
            for row in db.rows("SELECT * FROM schedules WHERE due <= ?", (now,)):
                key = (row["account"], row["region"], row["grp"], row["name"])
                definition = json.loads(row["definition"])
                one = _Schedule(key, definition)
                once = is_one_time(expression_of(definition))
                following = None if once else one.due(now, row["begin"])
                db.execute(
                    "UPDATE schedules SET due=? WHERE account=? AND region=? AND grp=? AND name=?", (following, *key)
                )
                last = following is None and definition["ActionAfterCompletion"] == "DELETE"
                db.execute(
                    "INSERT INTO invocations VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                    (str(uuid.uuid4()), *key, row["due"], json.dumps(definition["Target"]), last, 1, now, now),
                )

    def _ready(self) -> list[Any]:
        return self._database.rows("SELECT * FROM invocations WHERE next <= ? ORDER BY next", (self._clock.now(),))

    def _invoke(self, row: Any) -> None:
        assert self._targets is not None
        key: Key = (row["account"], row["region"], row["grp"], row["name"])
        target = json.loads(row["target"])
        invocation = Invocation(*key, row["id"], row["scheduled"], row["attempt"], target)
        try:
            self._targets.invoke(invocation)
        except Refused as refusal:
            exhausted = self._exhausted(row, target) if refusal.passing else ""
            if exhausted is None:
                self._again(row, refusal)
                return
            _log.warning("%s: %s refused: %s: %s", invocation.arn, target["Arn"], refusal.code, refusal.message)
            self._targets.bury(invocation, refusal, exhausted)
        self._done(row, key)

    def _exhausted(self, row: Any, target: Mapping[str, Any]) -> str | None:
        """Return which end of the retry policy has been reached; None where another try is due."""
        policy = target.get("RetryPolicy") or {}
        if row["attempt"] > policy.get("MaximumRetryAttempts", 185):
            return "MaximumRetryAttempts"
        if self._clock.now() - row["first"] > policy.get("MaximumEventAgeInSeconds", 86400):
            return "MaximumEventAgeInSeconds"
        return None

    def _again(self, row: Any, refusal: Refused) -> None:
        pause = min(2.0 ** min(row["attempt"] - 1, 20), _LONGEST_PAUSE)
        _log.info("schedule %s: %s; tried again in %.0f s", row["name"], refusal.code, pause)
        self._database.execute(
            "UPDATE invocations SET attempt=attempt+1, next=? WHERE id=?", (self._clock.now() + pause, row["id"])
        )

    def _done(self, row: Any, key: Key) -> None:
        """Forget an invocation, and delete the schedule that was made for it alone."""
        account, region, group, name = key
        with self._lock:
            still = self._database.row("SELECT 1 FROM invocations WHERE id=?", (row["id"],))
            if row["last"] and still is not None:
                uri = f"/schedules/{quote(name)}?groupName={quote(group)}"
                try:
                    self._gateway.call("scheduler", region, account, method="DELETE", uri=uri)
                except ApiError:
                    _log.exception("%s could not be deleted", name)
            self._database.execute("DELETE FROM invocations WHERE id=?", (row["id"],))
            if row["last"]:
                self._forget(key)


def _all() -> Iterator[_Schedule]:
    if "moto.scheduler.models" not in sys.modules:  # nobody has made a schedule
        return
    from moto.scheduler.models import scheduler_backends

    for account, regions in list(scheduler_backends.items()):
        for region, backend in list(regions.items()):
            for group in list(backend.schedule_groups.values()):
                for one in list(group.schedules.values()):
                    shown = one.to_dict()
                    definition = {name: shown.get(name) for name in _DEFINING}
                    yield _Schedule((account, region, group.name, one.name), definition)


def _document(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(read_body(request.environ) or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError("SerializationException", "The body is not a JSON object.")
    return {**body, "Name": unquote(request.path.removeprefix("/schedules/"))}
