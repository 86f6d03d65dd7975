"""One place's way to AWS: region, credentials, endpoint, and clients made once and shared by threads."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary._version import __version__
from clary.errors import ConfigError
from clary.sagemaker.translation import aws_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROFILE_PREFIX = "aws-profile:"
FILE_PREFIX = "aws-credentials-file:"
"""A shared credentials file of its own, such as the one for a local endpoint; its profile ``default`` is used,
and nothing of the environment."""
ATTEMPTS = 4
"""Tries of one call by botocore, in its standard retry mode."""
CONNECT_TIMEOUT = 5
"""Seconds until a connection must stand."""
READ_TIMEOUT = 60
"""Seconds without a byte of answer, botocore's own default."""
_CONNECTIONS = 32


class Aws:
    """Makes boto3 clients for one region, endpoint and source of credentials. Safe from any thread."""

    def __init__(
        self, region: str | None = None, *, endpoint_url: str | None = None, credentials: str | None = None
    ) -> None:
        """Note where to go; nothing is looked up or called until a client is needed.

        ``region`` None means the one of the environment or profile; ``endpoint_url`` takes the place of every public
        endpoint; ``credentials`` is ``aws-profile:NAME``, ``aws-credentials-file:PATH``, or None for botocore's default
        chain.
        """
        if credentials is not None and not credentials.startswith((PROFILE_PREFIX, FILE_PREFIX)):
            raise ConfigError(
                "aws.unknown_credentials",
                f"'{credentials.partition(':')[0]}' is not a source of credentials.",
                next_step=f"Use {PROFILE_PREFIX}NAME or {FILE_PREFIX}PATH, or leave it out for the default chain.",
                field="credentials",
            )
        self.endpoint_url = endpoint_url
        self._region = region
        self._profile = _after(PROFILE_PREFIX, credentials)
        self._file = _after(FILE_PREFIX, credentials)
        self._lock = threading.RLock()
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self._account: str | None = None

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service, e.g. ``sagemaker``; the same one each time."""
        made = self._clients.get(service)
        if made is not None:
            return made
        with self._lock, aws_errors(f"{service}:*", endpoint=self.endpoint_url):
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    @contextmanager
    def call(self, action: str, *, resource: str | None = None) -> Iterator[Any]:
        """Give the client for ``action`` (``s3:PutObject``; without a service, SageMaker's), errors translated.

        ``resource`` is what it is done to, for the error's text.
        """
        service = action.partition(":")[0] if ":" in action else "sagemaker"
        client = self.client(service)
        with aws_errors(action, resource=resource, endpoint=client.meta.endpoint_url):
            yield client

    @property
    def region(self) -> str:
        """The region in use. Raises ConfigError ``aws.no_region`` when there is none."""
        region = self._region or self._boto3().region_name
        if not region:
            raise ConfigError(
                "aws.no_region",
                "No AWS region is known.",
                next_step="Name the region in the stack, or set AWS_REGION.",
                field="region",
            )
        return str(region)

    def caller_account(self) -> str:
        """Return the 12 digits of the account that the credentials belong to. One call to STS, then remembered."""
        if self._account is None:
            with self.call("sts:GetCallerIdentity") as sts:
                self._account = str(sts.get_caller_identity()["Account"])
        return self._account

    def resolved_endpoint(self, service: str) -> str:
        """Return the URL that botocore would call for a service: partition, FIPS and overrides included."""
        return str(self.client(service).meta.endpoint_url)

    def credentials(self) -> Any:
        """Return botocore's (refreshing) credentials object.

        Raises PermissionDeniedError ``aws.no_credentials`` when the chain finds none.
        """
        from botocore.exceptions import NoCredentialsError

        with self._lock, aws_errors("sts:*"):
            found = self._boto3().get_credentials()
            if found is None:
                raise NoCredentialsError
            return found

    def close(self) -> None:
        """Close the connections of every client made so far; a later call makes new clients."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _boto3(self) -> Any:
        with self._lock:
            if self._session is None:
                self._session = _new_session(self._profile, self._file, self._region)
            return self._session

    def _make(self, service: str) -> Any:
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=_CONNECTIONS,
            tcp_keepalive=True,
            user_agent_extra=f"clary/{__version__}",
        )
        return self._boto3().client(service, region_name=self.region, endpoint_url=self.endpoint_url, config=config)


def _after(prefix: str, credentials: str | None) -> str | None:
    return credentials.removeprefix(prefix) if credentials and credentials.startswith(prefix) else None


def _new_session(profile: str | None, file: str | None, region: str | None) -> Any:
    """Making a boto3 session is not safe from several threads; the caller holds the lock."""
    import boto3
    import botocore.session

    with aws_errors("sts:*"):
        # A profile that is named keeps botocore from looking at the environment's keys first.
        inner = botocore.session.Session(profile=profile if file is None else "default")
        if file is not None:
            if not Path(file).is_file():
                raise ConfigError(
                    "aws.no_credentials_file",
                    f"There is no credentials file {file}.",
                    next_step="Correct the stack's credentials. For the sandbox: `clary sandbox start` writes it anew.",
                    field="credentials",
                )
            inner.set_config_variable("credentials_file", file)
            inner.set_config_variable("config_file", file)  # a person's own default profile may assume a role
        if not _may_be_ec2(os.environ.get, Path("/sys/class/dmi/id/sys_vendor")):
            # The last link of the chain asks the metadata address of EC2, which answers nothing elsewhere: a stall of
            # seconds before "no credentials" can be said.
            inner.get_component("credential_provider").remove("iam-role")
        return boto3.Session(botocore_session=inner, region_name=region)


def _may_be_ec2(variable: Callable[[str], str | None], vendor_file: Path) -> bool:
    """Tell whether this may be an EC2 machine, or one whose owner points to a metadata service."""
    if variable("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return True
    try:
        vendor = vendor_file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return "amazon" in vendor.lower()
