"""The forms in which a stack names its AWS credentials, and the keys that some of them stand for.

Nothing here loads botocore or asks anybody. A secret is never in an error, a ``repr`` or a ``str``.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from clary.errors import ClaryError, ConfigError, PermissionDeniedError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clary.secrets.store import SecretStore


class Kind(StrEnum):
    """Where credentials come from; the value is the first word of the form."""

    DEFAULT = ""
    """botocore's chain: environment, profile, SSO, web identity, process, container, EC2."""
    PROFILE = "aws-profile"
    FILE = "aws-credentials-file"
    ENVIRONMENT = "aws-environment"
    SECRET = "aws-secret"  # noqa: S105 - the word of a form
    ACCESS_KEYS = "aws-access-keys"
    SESSION_TOKEN = "aws-session-token"  # noqa: S105 - likewise


FORMS: Mapping[Kind, str] = {
    Kind.PROFILE: "aws-profile:NAME",
    Kind.FILE: "aws-credentials-file:PATH",
    Kind.ENVIRONMENT: "aws-environment:ID_VARIABLE:SECRET_VARIABLE[:TOKEN_VARIABLE]",
    Kind.SECRET: "aws-secret:NAME",
    Kind.ACCESS_KEYS: "aws-access-keys:ID:SECRET",
    Kind.SESSION_TOKEN: "aws-session-token:ID:SECRET:TOKEN",
}
"""Every form as it is written."""

_PARTS = {Kind.ENVIRONMENT: (2, 3), Kind.ACCESS_KEYS: (2, 2), Kind.SESSION_TOKEN: (3, 3)}
"""Fewest and most parts of the forms that have several."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PLAIN_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_WORD = re.compile(r"[a-z][a-z_-]{2,30}", re.IGNORECASE)
_SESSION_ID = "ASIA"
"""How the ids of session keys begin. Source: IAM user guide, "Unique identifiers"."""
_MEMBERS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
"""The keys of a secret that holds credentials; the last may be missing. The names are those of an AWS profile."""


@dataclass(frozen=True)
class Keys:
    """An access key; ``session_token`` belongs to keys that expire."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Source:
    """Where the credentials of a stack come from, parsed."""

    kind: Kind = Kind.DEFAULT
    name: str = ""
    """Of the profile or the secret; the path of the file."""
    variables: Sequence[str] = field(default=(), repr=False)
    """Names of environment variables. Not shown: somebody may have written the keys themselves there."""
    keys: Keys | None = field(default=None, repr=False)
    """What was written out."""

    @property
    def inline(self) -> bool:
        """Whether the secret itself was given, so that this must not be kept as it is (see ``keep``)."""
        return self.keys is not None

    @property
    def profile(self) -> str | None:
        """The AWS profile that is named here."""
        return self.name if self.kind is Kind.PROFILE else None

    def __str__(self) -> str:
        """Return the form for a person, without secrets."""
        if self.kind is Kind.DEFAULT:
            return "default chain"
        return f"{self.kind.value}:{self.name or '…'}"


def parse(text: str | None) -> Source:
    """Read a form of ``Stack.credentials``; None is the default chain.

    Raises ConfigError ``aws.unknown_credentials`` for a form that is none, and ``aws.malformed_credentials`` for one
    with parts missing, empty or too many.
    """
    if text is None:
        return Source()
    word, _, rest = text.partition(":")
    if word not in {kind.value for kind in FORMS}:
        raise _unknown(word, bool(rest))
    kind = Kind(word)
    if kind not in _PARTS:
        if not rest or rest != rest.strip():
            raise _malformed(
                kind, "the name is missing" if not rest.strip() else "the name begins or ends with a space"
            )
        return Source(kind, rest)
    parts = rest.split(":")
    fewest, most = _PARTS[kind]
    if not fewest <= len(parts) <= most:
        raise _malformed(kind, f"{'too few' if len(parts) < fewest else 'too many'} parts")
    if not all(part and part == part.strip() for part in parts):
        raise _malformed(kind, "a part is empty, or begins or ends with a space")
    if kind is Kind.ENVIRONMENT:
        if not all(map(_VARIABLE.fullmatch, parts)):
            raise _malformed(kind, "it takes the names of environment variables, not the keys themselves")
        return Source(kind, variables=tuple(parts))
    if kind is Kind.ACCESS_KEYS and parts[0].startswith(_SESSION_ID):
        raise _malformed(kind, f"keys whose id begins with {_SESSION_ID} need their token", Kind.SESSION_TOKEN)
    return Source(kind, keys=Keys(*parts))


def read_keys(source: Source, secrets: SecretStore | None = None) -> Keys | None:
    """Return the keys that a source stands for now; None where botocore has to find them.

    ``secrets`` is the local store unless given. Raises PermissionDeniedError ``aws.variable_not_set`` or
    ``aws.incomplete_credentials``, and what the store raises for a secret that is not there.
    """
    if source.kind is Kind.ENVIRONMENT:
        return _of_variables(source.variables)
    if source.kind is Kind.SECRET:
        return _of_secret(source.name, (secrets or _local_store()).read(source.name))
    return source.keys


def keep(source: Source, stack: str, secrets: SecretStore | None = None) -> str:
    """Store keys that were written out as the secret ``stack-NAME``, and return the form that refers to it.

    ``secrets`` is the local store unless given. Raises what the store raises.
    """
    if source.keys is None:
        raise ValueError(f"{source} holds no keys to keep")
    given = (source.keys.access_key_id, source.keys.secret_access_key, source.keys.session_token)
    values = {member: value for member, value in zip(_MEMBERS, given, strict=True) if value is not None}
    name = secret_name(stack)
    (secrets or _local_store()).edit(name, lambda _before: values)
    return f"{Kind.SECRET.value}:{name}"


def secret_name(stack: str) -> str:
    """Return the name of the secret that holds a stack's keys; the name of a secret has no dots."""
    if "." not in stack:
        return f"stack-{stack}"
    return f"stack-{stack.replace('.', '-')}-{hashlib.sha256(stack.encode()).hexdigest()[:8]}"


def advice(source: Source) -> str | None:
    """Return what to say to somebody who wrote keys on the command line; None for every other form."""
    if not source.inline:
        return None
    expires = " Session keys expire, and these cannot be renewed." if source.kind is Kind.SESSION_TOKEN else ""
    return (
        "Keys on a command line stay in the shell's history and can be seen in the list of processes."
        f"{expires} Rather name a profile (aws-profile:NAME) or variables ({FORMS[Kind.ENVIRONMENT]})."
    )


def _local_store() -> SecretStore:
    from clary.secrets.local import LocalSecrets

    return LocalSecrets()


def _of_variables(names: Sequence[str]) -> Keys:
    values = [os.environ.get(name, "") for name in names]
    for position, (name, value) in enumerate(zip(names, values, strict=True), start=1):
        if not value:
            # A name in mixed case may be a secret key that somebody wrote where its variable belongs.
            shown = name if _PLAIN_VARIABLE.fullmatch(name) else f"number {position} of the stack's credentials"
            raise PermissionDeniedError(
                "aws.variable_not_set",
                f"The environment variable {shown} is not set, and the stack's credentials are read from it.",
                next_step=f"Set it, or name other credentials in the stack: {FORMS[Kind.PROFILE]}.",
                field="credentials",
            )
    return Keys(*values)


def _of_secret(name: str, values: Mapping[str, str]) -> Keys:
    missing = [member for member in _MEMBERS[:2] if not values.get(member)]
    if missing:
        raise PermissionDeniedError(
            "aws.incomplete_credentials",
            f"The secret {name!r} has no {' and no '.join(missing)}.",
            next_step=f"Store it anew with {', '.join(_MEMBERS[:2])} and, for session keys, {_MEMBERS[2]}.",
            field="credentials",
        )
    return Keys(values[_MEMBERS[0]], values[_MEMBERS[1]], values.get(_MEMBERS[2]) or None)


def _unknown(word: str, has_more: bool) -> ClaryError:
    """Refuse a form. Its first word is repeated only where it can be no secret: letters, with more behind them."""
    shown = f"'{word}' is" if has_more and _WORD.fullmatch(word) else "What was given is"
    meant = nearest(word.replace("_", "-"), [kind.value for kind in FORMS], cutoff=0.5)
    if word.startswith(("gcp-", "azure-")):
        step = f"Clary runs on AWS only: use {FORMS[Kind.PROFILE]}, or leave it out for the default chain."
    elif meant:
        step = f"Did you mean {FORMS[Kind(meant)]}? Leave it out for the default chain."
    else:
        references = [form for kind, form in FORMS.items() if kind not in (Kind.ACCESS_KEYS, Kind.SESSION_TOKEN)]
        step = f"Use {', '.join(references[:-1])} or {references[-1]}, or leave it out for the default chain."
    return ConfigError(
        "aws.unknown_credentials", f"{shown} not a source of credentials.", next_step=step, field="credentials"
    )


def _malformed(kind: Kind, what: str, meant: Kind | None = None) -> ClaryError:
    return ConfigError(
        "aws.malformed_credentials",
        f"The credentials {kind.value}:… are not well formed: {what}.",
        next_step=f"Write {FORMS[meant or kind]}.",
        field="credentials",
    )
