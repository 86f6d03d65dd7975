"""Debian's docker-registry on loopback: open, with passwords, or with tokens of a token service that runs here."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from patience import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = shutil.which("docker-registry")
needs_registry = pytest.mark.skipif(PROGRAM is None, reason="docker-registry is not installed")
USER, PASSWORD = "ada", "pass:word with ünïcode"


@dataclass
class Server:
    """A registry that answers."""

    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"


@contextmanager
def docker_registry(folder: Path, auth: str = "") -> Iterator[Server]:
    """Run docker-registry with its data in ``folder``; ``auth`` is that section of its settings, as YAML."""
    assert PROGRAM is not None
    for _ in range(5):
        port = _free_port()
        settings = folder / f"registry-{port}.yml"
        settings.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}"
        )
        log = (folder / f"registry-{port}.log").open("wb")
        with log, subprocess.Popen([PROGRAM, "serve", str(settings)], stdout=log, stderr=log) as process:
            try:
                until(partial(_answers_or_ended, port, process), f"docker-registry: see {folder}")
                if process.poll() is None:
                    yield Server(port)
                    return
            finally:
                process.terminate()
    raise AssertionError(f"docker-registry does not start: see {folder}")


@contextmanager
def with_passwords(folder: Path, user: str = USER) -> Iterator[Server]:
    """Run a registry that only one user with ``PASSWORD`` may use."""
    hashed = subprocess.run(["htpasswd", "-Bbn", user, PASSWORD], capture_output=True, check=True).stdout
    (folder / "htpasswd").write_bytes(hashed)
    with docker_registry(folder, f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n") as server:
        yield server


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answers_or_ended(port: int, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        return True
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except OSError:
        return False
    finally:
        connection.close()


@dataclass
class TokenService:
    """Gives tokens that docker-registry takes, and remembers who asked for what."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    expires_in: int | None = 300
    """What the answers say."""
    stale: int = 0
    """So many of the next tokens are over before they are given."""
    anonymous: bool = True
    """Whether those who do not sign in may read."""
    refuses: set[str] = field(default_factory=set)
    """Repositories for which nobody is given any right."""
    status: int = 200
    identity: str = "an-identity-token"


@contextmanager
def with_tokens(folder: Path) -> Iterator[tuple[Server, TokenService]]:
    """Run a registry that asks for a token, and the service that gives them."""
    service = TokenService()
    signer = _Signer(folder / "bundle.pem")
    handler = type("Handler", (_TokenHandler,), {"service": service, "signer": signer})
    tokens = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    tokens.daemon_threads = True
    thread = threading.Thread(target=tokens.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    service.url = f"http://127.0.0.1:{tokens.server_address[1]}/token"
    auth = (
        f"auth: {{token: {{realm: '{service.url}', service: test-registry, issuer: test-issuer, "
        f"rootcertbundle: {folder}/bundle.pem}}}}\n"
    )
    try:
        with docker_registry(folder, auth) as server:
            yield server, service
    finally:
        tokens.shutdown()
        thread.join()
        tokens.server_close()


class _Signer:
    """Makes JSON web tokens that carry their certificate, which the registry knows."""

    def __init__(self, bundle: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
        now = datetime.now(UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def token(self, access: list[dict[str, Any]], *, stale: bool) -> str:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = time.time() - (3600 if stale else 0)
        claims = {
            "iss": "test-issuer",
            "sub": "",
            "aud": "test-registry",
            "jti": "1",
            "access": access,
            "nbf": int(now) - 10,
            "iat": int(now),
            "exp": int(now) + 300,
        }
        signed = f"{_url64(json.dumps(header).encode())}.{_url64(json.dumps(claims).encode())}"
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_url64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class _TokenHandler(BaseHTTPRequestHandler):
    service: TokenService
    signer: _Signer

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        header = self.headers.get("Authorization") or ""
        right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self._give(dict(asked.items()), header, signed_in=header == right)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        given = form.pop("refresh_token", [""])[0]
        scopes = " ".join(form.pop("scope", [])).split()
        self._give({**form, "scope": scopes}, "identity" if given else "", signed_in=given == self.service.identity)

    def _give(self, asked: dict[str, Any], header: str, *, signed_in: bool) -> None:
        service = self.service
        service.asked.append({**asked, "signed_in": signed_in})
        if service.status != 200 or (header and not signed_in) or not (signed_in or service.anonymous):
            self._answer(service.status if service.status != 200 else 401, {"details": "no"})
            return
        access = []
        for scope in asked.get("scope", []):
            kind, name, rights = scope.split(":")
            allowed = rights.split(",") if signed_in else ["pull"]
            if name not in service.refuses:
                access.append({"type": kind, "name": name, "actions": allowed})
        service.stale -= (stale := service.stale > 0)
        document: dict[str, Any] = {"token": self.signer.token(access, stale=stale)}
        if service.expires_in is not None:
            document["expires_in"] = service.expires_in
        self._answer(200, document)

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: Any) -> None:
        pass
