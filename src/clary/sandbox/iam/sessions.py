"""Sessions of assumed roles: whose temporary keys they are. Kept on disk, since containers outlive the sandbox."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clary.sandbox.database import Database
    from clary.sandbox.wire import Request, Response

_TABLE = """
CREATE TABLE IF NOT EXISTS sessions (
    access_key TEXT PRIMARY KEY, account TEXT NOT NULL, role TEXT NOT NULL, name TEXT NOT NULL,
    policies TEXT NOT NULL, tags TEXT NOT NULL, issued REAL NOT NULL, expires REAL NOT NULL
)
"""
_KEPT_SECONDS = 86_400.0
"""How long an expired session is still known, so that its keys are said to have expired and not to be unknown."""
_ACCESS_KEY = re.compile(rb"<AccessKeyId>([^<]+)</AccessKeyId>")


@dataclass(frozen=True)
class Session:
    """One session of a role; times are epoch seconds."""

    access_key: str
    account: str
    role: str
    """The role's ARN."""
    name: str
    policies: Sequence[str] = ()
    """Session policies: documents, and ARNs of managed policies."""
    tags: Mapping[str, str] | None = None
    issued: float = 0.0
    expires: float = float("inf")

    @property
    def arn(self) -> str:
        """The ARN by which the session is known to AWS, without the role's path."""
        partition = self.role.split(":")[1]
        return f"arn:{partition}:sts::{self.account}:assumed-role/{self.role.rpartition('/')[2]}/{self.name}"


class Sessions:
    """The sessions by their access keys. Safe from any thread."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: dict[str, Session] = {}
        self._db.execute(_TABLE)  # not in the database's schema: data folders of before have none
        self._db.execute("DELETE FROM sessions WHERE expires<?", (time.time() - _KEPT_SECONDS,))

    def find(self, access_key: str) -> Session | None:
        """Return the session of a temporary access key, also an expired one, or None."""
        found = self._known.get(access_key)
        if found is None:
            row = self._db.row("SELECT * FROM sessions WHERE access_key=?", (access_key,))
            if row is None:
                return None
            plain: dict[str, Any] = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a row of SQLite
            found = Session(**{**plain, "policies": json.loads(plain["policies"]), "tags": json.loads(plain["tags"])})
            self._known[access_key] = found
        return found

    def add(self, assumed: Any, policies: Sequence[str] = (), tags: Mapping[str, str] | None = None) -> Session:
        """Keep a session that moto has made (its ``AssumedRole``)."""
        session = Session(
            access_key=assumed.access_key_id,
            account=assumed.account_id,
            role=assumed.role_arn,
            name=assumed.session_name,
            policies=tuple(policies),
            tags=dict(tags or {}),
            issued=time.time(),
            expires=assumed.expiration.replace(tzinfo=dt.UTC).timestamp(),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO sessions (access_key, account, role, name, policies, tags, issued, expires)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (
                session.access_key,
                session.account,
                session.role,
                session.name,
                json.dumps(session.policies),
                json.dumps(session.tags),
                session.issued,
                session.expires,
            ),
        )
        self._known[session.access_key] = session
        return session

    def follow(self, request: Request, body: bytes, response: Response) -> None:
        """Keep what a successful AssumeRole, AssumeRoleWithWebIdentity or AssumeRoleWithSAML made."""
        response.body = [b"".join(response.body)]
        made = _ACCESS_KEY.search(response.body[0])
        assumed = _assumed(made[1].decode()) if made else None
        if assumed is None:
            return
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        form |= {name: values[0] for name, values in request.query.items()}
        policies = [form["Policy"]] if form.get("Policy") else []
        policies += [value for name, value in form.items() if re.fullmatch(r"PolicyArns\.member\.\d+\.arn", name)]
        keys = {name: value for name, value in form.items() if re.fullmatch(r"Tags\.member\.\d+\.Key", name)}
        tags = {value: form.get(name.removesuffix("Key") + "Value", "") for name, value in keys.items()}
        self.add(assumed, policies, tags)


def _assumed(access_key: str) -> Any | None:
    from moto.sts.models import sts_backends

    for partitions in list(sts_backends.values()):
        for backend in list(partitions.values()):
            found = backend.get_assumed_role_from_access_key(access_key)
            if found is not None:
                return found
    return None
