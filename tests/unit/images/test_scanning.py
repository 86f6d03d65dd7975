"""Which Python a base has, found in layers of many shapes."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from clary.errors import ConfigError
from clary.images import base_layers
from clary.images.oci import DOCKER_LAYER, Config, Descriptor, Manifest
from clary.images.platforms import AMD64
from clary.images.scanning import Seen, python_of

GLIBC = b"\0" * 5000 + b"GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n" + b"\0" * 100


def layer(entries: dict[str, bytes | str]) -> bytes:
    """Return a layer: bytes are files, texts are links to what they say."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def found(*layers: dict[str, bytes | str], path: str = "/usr/local/bin:/usr/bin:/bin") -> tuple[str, str] | None:
    seen = Seen()
    for entries in layers:
        data = layer(entries)
        seen.read(data[at : at + 100] for at in range(0, len(data), 100))
    python = seen.python(path, AMD64)
    return None if python is None else (python.version, python.executable)


def test_the_python_of_an_official_image() -> None:
    debian: dict[str, bytes | str] = {"bin": "usr/bin", "usr/lib/x86_64-linux-gnu/libc.so.6": GLIBC}
    python: dict[str, bytes | str] = {"usr/local/bin/python3": "python3.12", "usr/local/bin/python3.12": b"elf"}
    assert found(debian, python) == ("3.12", "/usr/local/bin/python3.12")
    seen = Seen()
    seen.read([layer(debian)])
    seen.read([layer(python)])
    whole = seen.python("/usr/local/bin", AMD64)
    assert whole is not None
    assert (whole.libc, whole.libc_version, whole.uv_platform) == ("glibc", (2, 36), "x86_64-manylinux_2_36")


def test_the_first_on_the_path_counts_and_later_layers_outrank_earlier_ones() -> None:
    both: dict[str, bytes | str] = {
        "usr/bin/python3": "python3.11",
        "usr/bin/python3.11": b"",
        "./opt/conda/bin/python3": "python3.12",
        "./opt/conda/bin/python3.12": b"",
    }
    assert found(both, path="/opt/conda/bin:/usr/bin") == ("3.12", "/opt/conda/bin/python3.12")
    assert found(both, path="/usr/bin") == ("3.11", "/usr/bin/python3.11")
    newer: dict[str, bytes | str] = {"usr/bin/python3": "python3.13", "usr/bin/python3.13": b""}
    assert found(both, newer, path="/usr/bin") == ("3.13", "/usr/bin/python3.13")
    gone: dict[str, bytes | str] = {"usr/bin/.wh.python3": b"", "usr/bin/.wh.python3.11": b""}
    assert found(both, gone, path="/usr/bin") is None


def test_links_are_followed_over_folders() -> None:
    linked: dict[str, bytes | str] = {
        "usr/local/bin/python3": "/opt/python/bin/python3",
        "opt/python/bin/python3": "python3.11",
        "opt/python/bin/python3.11": b"",
    }
    assert found(linked) == ("3.11", "/opt/python/bin/python3.11")
    environment: dict[str, bytes | str] = {
        "opt/venv/bin/python3": "python",
        "opt/venv/bin/python": "/opt/python/bin/python3.11",
        "opt/python/bin/python3.11": b"",
    }
    assert found(environment, path="/opt/venv/bin") == ("3.11", "/opt/python/bin/python3.11")
    merged: dict[str, bytes | str] = {"bin": "usr/bin", "usr/bin/python3": "python3.11", "usr/bin/python3.11": b""}
    assert found(merged, path="/bin") == ("3.11", "/usr/bin/python3.11")
    plain: dict[str, bytes | str] = {"usr/bin/python3": b"elf", "usr/bin/python3.10": b"", "usr/bin/python3.9": b""}
    assert found(plain) == ("3.10", "/usr/bin/python3")
    circle: dict[str, bytes | str] = {"usr/bin/python3": "python3x", "usr/bin/python3x": "python3"}
    assert found(circle) is None


def test_links_of_the_whole_image_are_followed() -> None:
    alternatives: dict[str, bytes | str] = {
        "usr/bin/python3": "/etc/alternatives/python3",
        "etc/alternatives/python3": "/usr/bin/python3.10",
        "usr/bin/python3.10": b"elf",
        "usr/bin/python3.12": b"elf",
    }
    assert found(alternatives) == ("3.10", "/usr/bin/python3.10")
    versions: dict[str, bytes | str] = {
        "usr/local/python/current": "3.13.1",
        "usr/local/python/3.13.1/bin/python3": "python3.13",
        "usr/local/python/3.13.1/bin/python3.13": b"elf",
        "usr/bin/python3": "python3.11",
        "usr/bin/python3.11": b"elf",
    }
    path = "/usr/local/python/current/bin:/usr/bin"
    assert found(versions, path=path) == ("3.13", "/usr/local/python/3.13.1/bin/python3.13")
    moved: dict[str, bytes | str] = {"usr/local/python/.wh.current": b""}
    assert found(versions, moved, path=path) == ("3.11", "/usr/bin/python3.11")
    emptied: dict[str, bytes | str] = {"usr/local/python/.wh..wh..opq": b"", "usr/local/python/current": "3.14.0"}
    assert found(versions, emptied, path=path) == ("3.11", "/usr/bin/python3.11")
    replaced: dict[str, bytes | str] = {"usr/local/python/current/bin/python3.9": b"elf"}
    assert found(versions, {"usr/local/python/current": b""}, replaced, path=path) == (
        "3.9",
        "/usr/local/python/current/bin/python3.9",
    )


def test_what_a_link_or_a_script_starts_is_not_guessed() -> None:
    system: dict[str, bytes | str] = {"usr/bin/python3": "python3.11", "usr/bin/python3.11": b"elf"}
    dangling: dict[str, bytes | str] = {"opt/bin/python3": "/nowhere/python3.10", "opt/bin/python3.12": b"elf"}
    assert found(system, dangling, path="/opt/bin:/usr/bin") == ("3.11", "/usr/bin/python3.11")
    assert found(dangling, path="/opt/bin") is None
    shim = b"#!/usr/bin/env bash\nexec pyenv exec python3\n"
    shims: dict[str, bytes | str] = {"root/.pyenv/shims/python3": shim, "root/.pyenv/shims/python3.13": shim}
    assert found(system, shims, path="/root/.pyenv/shims:/usr/bin") == ("3.11", "/usr/bin/python3.11")
    assert found(shims, path="/root/.pyenv/shims") is None


def test_a_file_with_several_names_has_the_version_that_one_of_them_tells() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("usr/bin/python3"))
        other = tarfile.TarInfo("usr/bin/python3.10")
        other.type, other.linkname = tarfile.LNKTYPE, "usr/bin/python3"
        archive.addfile(other)
        archive.addfile(tarfile.TarInfo("usr/bin/python3.12"))
    seen = Seen()
    seen.read([packed.getvalue()])

    python = seen.python("/usr/bin", AMD64)

    assert python is not None
    assert (python.version, python.executable) == ("3.10", "/usr/bin/python3")


def test_alpine_has_musl() -> None:
    seen = Seen()
    seen.read([layer({"lib/ld-musl-x86_64.so.1": b"", "usr/bin/python3": "python3.12", "usr/bin/python3.12": b""})])
    python = seen.python("/usr/bin", AMD64)
    assert python is not None
    assert python.uv_platform == "x86_64-musllinux_1_2"


def test_the_c_library_of_this_machine_is_read() -> None:
    libraries = [*Path("/lib").glob("*-linux-gnu/libc.so.6"), *Path("/lib64").glob("libc.so.6")]
    if not libraries:
        assert sys.platform != "linux"
        return
    import platform

    seen = Seen()
    seen.read([layer({str(libraries[0])[1:]: libraries[0].read_bytes()})])
    assert seen.libc_version is not None
    assert ".".join(map(str, seen.libc_version)) == platform.libc_ver()[1]


def base_of(*layers: dict[str, bytes | str], size: int | None = None) -> tuple[Manifest, dict[str, bytes]]:
    blobs = {f"sha256:{number:064d}": layer(entries) for number, entries in enumerate(layers)}
    described = tuple(Descriptor(DOCKER_LAYER, digest, size or len(data)) for digest, data in blobs.items())
    return Manifest("", "sha256:" + "b" * 64, Descriptor("", "sha256:" + "c" * 64, 1), described), blobs


def test_what_was_found_is_kept_by_digest(tmp_path: Path) -> None:
    manifest, blobs = base_of({"usr/bin/python3": "python3.12", "usr/bin/python3.12": b""})
    read: list[str] = []

    def opened(one: Descriptor) -> AbstractContextManager[Iterable[bytes]]:
        read.append(one.digest)
        chunks: Iterator[bytes] = iter([blobs[one.digest]])
        return nullcontext(chunks)

    config = Config({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/bin"]}})
    first = python_of(manifest, config, opened, tmp_path / "bases")
    assert python_of(manifest, config, opened, tmp_path / "bases") == first
    assert len(read) == 1
    (tmp_path / "bases" / f"{'b' * 64}.json").write_text("{broken")
    assert python_of(manifest, config, opened, tmp_path / "bases") == first
    assert len(read) == 2


@pytest.mark.parametrize(
    ("size", "code"), [(None, "image.no_python"), (base_layers.LARGEST + 1, "image.base_too_large")]
)
def test_a_base_without_python_or_too_large_is_refused(tmp_path: Path, size: int | None, code: str) -> None:
    manifest, blobs = base_of({"etc/hosts": b""}, size=size)
    config = Config({"architecture": "amd64", "os": "linux"})
    with pytest.raises(ConfigError) as caught:
        python_of(manifest, config, lambda one: nullcontext(iter([blobs[one.digest]])), tmp_path)
    assert caught.value.code == code


def _whole(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        ("application/vnd.oci.image.layer.v1.tar+zstd", _whole, "image.layer_type"),
        (DOCKER_LAYER, lambda data: data[: len(data) // 2], "image.bad_layer"),
        (DOCKER_LAYER, lambda _data: b"\x28\xb5\x2f\xfd zstd by another name", "image.bad_layer"),
        (DOCKER_LAYER, lambda _data: gzip.compress(b"no tar" * 200), "image.bad_layer"),
        (DOCKER_LAYER, lambda data: data[:30] + bytes(40) + data[70:], "image.bad_layer"),
    ],
)
def test_a_layer_that_cannot_be_read_is_refused(
    tmp_path: Path, kind: str, change: Callable[[bytes], bytes], code: str
) -> None:
    manifest, blobs = base_of({f"a{number}": bytes([number]) * 500 for number in range(100)})
    (only,) = (replace(one, media_type=kind) for one in manifest.layers)
    config = Config({"architecture": "amd64", "os": "linux"})
    damaged = change(blobs[only.digest])
    with pytest.raises(ConfigError) as caught:
        python_of(replace(manifest, layers=(only,)), config, lambda _layer: nullcontext(iter([damaged])), tmp_path)
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())
