"""A base image made of this machine: one interpreter, its standard library, the system libraries it needs, and pip.

An allow-list, not a copy: what is not named here is not in it, so what a layer forgets is missed.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from clary.images.building import Layer, Python
from clary.images.oci import Config

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_LEFT_OUT = ("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages", "__pycache__")
_EVER = ("libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1")
"""What wheels may count on beside the C library. Source: PEP 599 and PEP 600."""


def python() -> Python:
    """Return the interpreter of the base."""
    return Python(VERSION, f"/usr/local/bin/python{VERSION}")


def make_root(folder: Path, pip: Path | None = None) -> Path:
    """Make the base's file system in a new folder; ``pip`` is a wheel that is unpacked beside the interpreter."""
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    lib = Path(sys.base_prefix) / f"lib/python{VERSION}"
    _copy(executable, folder / f"usr/local/bin/python{VERSION}")
    for path in _standard_library(lib):
        _copy(path, folder / f"usr/local/lib/python{VERSION}" / path.relative_to(lib))
    for library in sorted({*_needed([executable, *lib.glob("lib-dynload/*.so")]), *_system()}):
        _copy(Path(library), folder / library[1:])
    site = folder / f"usr/local/lib/python{VERSION}/site-packages"
    site.mkdir()
    if pip is not None:
        with zipfile.ZipFile(pip) as archive:
            archive.extractall(site)
    (folder / "tmp").mkdir()
    (folder / "dev").mkdir()
    (folder / "dev/null").touch()
    return folder


def make_layer(root: Path, out: Path) -> Layer:
    """Pack a file system as a layer, quickly."""
    with (
        gzip.GzipFile(out, "wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        archive.add(root, ".")
    data = out.read_bytes()
    return Layer(_digest(data), _digest(gzip.decompress(data)), len(data), out, "base")


def make_config(layer: Layer) -> Config:
    """Return the base's configuration."""
    return Config(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        }
    )


def write_image(folder: Path, layers: Iterable[Layer], config: bytes, manifest: bytes) -> Path:
    """Write an image as a folder that skopeo reads by ``dir:``."""
    folder.mkdir()
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / "manifest.json").write_bytes(manifest)
    (folder / hashlib.sha256(config).hexdigest()).write_bytes(config)
    for layer in layers:
        (folder / layer.digest.removeprefix("sha256:")).hardlink_to(layer.path)
    return folder


def _standard_library(lib: Path) -> Iterator[Path]:
    for path in lib.rglob("*"):
        parts = path.relative_to(lib).parts
        if path.is_file() and not any(part in _LEFT_OUT or part.startswith("config-") for part in parts):
            yield path


@functools.cache
def _known_libraries() -> dict[str, str]:
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^\s+(\S+) \(libc6,x86-64[^)]*\) => (\S+)$", listed, re.MULTILINE))


def _system() -> Iterator[str]:
    for name in _EVER:
        if name in _known_libraries():
            yield _known_libraries()[name]


def _needed(programs: Iterable[Path]) -> Iterator[str]:
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    for found in re.finditer(r"(?:=> )?(/\S+) \(0x", listed):
        yield found[1]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
