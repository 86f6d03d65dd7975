"""Who asks: the user, session or administrator behind an access key, with every policy that is attached to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clary.sandbox.iam import EVERYTHING
from clary.sandbox.iam.evaluate import Names, Policies
from clary.sandbox.iam.policy import Policy, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clary.sandbox.iam.sessions import Session, Sessions

ADMIN_KEY = "sandbox"
"""The access key of the account's administrator, which the sandbox hands out at its start."""


@dataclass(frozen=True)
class Principal:
    """Who asks, and what decides over them."""

    arn: str
    account: str
    names: Names
    policies: Policies
    facts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Condition keys that describe the principal, in lower case."""
    is_administrator: bool = False
    """Whether it is the account's own administrator, whom the sandbox's own key stands for."""


class Principals:
    """Finds principals among what moto and the sessions hold."""

    def __init__(self, sessions: Sessions, admin_account: str) -> None:
        from moto.iam.models import iam_backends

        self._iam = iam_backends
        self._sessions = sessions
        self._admin_account = admin_account

    def find(self, access_key: str) -> Principal | None:
        """Return whose access key this is; None for a key that nobody has, or that is inactive."""
        if access_key == ADMIN_KEY:
            return self._administrator()
        session = self._sessions.find(access_key)
        if session is not None:
            return self.of_session(session)
        for account, partitions in list(self._iam.items()):
            for partition, backend in list(partitions.items()):
                key = backend.access_keys.get(access_key)
                if key is not None and key.status == "Active" and key.user_name in backend.users:
                    return self._user(backend, account, partition, backend.users[key.user_name])
        return None

    def _administrator(self) -> Principal:
        arn = f"arn:aws:iam::{self._admin_account}:root"
        return Principal(
            arn=arn,
            account=self._admin_account,
            names=Names(self._admin_account),
            policies=Policies(identity=(parse(EVERYTHING, "administrator"),)),
            facts=_facts(arn, self._admin_account, "Account", self._admin_account),
            is_administrator=True,
        )

    def of_session(self, session: Session) -> Principal | None:
        """Return a session of a role as principal; None when the role is gone."""
        partition = session.role.split(":")[1]
        backend = self._iam[session.account][partition]
        role = next((one for one in list(backend.roles.values()) if one.arn == session.role), None)
        if role is None:
            return None
        limited = [self._session_policy(backend, one) for one in session.policies]
        return Principal(
            arn=session.arn,
            account=session.account,
            names=Names(session.account, partition, role=session.role, session=session.arn),
            policies=Policies(
                identity=tuple(_attached(role)),
                boundary=_boundary(backend, role),
                session=tuple(limited) if limited else None,
            ),
            facts=_facts(session.role, session.account, "AssumedRole", f"{role.id}:{session.name}")
            | _principal_tags({**role_tags(role), **(session.tags or {})}),
        )

    def of_entity(self, arn: str) -> Principal | None:
        """Return a user, group or role by its ARN, as the simulation of its policies needs it."""
        _, partition, _, _, account, path = arn.split(":", 5)
        kind, _, name = path.partition("/")
        name = name.rpartition("/")[2]
        backend = self._iam[account][partition]
        if kind == "user" and name in backend.users:
            return self._user(backend, account, partition, backend.users[name])
        if kind == "group" and name in backend.groups:
            group = backend.groups[name]
            return Principal(arn, account, Names(account, partition), Policies(identity=tuple(_attached(group))))
        role = next((one for one in list(backend.roles.values()) if one.arn == arn), None)
        if kind != "role" or role is None:
            return None
        return Principal(
            arn=arn,
            account=account,
            names=Names(account, partition, role=arn),
            policies=Policies(identity=tuple(_attached(role)), boundary=_boundary(backend, role)),
            facts=_facts(arn, account, "AssumedRole", role.id) | _principal_tags(role_tags(role)),
        )

    @staticmethod
    def _user(backend: Any, account: str, partition: str, user: Any) -> Principal:
        groups = [group for group in list(backend.groups.values()) if user in group.users]
        identity = [policy for one in (user, *groups) for policy in _attached(one)]
        facts = _facts(user.arn, account, "User", user.id) | {"aws:username": (user.name,)}
        return Principal(
            arn=user.arn,
            account=account,
            names=Names(account, partition, user=user.arn),
            policies=Policies(identity=tuple(identity), boundary=_boundary(backend, user)),
            facts=facts | _principal_tags(backend.tagger.get_tag_dict_for_resource(user.arn)),
        )

    @staticmethod
    def _session_policy(backend: Any, given: str) -> Policy:
        if given.startswith("arn:"):
            managed = backend.managed_policies.get(given)
            # A policy that is gone allows nothing.
            return parse(_document(managed), managed.name) if managed else Policy((), given)
        return parse(given, "session policy")


def _attached(entity: Any) -> Iterable[Policy]:
    for name, document in list(entity.policies.items()):
        yield parse(document, name)
    for managed in list(entity.managed_policies.values()):
        yield parse(_document(managed), managed.name)


def _document(managed: Any) -> str:
    """Return the default version of a managed policy."""
    return next(str(one.document) for one in managed.versions if one.version_id == managed.default_version_id)


def _boundary(backend: Any, entity: Any) -> Policy | None:
    arn = getattr(entity, "permissions_boundary_arn", None)
    if not arn:
        return None
    managed = backend.managed_policies.get(arn)
    return parse(_document(managed), managed.name) if managed else Policy((), arn)


def role_tags(role: Any) -> dict[str, str]:
    """Return the tags of a role: moto keeps them as a list, or as ``{key: {"Key": …, "Value": …}}``."""
    found = role.tags or {}
    pairs = found.values() if isinstance(found, dict) else found
    return {pair["Key"]: pair.get("Value", "") for pair in pairs}


def _facts(arn: str, account: str, kind: str, userid: str) -> dict[str, Sequence[str]]:
    return {
        "aws:principalarn": (arn,),
        "aws:principalaccount": (account,),
        "aws:principaltype": (kind,),
        "aws:userid": (userid,),
    }


def _principal_tags(tags: Mapping[str, str]) -> dict[str, Sequence[str]]:
    return {f"aws:principaltag/{key.lower()}": (value,) for key, value in tags.items()}
