"""Registries behind TLS: certificates that are known, and that are not."""

from __future__ import annotations

import socket
import ssl
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from clary.errors import AwsError
from clary.images.registry.wire import located
from registry_images import registry_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAR = "registry.example"
VARIABLES = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: handshakes are broken off here."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    authority, certificate = trustme.CA(), tmp_path_factory.mktemp("tls") / "certificate.pem"
    authority.cert_pem.write_to_path(str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", FAR).configure_cert(context)
    served = _Quiet(("127.0.0.1", 0), _Empty)
    served.socket = context.wrap_socket(served.socket, server_side=True)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{served.server_address[1]}", certificate
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_certificate_that_is_named_is_trusted(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(server[1]))
    registry = registry_at(f"https://{server[0]}")
    assert registry.manifest("app", "v1") is None
    registry.close()


def test_a_certificate_that_nobody_knows_is_told_at_once(server: tuple[str, Path]) -> None:
    registry = registry_at(f"https://{server[0]}")
    with pytest.raises(AwsError) as caught:
        registry.manifest("app", "v1")
    assert caught.value.code == "registry.tls_failed"
    assert "SSL_CERT_FILE" in caught.value.next_step
    registry.close()


def test_a_registry_without_tls_is_told_so() -> None:
    plain = _Quiet(("127.0.0.1", 0), _Empty)
    thread = threading.Thread(target=plain.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    registry = registry_at(f"https://127.0.0.1:{plain.server_address[1]}")
    try:
        with pytest.raises(AwsError) as caught:
            registry.manifest("app", "v1")
    finally:
        plain.shutdown()
        thread.join()
        plain.server_close()
        registry.close()
    assert caught.value.code == "registry.tls_failed"


class _Tunnel(BaseHTTPRequestHandler):
    """A proxy that leads wherever it is asked for to one server."""

    target: str
    asked: list[tuple[str, str | None]]

    def do_CONNECT(self) -> None:
        self.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        host, _, port = self.target.partition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(far, self.connection))
            back.start()
            _pour(self.connection, far)
            back.join()
        self.close_connection = True

    def log_message(self, *_args: Any) -> None:
        pass


def _pour(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_the_proxy_of_the_environment_is_used(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    proxy = _Quiet(("127.0.0.1", 0), type("Tunnel", (_Tunnel,), {"target": server[0], "asked": asked}))
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", *VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server[1]))
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:s%40cret@127.0.0.1:{proxy.server_address[1]}")
    far, near = registry_at(f"https://{FAR}"), registry_at(f"https://{server[0]}")
    try:
        assert far.manifest("app", "v1") is None
        assert near.manifest("app", "v1") is None  # on this machine: never through a proxy
    finally:
        far.close()
        near.close()
        proxy.shutdown()
        thread.join()
        proxy.server_close()
    assert [path for path, _ in asked] == [f"{FAR}:443"]
    assert asked[0][1] == "Basic " + b64encode(b"ada:s@cret").decode()


@pytest.mark.parametrize(
    ("base", "location", "meant"),
    [
        ("https://r.example/v2/a/", "/v2/a/uploads/1?x=2", "https://r.example/v2/a/uploads/1?x=2"),
        ("https://r.example/v2/a/uploads/", "1?x=2", "https://r.example/v2/a/uploads/1?x=2"),
        ("https://r.example:8443/v2/", "http://r.example/v2/u", "https://r.example:8443/v2/u"),
        ("https://r.example/v2/", "https://s3.example/u?sig=1", "https://s3.example/u?sig=1"),
        ("https://r.example/v2/", "http://other.example/u", "http://other.example/u"),
    ],
)
def test_a_registry_behind_a_proxy_may_think_that_it_is_called_by_http(base: str, location: str, meant: str) -> None:
    assert located(base, location) == meant
