"""One place's way to AWS: region, credentials, endpoints, and clients made once and shared by threads."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clary._version import __version__
from clary.errors import ConfigError
from clary.sagemaker import credentials as forms
from clary.sagemaker.translation import aws_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ATTEMPTS = 4
"""Tries of one call by botocore, in its standard retry mode."""
CONNECT_TIMEOUT = 5
"""Seconds until a connection must stand."""
READ_TIMEOUT = 60
"""Seconds without a byte of answer, botocore's own default."""
_CONNECTIONS = 32


class Aws:
    """Makes boto3 clients for one region, its endpoints and one source of credentials. Safe from any thread."""

    def __init__(
        self,
        region: str | None = None,
        *,
        endpoint_url: str | None = None,
        endpoint_urls: Mapping[str, str] | None = None,
        use_fips_endpoint: bool = False,
        credentials: str | None = None,
        assume_role: str | None = None,
        external_id: str | None = None,
    ) -> None:
        """Note where to go; nothing is looked up or called until a client is needed.

        Args:
            region: None means the one of the environment or profile.
            endpoint_url: takes the place of every public endpoint.
            endpoint_urls: the same for single services, by boto3's name of the service; they win. Where neither names
                one, botocore's own settings count (``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_S3``, the profile's
                ``services``).
            use_fips_endpoint: ask for FIPS endpoints wherever no endpoint is named; False leaves it to botocore's own
                settings (``AWS_USE_FIPS_ENDPOINT``).
            credentials: a form of ``clary.sagemaker.credentials``; None for botocore's default chain.
            assume_role: ARN of a role that those credentials assume, again and again before its keys end.
            external_id: what the role's trust policy may ask for.

        Raises ConfigError as ``clary.sagemaker.credentials.parse`` does.
        """
        self._source = forms.parse(credentials)
        self._region = region
        self._endpoint_url = endpoint_url
        self._endpoint_urls = dict(endpoint_urls or {})
        self._fips = use_fips_endpoint
        self._assume_role = assume_role
        self._external_id = external_id
        self._lock = threading.RLock()
        self._session: Any = None
        self._renewable: Any = None
        self._clients: dict[str, Any] = {}
        self._account: str | None = None

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service, e.g. ``sagemaker``; the same one each time."""
        made = self._clients.get(service)
        if made is not None:
            return made
        with self._lock, self._errors(f"{service}:*", endpoint=self.named_endpoint(service)):
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
        with self._errors(action, resource=resource, endpoint=client.meta.endpoint_url):
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

    def named_endpoint(self, service: str) -> str | None:
        """Return the URL that was named for a service, or for all of them; None leaves it to botocore."""
        return self._endpoint_urls.get(service) or self._endpoint_url

    def resolved_endpoint(self, service: str) -> str:
        """Return the URL that botocore would call for a service: partition, FIPS and overrides included."""
        return str(self.client(service).meta.endpoint_url)

    def credentials(self) -> Any:
        """Return botocore's credentials object, which renews itself. Give it to a client; to read it use ``keys``.

        Raises PermissionDeniedError ``aws.no_credentials`` when the chain finds none.
        """
        self.keys()
        return self._credentials()

    def keys(self) -> Any:
        """Return keys that are good now, renewed where that is due: ``access_key``, ``secret_key`` and ``token``.

        Raises PermissionDeniedError ``aws.no_credentials`` when the chain finds none, ``aws.sign_in_expired``,
        ``aws.assume_role_denied`` or ``aws.mfa_needed``.
        """
        with self._errors("sts:*"):
            return self._credentials().get_frozen_credentials()

    def renew(self) -> None:
        """Look for the credentials anew, since a service does not take these any more. Raises what ``keys`` raises."""
        with self._errors("sts:*"):
            self._credentials().renew()

    def close(self) -> None:
        """Close the connections of every client made so far; a later call makes new clients."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _errors(self, action: str, *, resource: str | None = None, endpoint: str | None = None) -> Any:
        profile = self._source.profile
        if self._source.kind is forms.Kind.DEFAULT:
            profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
        return aws_errors(action, resource=resource, endpoint=endpoint, profile=profile)

    def _credentials(self) -> Any:
        with self._lock:
            if self._renewable is None:
                from clary.sagemaker.chain import Renewable

                self._renewable = Renewable(self._find)
            return self._renewable

    def _find(self) -> Any:
        """Return credentials as they are now. ``Renewable`` calls this under its own lock, so not several at once."""
        from botocore.exceptions import NoCredentialsError

        from clary.sagemaker import chain

        with self._errors("sts:*"):
            source = chain.open_source(self._source, self._region)
            if self._assume_role is not None:
                role = chain.Role(self._assume_role, self._external_id)
                return chain.assumed(role, lambda: source.create_client("sts", **self._options("sts")))
            found = source.get_credentials()
            if found is None:
                raise NoCredentialsError
            return found

    def _boto3(self) -> Any:
        with self._lock, self._errors("sts:*"):
            if self._session is None:
                import boto3

                from clary.sagemaker import chain

                inner = chain.open_settings(self._source, self._region)
                inner.register_component("credential_provider", chain.Provider(self._credentials()))
                self._session = boto3.Session(botocore_session=inner)
            return self._session

    def _make(self, service: str) -> Any:
        from clary.sagemaker.chain import renew_when_stale

        client = self._boto3().client(service, **self._options(service))
        client.meta.events.register_first("needs-retry", renew_when_stale(self._credentials()))
        return client

    def _options(self, service: str) -> dict[str, Any]:
        from botocore.config import Config

        endpoint = self.named_endpoint(service)
        # botocore refuses FIPS together with an endpoint; who names one has chosen.
        fips = False if endpoint else (self._fips or None)
        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=_CONNECTIONS,
            tcp_keepalive=True,
            use_fips_endpoint=fips,
            # Else the endpoint that botocore tells for us-east-1 is the global one, which with FIPS does not exist.
            s3={"us_east_1_regional_endpoint": "regional"},
            user_agent_extra=f"clary/{__version__}",
        )
        return {"region_name": self.region, "endpoint_url": endpoint, "config": config}
