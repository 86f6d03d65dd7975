"""Requests to one registry: signed in, tried again where that can help, refusals told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clary.errors import ClaryError
from clary.images.registry import challenge, refusals
from clary.images.registry.auth import Login, Logins, Nobody, SignIn
from clary.images.registry.retrying import Patience, Tries
from clary.images.registry.wire import Reply, Wire, check_secure, located, same_origin

if TYPE_CHECKING:
    from clary.images.registry.asking import Answer, Request


class Http:
    """One registry's address, sign-in and patience. Safe from any thread."""

    def __init__(
        self, origin: str, logins: Logins | None = None, *, patience: Patience | None = None, basic: bool = False
    ) -> None:
        """Note where the registry is; nothing is called yet.

        Args:
            origin: scheme, host and port, ``https://registry.example``.
            logins: where the login comes from; None signs in as nobody.
            patience: how often a step is tried.
            basic: whether the registry is known to take the login by Basic, unasked.

        Raises ConfigError ``registry.insecure``.
        """
        check_secure(origin)
        self.origin = origin
        self.host = refusals.host_of(origin)
        self.patience = patience or Patience()
        self._wire = Wire()
        self._sign_in = SignIn(self.host, self._wire, logins or Nobody(), basic=basic)

    def close(self) -> None:
        """Close the connections that are idle; a later request opens new ones."""
        self._wire.close()

    def login(self) -> Login | None:
        """Return who signs in now; None: nobody."""
        return self._sign_in.login()

    def url(self, path: str) -> str:
        """Return the URL of a path of the protocol, ``app/manifests/latest``."""
        return f"{self.origin}/v2/{path}"

    def located(self, answer: Answer) -> str:
        """Return the absolute form of an answer's Location. Raises AwsError ``registry.bad_reply``."""
        location = answer.headers.get("Location")
        if not location:
            raise refusals.bad_reply(self.host, "an answer lacks its Location")
        return located(answer.url, location)

    def ask(self, request: Request, *good: int, tries: Tries | None = None) -> Answer:
        """Return the answer to a request that does no harm when it is done twice.

        Args:
            request: what is asked.
            good: the statuses that the caller knows what to make of; all others are raised.
            tries: counts the failures; None begins to count here.

        Raises what ``once`` raises, when trying again is no use.
        """
        tries = tries or Tries(self.patience)
        while True:
            try:
                return self.once(request, *good)
            except ClaryError as error:
                tries.met(error)

    def once(self, request: Request, *good: int) -> Answer:
        """Return the answer to a request, tried once; where the sign-in is not taken, once more with another.

        Raises AwsError and its kin with a code ``registry.…``; the retry verdict LATER is for what may pass.
        """
        with self.opened(request, *good) as reply:
            return reply.read()

    @contextmanager
    def opened(self, request: Request, *good: int) -> Iterator[Reply]:
        """Give the unread answer of one of the statuses ``good``. Raises as ``once`` does."""
        ours = same_origin(request.url, self.origin)  # uploads may go to another host, which is told nothing
        header = self._sign_in.header(request.scopes) if ours else None
        with self._wire.send(request, header) as reply:
            another = self._another(request, header, reply, good) if ours else None
            if another is None:
                yield _good(request, reply, good)
                return
        with self._wire.send(request, another) as reply:
            yield _good(request, reply, good)

    def _another(self, request: Request, header: str | None, reply: Reply, good: tuple[int, ...]) -> str | None:
        """Return what to sign the request with anew, if the registry asks for that.

        Amazon ECR does not ask: to a token that has expired it answers 403, and says so in the body, which an answer
        to HEAD does not have (flipt-io/flipt#3043).
        """
        if not same_origin(reply.url, self.origin):
            return None
        if reply.status == 401:
            challenges = challenge.parse(reply.response.headers.getlist("WWW-Authenticate"))
            return self._sign_in.renewed(challenges, request.scopes, header)
        if reply.status != 403 or not self._sign_in.expires or (reply.status in good and request.method != "HEAD"):
            return None
        refusal = refusals.Refusal.of(request, reply.read())
        if request.method != "HEAD" and "expired" not in refusal.text:
            raise refusals.told(refusal)
        return self._sign_in.renewed([challenge.Challenge("basic")], request.scopes, header)


def _good(request: Request, reply: Reply, good: tuple[int, ...]) -> Reply:
    if reply.status in good:
        return reply
    raise refusals.told(refusals.Refusal.of(request, reply.read()))
