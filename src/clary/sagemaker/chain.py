"""From a source of credentials to keys that are renewed in time. It loads botocore: imported where a client is made.

A role is assumed on top of any source. Its keys are botocore's refreshing ones; in place of its fixed margins (15
and 10 minutes) they use a share of their life where that is shorter, else a role of 15 minutes would be assumed anew
for every request.
"""

from __future__ import annotations

import getpass
import os
import re
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import botocore.session
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ClientError, CredentialRetrievalError, RefreshWithMFAUnsupportedError
from botocore.utils import JSONFileCache

from clary.errors import ConfigError, PermissionDeniedError
from clary.sagemaker.credentials import Kind, Source, read_keys
from clary.sagemaker.translation import role_refused

if TYPE_CHECKING:
    from collections.abc import Callable

_ADVISORY, _MANDATORY = 15 * 60, 10 * 60
"""Seconds before the end when botocore begins to renew, and when it waits for the new keys."""
_SHARED = 1.0
"""Seconds in which keys that were just found are not looked for again: many threads meet the same expired answer."""
_CLI_CACHE = Path("~/.aws/cli/cache")
"""Where the AWS CLI keeps the keys of roles that asked for a code; as botocore's documentation of it proposes."""
_VENDOR = Path("/sys/class/dmi/id/sys_vendor")
_STALE = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
    | {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"}
)
"""Codes by which services tell that keys are past their end, or not known: taken away, as in a rotation."""


class Role(NamedTuple):
    """A role to assume."""

    arn: str
    external_id: str | None


class Renewable(Credentials):  # type: ignore[misc]  # botocore has no types
    """Credentials for botocore that can also be looked for anew, for every client that signs with them.

    Where botocore knows when keys end, it renews them itself. The rest is here: keys whose end nobody told (a session
    in the environment, a profile that another program rewrites), and keys that a service does not take any more before
    their time (a clock that is wrong, a session that was revoked, a key that was rotated).
    """

    method = "clary"
    """A constant: botocore reads it when a client is made, and that must not look for credentials yet."""

    def __init__(self, find: Callable[[], Any]) -> None:
        """Note how to find credentials; that is done at the first use."""
        self._find = find
        self._lock = threading.RLock()
        self._found: Any = None
        self._found_at = 0.0

    access_key = property(lambda self: self.get_frozen_credentials().access_key)
    secret_key = property(lambda self: self.get_frozen_credentials().secret_key)
    token = property(lambda self: self.get_frozen_credentials().token)
    account_id = property(lambda self: self.get_frozen_credentials().account_id)

    def get_frozen_credentials(self) -> Any:
        """Return keys that are good now."""
        current = self._current()
        try:
            return current.get_frozen_credentials()
        except RefreshWithMFAUnsupportedError:
            self.renew()  # asks for a new code, or tells that nobody can be asked
            return self._current().get_frozen_credentials()
        except RuntimeError as error:  # botocore's word for a source that gives keys past their end
            raise CredentialRetrievalError(provider=current.method, error_msg=str(error)) from error

    @property
    def source(self) -> str:
        """botocore's name for where they were found: ``env``, ``sso``, ``assume-role`` …"""
        return str(self._current().method)

    def ends_within(self, seconds: float) -> bool | None:
        """Tell whether these keys end within that time; None where nothing tells when they end."""
        told = getattr(self._current(), "refresh_needed", None)  # only botocore's refreshable ones know
        return None if told is None else bool(told(refresh_in=seconds))

    def renew(self) -> None:
        """Look for the credentials anew, from the files, variables and services on."""
        with self._lock:
            if self._found is not None and time.monotonic() - self._found_at < _SHARED:
                return
            self._found, self._found_at = self._find(), time.monotonic()

    def _current(self) -> Any:
        if self._found is None:
            self.renew()
        return self._found


class Provider:
    """In the place of botocore's chain in a session: the one credentials object of all its clients."""

    def __init__(self, credentials: Renewable) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Renewable:
        """Return it."""
        return self._credentials


def open_settings(source: Source, region: str | None) -> Any:
    """Return a new botocore session with the settings (region, endpoints, credentials) that a source brings along.

    A ``region`` that is given wins, also where botocore calls STS for a profile that names none.

    It is not safe from several threads. Raises ConfigError ``aws.no_credentials_file``.
    """
    profile = "default" if source.kind is Kind.FILE else source.profile
    # A profile that is named keeps botocore from looking at the environment's keys first.
    session = botocore.session.Session(profile=profile)
    if source.kind is Kind.FILE:
        if not Path(source.name).is_file():
            raise ConfigError(
                "aws.no_credentials_file",
                f"There is no credentials file {source.name}.",
                next_step="Correct the stack's credentials. For the sandbox: `clary sandbox start` writes it anew.",
                field="credentials",
            )
        session.set_config_variable("credentials_file", source.name)
        session.set_config_variable("config_file", source.name)  # a person's own default profile may assume a role
    if region:
        session.set_config_variable("region", region)
    return session


def open_source(source: Source, region: str | None) -> Any:
    """Return a new botocore session whose credentials are those of the source, read now.

    It is not safe from several threads. Raises what ``open_settings`` and ``read_keys`` raise.
    """
    session = open_settings(source, region)
    keys = read_keys(source)
    if keys is not None:
        session.set_credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
        return session
    resolver = session.get_component("credential_provider")
    if not may_be_ec2(os.environ.get, _VENDOR):
        # The last link of the chain asks the metadata address of EC2, which answers nothing elsewhere: a stall of
        # seconds before "no credentials" can be said.
        resolver.remove("iam-role")
    _prepare_for_codes(session, resolver)
    return session


def _prepare_for_codes(session: Any, resolver: Any) -> None:
    """Let roles of profiles that want a code (``mfa_serial``) ask only a person, and share the AWS CLI's cache."""
    profiles = session.full_config.get("profiles", {})
    name = session.profile or "default"
    if "mfa_serial" not in profiles.get(name, {}):
        return
    provider = resolver.get_provider("assume-role")
    provider.cache = JSONFileCache(str(_CLI_CACHE.expanduser()))

    def ask(prompt: str) -> str:
        if _has_terminal():
            return getpass.getpass(prompt)
        raise PermissionDeniedError(
            "aws.mfa_needed",
            f"The AWS profile '{name}' asks for a code of a second factor, and there is no terminal to type it.",
            next_step=f"Run `aws sts get-caller-identity --profile {name}` in a terminal and try again: Clary uses the "
            "session that the AWS CLI keeps. For long runs take a profile without mfa_serial, such as one of SSO.",
            field="credentials",
        )

    provider._prompter = ask  # botocore gives no other way to set it after the chain is made


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def assumed(role: Role, make_sts: Callable[[], Any]) -> RefreshableCredentials:
    """Return credentials of a role that are renewed before they end.

    ``make_sts`` makes an STS client that signs with the source's credentials. Raises PermissionDeniedError
    ``aws.assume_role_denied``.
    """

    def fetch() -> dict[str, Any]:
        sts = make_sts()
        wish = {"RoleArn": role.arn, "RoleSessionName": session_name()}
        if role.external_id is not None:
            wish["ExternalId"] = role.external_id
        try:
            given = sts.assume_role(**wish)["Credentials"]
        except ClientError as error:
            raise role_refused(error, role.arn, external_id=role.external_id, caller=_caller(sts)) from error
        finally:
            sts.close()
        return {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": given["Expiration"].isoformat(),
            "account_id": role.arn.split(":")[4],
        }

    first = fetch()
    life = (datetime.fromisoformat(first["expiry_time"]) - datetime.now(UTC)).total_seconds()
    return RefreshableCredentials.create_from_metadata(
        first,
        refresh_using=fetch,
        method="assume-role",
        advisory_timeout=min(_ADVISORY, life / 2),
        mandatory_timeout=min(_MANDATORY, life / 4),
    )


def session_name() -> str:
    """Return the name under which this person's sessions appear in CloudTrail. Source: AssumeRole, RoleSessionName."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no name for this user id, as in some containers
        user = str(os.getuid())
    return re.sub(r"[^\w+=,.@-]", "-", f"clary-{user}", flags=re.ASCII)[:64]


def renew_when_stale(credentials: Renewable) -> Callable[..., int | None]:
    """Return a handler for botocore's ``needs-retry`` that meets stale keys with new ones, once a call."""

    def judge(*, response: Any = None, request_dict: dict[str, Any], **_: Any) -> int | None:
        code = response[1].get("Error", {}).get("Code") if response is not None else None
        # The answer to a HEAD has no body, and so no reason.
        stale = code in _STALE or (code == "400" and request_dict["method"] == "HEAD")
        context = request_dict["context"]
        if not stale or context.get("clary_renewed"):
            return None
        context["clary_renewed"] = True
        credentials.renew()
        return 0  # seconds to wait before the request is signed and sent again

    return judge


def may_be_ec2(variable: Callable[[str], str | None], vendor_file: Path) -> bool:
    """Tell whether this may be an EC2 machine, or one whose owner points to a metadata service."""
    if variable("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return True
    try:
        vendor = vendor_file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return "amazon" in vendor.lower()


def _caller(sts: Any) -> str | None:
    """Return the ARN of whoever may not assume the role; STS tells everybody who they are."""
    try:
        return str(sts.get_caller_identity()["Arn"])
    except ClientError:
        return None
