"""Layers read back with the standard library's gzip and tar: what others make of what was written."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from clary.images.building import VENV, Layer

SITE = f"{VENV[1:]}/lib/python3.11/site-packages"
BIN = f"{VENV[1:]}/bin"


@dataclass(frozen=True)
class Found:
    """What lies in a layer."""

    names: tuple[str, ...]
    """In their order."""
    files: Mapping[str, bytes]
    links: Mapping[str, str]
    entries: Mapping[str, tarfile.TarInfo]


def unpacked(layer: Layer) -> Found:
    """Return what a layer holds, having checked its digests, size and every rule of reproducible archives."""
    data = layer.path.read_bytes()
    assert layer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert layer.size == len(data)
    content = gzip.decompress(data)
    assert layer.diff_id == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert len(content) % 512 == 0
    assert content.endswith(bytes(1024))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
        files = {one.name: archive.extractfile(one).read() for one in members if one.isreg()}  # type: ignore[union-attr]  # a file
    names = tuple(one.name for one in members)
    assert list(names) == sorted(names, key=str.encode)
    assert len(set(names)) == len(names)
    for one in members:
        assert (one.uid, one.gid, one.uname, one.gname, one.mtime) == (0, 0, "", "", 0)
        assert one.isreg() or one.issym() or one.isdir()
        assert one.isdir() or one.issym() or one.mode in (0o644, 0o755)
        parent = one.name.rpartition("/")[0]
        assert not parent or parent in names
    links = {one.name: one.linkname for one in members if one.issym()}
    return Found(names, files, links, {one.name: one for one in members})


def check_record(found: Found, info: str) -> dict[str, str]:
    """Check that every line of a RECORD is true, and return its digests by path in the image."""
    text = found.files[f"{SITE}/{info}/RECORD"].decode()
    listed: dict[str, str] = {}
    for path, digest, size in csv.reader(io.StringIO(text)):
        place = _plain(f"{SITE}/{path}")
        listed[place] = digest
        if path == f"{info}/RECORD":
            assert (digest, size) == ("", "")
            continue
        content = found.files[place]
        kind, _, value = digest.partition("=")
        assert base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).decode().rstrip("=") == value
        assert size == str(len(content))
    return listed


def _plain(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
