"""Wheels for tests: good ones, and ones that are broken on purpose."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from clary.images.building import Wheel

EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass
class Draft:
    """A wheel that is about to be written; every part can be changed before."""

    name: str = "demo"
    version: str = "1.0"
    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    """What the zip file says of the mode, type included."""
    record: dict[str, str] = field(default_factory=dict)
    """Rows of RECORD (``digest,size``) that are not as they should be."""
    unlisted: Sequence[str] = ()
    stored: Sequence[str] = ()
    """Files that are not compressed."""
    level: int = 6
    zip64: bool = False
    descriptors: bool = False
    """Written as to a pipe: sizes follow the data."""
    filename: str | None = None

    @property
    def info(self) -> str:
        return f"{self.name}-{self.version}.dist-info"

    @property
    def data(self) -> str:
        return f"{self.name}-{self.version}.data"

    def all_files(self) -> dict[str, bytes]:
        metadata = {
            f"{self.info}/METADATA": f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n".encode(),
            f"{self.info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files = {**metadata, **self.files}
        return {**files, f"{self.info}/RECORD": files.get(f"{self.info}/RECORD", self._record(files))}

    def _record(self, files: Mapping[str, bytes]) -> bytes:
        rows = {name: f"{digest_of(data)},{len(data)}" for name, data in files.items() if name not in self.unlisted}
        rows = {**rows, f"{self.info}/RECORD": ",", **self.record}
        return "".join(f"{_quoted(name)},{row}\n" for name, row in rows.items()).encode()

    def write(self, folder: Path) -> Wheel:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (self.filename or f"{self.name}-{self.version}-py3-none-any.whl")
        with path.open("wb") as file, zipfile.ZipFile(_Pipe(file) if self.descriptors else file, "w") as archive:
            for name, data in self.all_files().items():
                self._add(archive, name, data)
        return wheel_of(path, self.name, self.version)

    def _add(self, archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name, EPOCH)
        entry.compress_type = zipfile.ZIP_STORED if name in self.stored else zipfile.ZIP_DEFLATED
        entry.external_attr = self.modes.get(name, 0o100644) << 16
        entry._compresslevel = self.level  # type: ignore[attr-defined]  # public from Python 3.13 on
        with archive.open(entry, "w", force_zip64=self.zip64) as file:
            file.write(data)


def demo(**changes: object) -> Draft:
    """Return a small package with a module, a program and a library."""
    draft = Draft(
        files={
            "demo/__init__.py": b"VALUE = 42\n",
            "demo/big.bin": bytes(range(256)) * 400 + hashlib.shake_128(b"noise").digest(50_000),
            "demo/empty": b"",
            "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo.main:run\n",
            "demo/main.py": b"def run():\n    print('ran')\n",
        },
    )
    for name, value in changes.items():
        setattr(draft, name, value)
    return draft


def wheel_of(path: Path, name: str, version: str) -> Wheel:
    """Return a wheel's file as a lock would name it."""
    data = path.read_bytes()
    return Wheel(name, version, path.name, hashlib.sha256(data).hexdigest(), len(data), path=path)


def changed(wheel: Wheel, change: Callable[[bytes], bytes]) -> Wheel:
    """Return the wheel with other bytes, in its place."""
    assert wheel.path is not None
    wheel.path.write_bytes(change(wheel.path.read_bytes()))
    return wheel_of(wheel.path, wheel.name, wheel.version)


def digest_of(data: bytes) -> str:
    """Return a digest as RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


class _Pipe:
    """A file that cannot go back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes, /) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
