"""A package index on loopback (PEP 503, 658, 691): small wheels and sdists made here, basic auth, faults on request."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import ssl
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import trustme

USER, PASSWORD = "builder", "pa55-w0rd/+planted"
"""The password has characters that a URL must escape."""
_JSON = "application/vnd.pypi.simple.v1+json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    path: str
    authorization: str | None
    range: str | None
    target: str
    """The path, or where this index is used as a proxy the whole URL."""
    proxy_authorization: str | None


@dataclass
class PackageIndex:
    """What the index holds, how it behaves, and what it was asked."""

    address: str
    """``127.0.0.1:port``."""
    password: str | None = None
    """Of ``USER``; None lets everybody in."""
    scheme: str = "http"
    files: dict[str, bytes] = field(default_factory=dict)
    """By file name."""
    requires_python: dict[str, str] = field(default_factory=dict)
    """What the listing says of a file."""
    ranges: bool = True
    """Whether it gives parts of files."""
    hashed: bool = True
    """Whether the listing tells digests."""
    elsewhere: str | None = None
    """Where listed files are said to lie, such as ``http://127.0.0.1:port/files``; None: here."""
    fault: Callable[[str, int], str | None] = lambda _path, _number: None
    """Gives the fault, if any, for a path and how often it was asked for before: a status such as ``503``, ``cut``
    (half of the body), ``stall`` (half, and nothing more until the client goes), ``wrong`` (another body), or
    ``to:URL`` (a redirect)."""
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}/simple"

    @property
    def secret_url(self) -> str:
        """The index's URL with the name and password in it."""
        return f"http://{USER}:{quote(PASSWORD, safe='')}@{self.address}/simple"

    def file_url(self, filename: str) -> str:
        return f"{self.scheme}://{self.address}/files/{filename}"

    def add(self, filename: str, data: bytes, *, requires_python: str | None = None) -> str:
        """Take a file in, and return its sha256."""
        self.files[filename] = data
        if requires_python is not None:
            self.requires_python[filename] = requires_python
        return hashlib.sha256(data).hexdigest()

    def add_wheel(
        self,
        name: str,
        version: str = "1.0",
        *,
        tag: str = "py3-none-any",
        requires: Sequence[str] = (),
        requires_python: str | None = None,
        payload: bytes = b"",
    ) -> str:
        """Make a wheel, take it in, and return its file name."""
        filename = f"{name.replace('-', '_')}-{version}-{tag}.whl"
        self.add(
            filename, wheel(name, version, tag=tag, requires=requires, payload=payload), requires_python=requires_python
        )
        return filename

    def add_sdist(
        self, name: str, version: str = "1.0", *, tag: str = "py3-none-any", requires: Sequence[str] = ()
    ) -> str:
        """Make an sdist that builds a wheel with ``tag``, take it in, and return its file name."""
        filename = f"{name.replace('-', '_')}-{version}.tar.gz"
        self.add(filename, sdist(name, version, tag=tag, requires=requires))
        return filename

    def asked_for(self, part: str) -> list[Asked]:
        """Return the requests whose path has ``part``."""
        return [one for one in self.asked if part in one.path]

    def digest(self, filename: str) -> str:
        return hashlib.sha256(self.files[filename]).hexdigest()


def wheel(name: str, version: str, *, tag: str, requires: Sequence[str] = (), payload: bytes = b"") -> bytes:
    """Return a wheel with one module, the same bytes each time."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": f"VERSION = {version!r}\n".encode(),
        f"{module}/payload.bin": payload,
        f"{info}/METADATA": metadata(name, version, requires).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = "".join(f"{path},sha256={_record(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    return zipped(files)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip file, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def sdist(name: str, version: str, *, tag: str, requires: Sequence[str] = ()) -> bytes:
    """Return an sdist whose own small backend needs nothing and builds a wheel with ``tag``."""
    top = f"{name.replace('-', '_')}-{version}"
    files = {f"{top}/{path}": data for path, data in project(name, version, tag=tag, requires=requires).items()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def project(
    name: str, version: str = "1.0", *, tag: str = "py3-none-any", requires: Sequence[str] = ()
) -> dict[str, bytes]:
    """Return the files of a project that builds by itself, without a network."""
    pyproject = (
        f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = {json.dumps(list(requires))}\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    module = name.replace("-", "_")
    backend = _BACKEND.format(
        module=module, name=name, version=version, tag=tag, metadata=metadata(name, version, requires)
    )
    return {
        "pyproject.toml": pyproject.encode(),
        "backend.py": backend.encode(),
        f"{module}.py": f"VERSION = {version!r}\n".encode(),
        "PKG-INFO": metadata(name, version, requires).encode(),
    }


def metadata(name: str, version: str, requires: Sequence[str] = ()) -> str:
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires)]) + "\n"


_BACKEND = '''\
import os, tarfile, zipfile


def get_requires_for_build_wheel(config_settings=None):
    return []


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "{module}-{version}-{tag}.whl"
    info = "{module}-{version}.dist-info"
    files = {{
        "{module}.py": open("{module}.py").read(),
        info + "/METADATA": """{metadata}""",
        info + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: {tag}\\n",
    }}
    record = "".join(path + ",,\\n" for path in files) + info + "/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        for path, text in (files | {{info + "/RECORD": record}}).items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return name
'''


def _record(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    index: PackageIndex

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:  # the base class asks for this name
        path = urlsplit(self.path).path
        number = len(self.index.asked_for(path))
        said = (self.headers.get(name) for name in ("Authorization", "Range", "Proxy-Authorization"))
        authorization, asked_range, proxy_authorization = said
        self.index.asked.append(Asked(path, authorization, asked_range, self.path, proxy_authorization))
        fault = self.index.fault(path, number)
        if not self._let_in():
            self._answer(401, b"who are you?", {"WWW-Authenticate": "Basic realm=index"})
        elif fault is not None and fault.startswith("to:"):
            self._answer(302, b"", {"Location": fault[3:]})
        elif fault is not None and fault.isdigit():
            self._answer(int(fault), b"no", {"Retry-After": "0"})
        elif path.startswith("/simple/"):
            self._list(path.removeprefix("/simple/").strip("/"))
        else:
            self._file(path.removeprefix("/files/"), fault)

    do_HEAD = do_GET  # noqa: N815 - the base class asks for this name

    def _let_in(self) -> bool:
        if self.index.password is None:
            return True
        pair = base64.b64encode(f"{USER}:{self.index.password}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {pair}"

    def _list(self, name: str) -> None:
        rows = [row for row in sorted(self.index.files) if _normal(row) == name]
        if not rows:
            self._answer(404, b"no such package", {})
        elif _JSON in self.headers.get("Accept", ""):
            self._answer(200, json.dumps(self._json(name, rows)).encode(), {"Content-Type": _JSON})
        else:
            links = "".join(f'<a href="{self._place(row)}#sha256={self.index.digest(row)}">{row}</a>\n' for row in rows)
            self._answer(200, f"<html><body>{links}</body></html>".encode(), {"Content-Type": "text/html"})

    def _json(self, name: str, rows: list[str]) -> dict[str, Any]:
        files = []
        for row in rows:
            entry: dict[str, Any] = {"filename": row, "url": self._place(row), "size": len(self.index.files[row])}
            entry["hashes"] = {"sha256": self.index.digest(row)} if self.index.hashed else {}
            if row in self.index.requires_python:
                entry["requires-python"] = self.index.requires_python[row]
            if row.endswith(".whl"):
                entry["core-metadata"] = True
            files.append(entry)
        return {"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": files}

    def _place(self, filename: str) -> str:
        return f"{self.index.elsewhere or f'http://{self.index.address}/files'}/{filename}"

    def _file(self, name: str, fault: str | None) -> None:
        data = self.index.files.get(name)
        whole = name.removesuffix(".metadata")
        if data is None and name != whole and whole in self.index.files:
            with zipfile.ZipFile(io.BytesIO(self.index.files[whole])) as archive:
                data = next(archive.read(path) for path in archive.namelist() if path.endswith(".dist-info/METADATA"))
        if data is None:
            self._answer(404, b"no such file", {})
            return
        if fault == "wrong":
            data = b"!" * len(data)
        self._part(data, fault)

    def _part(self, data: bytes, fault: str | None) -> None:
        asked = self.headers.get("Range") if self.index.ranges else None
        start = int(asked.removeprefix("bytes=").partition("-")[0] or 0) if asked else 0
        if start >= len(data):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        headers = {"Accept-Ranges": "bytes"} if self.index.ranges else {}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._answer(206 if asked else 200, data[start:], headers, fault)

    def _answer(self, status: int, data: bytes, headers: Mapping[str, str], fault: str | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if fault in ("cut", "stall") else data)
        if fault == "stall":
            self.connection.recv(1)  # returns when the client's end is closed
        if fault in ("cut", "stall"):
            self.close_connection = True


def _normal(filename: str) -> str:
    return filename.partition("-")[0].replace("_", "-").lower()


@contextmanager
def serving(*, password: str | None = None, authority: trustme.CA | None = None) -> Iterator[PackageIndex]:
    """Give an index that answers until the end; by TLS where somebody is named who vouches for it."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if authority is None else "https"
    index = PackageIndex(f"127.0.0.1:{server.server_port}", password, scheme=scheme)
    handler.index = index  # type: ignore[attr-defined]  # a class made for this server
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()


def environment(index: PackageIndex, home: Path, url: str | None = None) -> dict[str, str]:
    """Return variables for uv and for fetching: this index alone, and nothing of the person's own settings."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "UV_CACHE_DIR": str(home / "uv"),
        "UV_DEFAULT_INDEX": url or index.url,
        "UV_HTTP_RETRIES": "0",
    }
