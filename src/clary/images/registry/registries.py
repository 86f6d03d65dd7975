"""The right client for the name of an image: Amazon ECR by the stack's credentials, others as Docker would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Self

from clary.images.registry import ecr
from clary.images.registry.client import Registry
from clary.images.registry.dockerconfig import DockerLogins
from clary.images.registry.http import Http
from clary.sagemaker.translation import is_loopback

if TYPE_CHECKING:
    from types import TracebackType

    from clary.images.reference import Reference
    from clary.images.registry.retrying import Patience
    from clary.sagemaker.session import Aws


class Registries:
    """Clients of registries, made once a host and shared by threads. A context manager that closes them."""

    def __init__(
        self,
        aws: Aws | None = None,
        *,
        elsewhere: Callable[[str], Aws] | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Note the credentials; nothing is called yet.

        Args:
            aws: signs in to private registries of Amazon ECR; None leaves those to Docker's logins, too.
            elsewhere: gives the same for another region; None refuses registries there.
            patience: how often a step is tried.
        """
        self._aws = aws
        self._elsewhere = elsewhere
        self._patience = patience
        self._lock = threading.Lock()
        self._made: dict[str, Registry] = {}

    def open(self, reference: Reference) -> Registry:
        """Return the client for an image's registry; the same one each time.

        For Amazon ECR this asks for a token, and raises as ``Aws.call`` does; or ConfigError
        ``registry.other_region``. A host on this machine is called by plain http, all others by https.
        """
        with self._lock:
            if reference.host not in self._made:
                self._made[reference.host] = self._make(reference.host)
            return self._made[reference.host]

    def close(self) -> None:
        """Close the connections that are idle; a later request opens new ones."""
        with self._lock:
            made = list(self._made.values())
        for registry in made:
            registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self, host: str) -> Registry:
        place = ecr.Place.of(host)
        if place is not None and self._aws is not None:
            return self._private(place, self._aws)
        scheme = "http" if is_loopback(f"http://{host}") else "https"
        return Registry(Http(f"{scheme}://{host}", DockerLogins(host), patience=self._patience))

    def _private(self, place: ecr.Place, aws: Aws) -> Registry:
        if place.region != aws.region:
            if self._elsewhere is None:
                raise ecr.other_region(place, aws.region)
            aws = self._elsewhere(place.region)
        token = ecr.Token(aws, place)
        http = Http(token.origin(), token, patience=self._patience, basic=True)
        # ECR takes no second chunk of an upload (aws/containers-roadmap#2831), so a broken one begins anew.
        return Registry(http, resumes=False, create=partial(ecr.create_repository, aws, place))
