"""Requests on the wire: connections that are kept, redirects, and nothing of the registry protocol but its errors."""

from __future__ import annotations

import os
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from clary._version import __version__
from clary.images.registry import refusals
from clary.images.registry.asking import Answer, Request
from clary.sagemaker.translation import is_loopback

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CHUNK = 128 * 1024
"""Bytes that are sent or read at once. A chunk must leave within ``CONNECT_TIMEOUT``, which 14 kB/s are enough for."""
CONNECT_TIMEOUT = 10.0
"""Seconds until a connection must stand. urllib3 also gives it to each chunk that is sent."""
LONGEST_BODY = 4 * 1024 * 1024
"""Bytes of an answer that is read into memory: registries take no larger manifests."""
_CONNECTIONS = 16
_HOPS = 5
_MOVED = frozenset({301, 302, 303, 307, 308})
_MOVED_AS_IT_IS = frozenset({307, 308})
_DRAIN = 64 * 1024
"""Bytes of an answer nobody wants that are read to keep the connection; with more of them it is closed."""


class Reply(NamedTuple):
    """An answer that has not been read."""

    response: BaseHTTPResponse
    url: str
    """Where it came from, redirects followed."""

    @property
    def status(self) -> int:
        """The status."""
        return int(self.response.status)

    def read(self) -> Answer:
        """Return the answer with its body. Raises AwsError ``registry.bad_reply`` for one over 4 MiB."""
        data = self.response.read(LONGEST_BODY + 1)
        if len(data) > LONGEST_BODY:
            raise refusals.bad_reply(refusals.host_of(self.url), "an answer is over 4 MiB")
        return Answer(self.status, self.url, self.response.headers, data)

    def drop(self) -> None:
        """Be done with the answer: its connection is kept where little is left of it, else closed."""
        from urllib3.exceptions import HTTPError

        try:
            if len(self.response.read(_DRAIN)) < _DRAIN:
                self.response.release_conn()
                return
        except HTTPError:
            pass
        self.response.close()


class Wire:
    """Connections to a registry and where it points to. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._managers: dict[str | None, PoolManager] = {}

    def close(self) -> None:
        """Close the connections that are idle; a later request opens new ones."""
        with self._lock:
            managers, self._managers = self._managers, {}
        for manager in managers.values():
            manager.clear()

    @contextmanager
    def send(self, request: Request, authorization: str | None) -> Iterator[Reply]:
        """Give the answer, unread, after redirects; ``authorization`` goes to the origin of the request's URL alone.

        Raises AwsError ``registry.unreachable``, ``registry.unknown_host``, ``registry.tls_failed``,
        ``registry.no_reply``, also for what breaks while the block reads; ConfigError ``registry.insecure``.
        """
        reply = self._hop(request, request.url, authorization)
        try:
            for _ in range(_HOPS):
                target = _moved(request, reply)
                if target is None:
                    break
                reply.drop()
                kept = authorization if same_origin(target, request.url) else None
                reply = self._hop(request, target, kept)
            else:
                raise refusals.bad_reply(refusals.host_of(request.url), "it redirects without end")
            with _told(reply.url):
                yield reply
        finally:
            reply.drop()

    def _hop(self, request: Request, url: str, authorization: str | None) -> Reply:
        from urllib3 import Timeout

        check_secure(url)
        headers = {"User-Agent": f"clary/{__version__}", "Accept-Encoding": "identity", **request.headers}
        if authorization is not None:
            headers["Authorization"] = authorization
        body: Any = request.body() if callable(request.body) else request.body
        with _told(url):
            response = self._manager(url).request(
                request.method,
                url,
                body=body,
                headers=headers,
                timeout=Timeout(connect=CONNECT_TIMEOUT, read=request.timeout),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        return Reply(response, url)

    def _manager(self, url: str) -> PoolManager:
        proxy = _proxy_for(url)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = _new_manager(proxy)
            return self._managers[proxy]


def located(base: str, location: str) -> str:
    """Return the absolute form of a Location that ``base`` answered with.

    A registry behind a TLS proxy often believes that it is called by http: the same host is called as before.
    """
    target = urljoin(base, location)
    before, after = urlsplit(base), urlsplit(target)
    if (before.scheme, after.scheme) == ("https", "http") and before.hostname == after.hostname:
        return after._replace(scheme="https", netloc=before.netloc).geturl()
    return target


def same_origin(one: str, other: str) -> bool:
    """Tell whether two URLs name the same scheme, host and port."""
    return _origin(one) == _origin(other)


def check_secure(url: str) -> None:
    """Raise ConfigError ``registry.insecure`` for what is neither https nor on this machine."""
    if urlsplit(url).scheme != "https" and not (urlsplit(url).scheme == "http" and is_loopback(url)):
        raise refusals.insecure(url)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _moved(request: Request, reply: Reply) -> str | None:
    location = reply.response.headers.get("Location")
    followed = _MOVED if request.method in ("GET", "HEAD") else _MOVED_AS_IT_IS
    return located(reply.url, location) if location and reply.status in followed else None


@contextmanager
def _told(url: str) -> Iterator[None]:
    from urllib3.exceptions import HTTPError

    try:
        yield
    except HTTPError as error:
        raise refusals.broken(error, url) from error


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, as other programs read it; none for this machine."""
    parts = urlsplit(url)
    if is_loopback(url) or urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _new_manager(proxy: str | None) -> PoolManager:
    from urllib3 import PoolManager, ProxyManager
    from urllib3.util import make_headers, parse_url

    options: dict[str, Any] = {"maxsize": _CONNECTIONS, "ca_certs": _certificates()}
    if proxy is None:
        return PoolManager(**options)
    said = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    headers = make_headers(proxy_basic_auth=unquote(said.auth)) if said.auth else None
    return ProxyManager(said._replace(auth=None).url, proxy_headers=headers, **options)


def _certificates() -> str | None:
    """Return the file of certificate authorities; None leaves it to OpenSSL, which also reads SSL_CERT_FILE.

    Interpreters that were built elsewhere may look in folders that this machine lacks: then botocore's file counts.
    """
    named = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
    known = ssl.get_default_verify_paths()
    if named or known.cafile or known.capath:
        return named or None
    import botocore

    return str(Path(botocore.__file__).with_name("cacert.pem"))
