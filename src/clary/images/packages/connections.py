"""Connections to where files are fetched: proxies, certificates, redirects and logins, as uv has them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from clary._version import __version__
from clary.images.packages import indexes, uv_failures

if TYPE_CHECKING:
    from clary.images.packages.indexes import Credentials, Login

CONNECT_TIMEOUT = 10.0
"""Seconds until a connection must stand."""
READ_TIMEOUT = 60.0
"""Seconds without a byte of answer."""
_REDIRECTS = 8
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_REFUSED = frozenset({401, 403})


class Connections:
    """Answers GET requests. Safe from any thread."""

    def __init__(self, credentials: Credentials, environment: Mapping[str, str], parallel: int) -> None:
        self._credentials = credentials
        self._environment = environment
        self._parallel = parallel
        self._lock = threading.Lock()
        self._pools: dict[str | None, Any] = {}
        self._learnt: dict[tuple[str, str], Login | None] = {}

    def get(self, url: str, headers: Mapping[str, str]) -> Any:
        """Return an unread urllib3 response, which the caller closes. A login is sent to no host but its own.

        A refusal is met once with the login that another program keeps. Raises urllib3's HTTPError; ConfigError
        ``image.index_unreachable`` for redirects without end.
        """
        bare, login = indexes.split_login(url)
        home = indexes.realm(bare)
        login = login or self._learnt.get(home) or self._credentials.known(bare)
        response = self._followed(bare, headers, login)
        if response.status not in _REFUSED or home in self._learnt:
            return response
        with self._lock:
            if home not in self._learnt:
                self._learnt[home] = self._credentials.asked(bare)
        if self._learnt[home] is None:
            return response
        response.drain_conn()
        return self._followed(bare, headers, self._learnt[home])

    def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            pool.clear()

    def _followed(self, url: str, headers: Mapping[str, str], login: Login | None) -> Any:
        from urllib3.util import make_headers

        home = indexes.realm(url)
        secret = make_headers(basic_auth=":".join(login)) if login else {}
        for _ in range(_REDIRECTS):
            sent = {**headers, **(secret if indexes.realm(url) == home else {})}
            response = self._pool(url).request(
                "GET", url, headers=sent, preload_content=False, redirect=False, retries=False
            )
            target = response.headers.get("Location")
            if response.status not in _REDIRECTED or not target:
                return response
            response.drain_conn()
            url = urljoin(url, target)
        raise uv_failures.unreachable(urlsplit(url).netloc, "it redirects without end")

    def _pool(self, url: str) -> Any:
        proxy = self._proxy(url)
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._made(proxy)
            return self._pools[proxy]

    def _proxy(self, url: str) -> str | None:
        parts = urlsplit(url)
        if _spared(parts.hostname or "", parts.netloc, self._setting("no_proxy")):
            return None
        return self._setting(f"{parts.scheme}_proxy") or self._setting("all_proxy") or None

    def _setting(self, name: str) -> str:
        return self._environment.get(name) or self._environment.get(name.upper()) or ""

    def _made(self, proxy: str | None) -> Any:
        from urllib3 import PoolManager, ProxyManager, Timeout
        from urllib3.util import make_headers

        settings: dict[str, Any] = {
            "ssl_context": self._certificates(),
            "timeout": Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
            "maxsize": self._parallel,
            "headers": {"User-Agent": f"clary/{__version__}"},
        }
        if proxy is None:
            return PoolManager(**settings)
        bare, login = indexes.split_login(proxy if "://" in proxy else f"http://{proxy}")
        secret = make_headers(proxy_basic_auth=":".join(login)) if login else None
        return ProxyManager(bare, proxy_headers=secret, **settings)

    def _certificates(self) -> Any:
        import ssl

        file, folder = self._environment.get("SSL_CERT_FILE"), self._environment.get("SSL_CERT_DIR")
        return ssl.create_default_context(cafile=file or None, capath=folder or None)


def _spared(host: str, netloc: str, no_proxy: str) -> bool:
    """Tell whether NO_PROXY keeps a host off the proxy: by name, by the end of its name, by port, or all by ``*``."""
    for one in filter(None, (entry.strip().lower() for entry in no_proxy.split(","))):
        name = one.removeprefix("*").lstrip(".")
        if one == "*" or name in (host, netloc) or host.endswith(f".{name}"):
            return True
    return False
