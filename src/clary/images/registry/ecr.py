"""Amazon ECR's private registries: how their names are known, how one signs in, how a repository is made."""

from __future__ import annotations

import re
import threading
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clary.errors import AwsError, ClaryError, ConfigError, PermissionDeniedError
from clary.images.registry.auth import Login

if TYPE_CHECKING:
    from clary.sagemaker.session import Aws

_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9]+(?:-[a-z0-9]+)+)\."
    r"(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.(?:com\.cn|eu)|c2s\.ic\.gov"
    r"|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
)
"""Sources: "Amazon ECR private registry" (dual stack and FIPS forms), the suffixes of botocore's partitions.json. The
suffixes are named one by one, for what is taken for ECR is sent a token."""
_PREFIX = "AWS:"
_MARGIN = timedelta(minutes=5)
"""Before its end from which a token is not used any more; it lives for 12 hours."""


@dataclass(frozen=True)
class Place:
    """A private registry of Amazon ECR."""

    host: str
    account: str
    region: str

    @classmethod
    def of(cls, host: str) -> Place | None:
        """Return the registry that a host is; None for every other host."""
        found = _HOST.fullmatch(host)
        return cls(host, found["account"], found["region"]) if found else None


class Token:
    """What GetAuthorizationToken gives for a registry, asked for when it is needed. Safe from any thread."""

    def __init__(self, aws: Aws, place: Place) -> None:
        self._aws = aws
        self._place = place
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._until: datetime | None = None
        self._endpoint = ""

    def current(self) -> Login:
        """Return the login, asked for anew when its time is nearly over. Raises as ``Aws.call`` does."""
        with self._lock:
            due = self._until is not None and datetime.now(UTC) > self._until - _MARGIN
            if self._login is None or due:
                return self._ask()
            return self._login

    def renew(self) -> Login:
        """Return a new login, since the registry does not take the last one."""
        with self._lock:
            return self._ask()

    def origin(self) -> str:
        """Return scheme and host to call.

        That is the image's own host, which may be the FIPS or dual-stack one, or another account's, as long as the
        answer speaks of ECR too; any other address in the answer takes its place.
        """
        self.current()
        named = urlsplit(self._endpoint)
        if named.netloc and Place.of(named.netloc) is None:
            return f"{named.scheme}://{named.netloc}"
        return f"https://{self._place.host}"

    def _ask(self) -> Login:
        with self._aws.call("ecr:GetAuthorizationToken") as ecr:
            # The account counts for the address in the answer alone: a token is good for every registry.
            given = ecr.get_authorization_token(registryIds=[self._place.account])["authorizationData"]
        data: dict[str, Any] = given[0] if given else {}
        try:
            text = b64decode(data["authorizationToken"], validate=True).decode()
        except (KeyError, ValueError):
            raise _unreadable() from None
        if not text.startswith(_PREFIX):
            raise _unreadable()
        until = data.get("expiresAt")
        # A token was good when it was given, whatever the clocks say: then only a 401 ends it.
        self._until = until if until and until > datetime.now(UTC) + _MARGIN else None
        self._endpoint = str(data.get("proxyEndpoint") or "")
        self._login = Login("AWS", text.removeprefix(_PREFIX))
        return self._login


def create_repository(aws: Aws, place: Place, name: str) -> bool:
    """Make a repository; False when it is there already. Raises as ``Aws.call`` does, the command to take named."""
    try:
        with aws.call("ecr:CreateRepository", resource=name) as ecr:
            try:
                ecr.create_repository(registryId=place.account, repositoryName=name)
            except ecr.exceptions.RepositoryAlreadyExistsException:
                return False
    except PermissionDeniedError as error:
        raise PermissionDeniedError(
            error.code,
            error.summary,
            next_step=f"Let somebody who may run `aws ecr create-repository --repository-name {name} --region "
            f"{place.region}`, or grant ecr:CreateRepository: `clary iam policy builder` prints what a push "
            "needs.",
            retry=error.retry,
            details=error.details | {"repository": name},
        ) from error
    return True


def other_region(place: Place, region: str) -> ClaryError:
    """Return the refusal of a registry in a region that no credentials are at hand for."""
    return ConfigError(
        "registry.other_region",
        f"The registry {place.host} is in {place.region}, the stack in {region}.",
        next_step=f"Name the image in {region}: AWS keeps its own images in every region; others can be copied there.",
        field="image",
    )


def _unreadable() -> ClaryError:
    return AwsError(
        "registry.bad_token",
        "The answer to ecr:GetAuthorizationToken holds no token that can be read.",
        next_step="Check which endpoint answers for Amazon ECR (AWS_ENDPOINT_URL_ECR, the stack's endpoint).",
    )
