"""What a wheel says of itself: METADATA, WHEEL, RECORD, entry points; checked against its name and files. Pure."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clary.images.wheels.names import check_name
from clary.images.wheels.problems import Problem

if TYPE_CHECKING:
    from installer.scripts import Script

    from clary.images.wheels.archive import Entry

_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
"""Not listed in RECORD, and of no use after an installation. Source: the binary distribution format."""
_WEAK = frozenset({"md5", "sha1"})
_DIGEST = re.compile(r"[A-Za-z0-9_-]{40,128}")


@dataclass(frozen=True)
class Metadata:
    """What a wheel says of itself."""

    name: str
    """The package's name in its normal form."""
    version: str
    info: str
    """The folder with the metadata, ``numpy-2.3.1.dist-info``."""
    digests: Mapping[str, tuple[str, str]]
    """By file: the kind of digest and its value, as RECORD has them; RECORD itself and signatures have none."""
    scripts: tuple[Script, ...]
    """Programs that are to be made, for the command line and with windows alike."""

    @property
    def data(self) -> str:
        """The folder whose parts go to their places in the environment."""
        return f"{self.info.removesuffix('.dist-info')}.data"

    @property
    def title(self) -> str:
        """The package and its version, for people."""
        return f"{self.name} {self.version}"

    def digest(self, name: str) -> str:
        """Return a file's digest as one word, ``sha256=…``."""
        return "=".join(self.digests[name])


def read_metadata(filename: str, entries: Mapping[str, Entry], text: Callable[[Entry], str]) -> Metadata:
    """Return what a wheel says of itself.

    Args:
        filename: the wheel's name.
        entries: its files by name.
        text: reads one of them; raises Problem.

    Raises Problem.
    """
    name, version = _named(filename)
    info = _info_folder(name, version, entries)
    told = {part: text(_needed(entries, f"{info}/{part}")) for part in ("WHEEL", "METADATA", "RECORD")}
    _check_format(_headers(told["WHEEL"]).get("wheel-version", ""), f"{info}/WHEEL")
    _check_identity(_headers(told["METADATA"]), name, version, f"{info}/METADATA")
    digests = _read_record(told["RECORD"], info, entries)
    points = entries.get(f"{info}/entry_points.txt")
    return Metadata(name, version, info, digests, _read_scripts(text(points), points.name) if points else ())


def encoded(digest: bytes) -> str:
    """Return a digest as RECORD has it."""
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def scripts_folder(metadata: Metadata) -> str:
    """Return the prefix of the files that are programs."""
    return f"{metadata.data}/scripts/"


def _named(filename: str) -> tuple[str, str]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion

    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise Problem(f"its file's name is not one of a wheel: {error}") from None
    return str(name), str(version)


def _info_folder(name: str, version: str, entries: Collection[str]) -> str:
    found = sorted({top for top in (entry.partition("/")[0] for entry in entries) if top.endswith(".dist-info")})
    if len(found) != 1:
        raise Problem(f"it holds {len(found)} folders *.dist-info instead of one")
    folder = found[0]
    named, _, versioned = folder.removesuffix(".dist-info").rpartition("-")
    if not _same_name(named, name) or not _same_version(versioned, version):
        raise Problem(f"its folder {folder} is another package's or version's than its file's name says")
    return folder


def _needed(entries: Mapping[str, Entry], name: str) -> Entry:
    if name not in entries:
        raise Problem("it is missing", name)
    return entries[name]


def _headers(text: str) -> dict[str, str]:
    """Return the headers of a file in the form of mail, without what follows them (a long description)."""
    from email.parser import HeaderParser

    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    return {key.lower(): str(value).strip() for key, value in HeaderParser().parsestr(head).items()}


def _check_format(version: str, entry: str) -> None:
    if version.partition(".")[0] != "1":
        raise Problem(f"it is a wheel of version {version or 'unknown'!r}; 1 can be read", entry)


def _check_identity(headers: Mapping[str, str], name: str, version: str, entry: str) -> None:
    told_name, told_version = headers.get("name", ""), headers.get("version", "")
    if not _same_name(told_name, name) or not _same_version(told_version, version):
        raise Problem(f"it says {told_name!r} {told_version!r}, the file's name {name!r} {version!r}", entry)


def _same_name(one: str, other: str) -> bool:
    from packaging.utils import canonicalize_name

    return canonicalize_name(one) == canonicalize_name(other)


def _same_version(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one.replace("_", "+", 1) if "+" not in one else one) == Version(other)
    except InvalidVersion:
        return False


def _read_record(text: str, info: str, entries: Mapping[str, Entry]) -> dict[str, tuple[str, str]]:
    """Return the digests by file; raises Problem where RECORD and the files do not match one to one."""
    import csv

    from installer.records import InvalidRecordEntry, parse_record_file

    record = f"{info}/RECORD"
    unsigned = {record, *(f"{info}/{name}" for name in _SIGNATURES)}
    digests: dict[str, tuple[str, str]] = {}
    listed: set[str] = set()
    try:
        for name, digest, size in parse_record_file(line for line in io.StringIO(text, newline="") if line.strip()):
            if name in listed:
                raise Problem("RECORD lists it twice", name)
            listed.add(name)
            if name in unsigned or name.endswith("/"):
                continue
            entry = entries.get(name)
            if entry is None:
                raise Problem("RECORD lists it, but it is missing", name)
            if size and size != str(entry.size):
                raise Problem(f"it has {entry.size} bytes; RECORD says {size}", name)
            digests[name] = _digest(digest, name)
    except (InvalidRecordEntry, csv.Error) as error:
        raise Problem(f"it cannot be read: {error}", record) from None
    unlisted = sorted(entries.keys() - digests.keys() - unsigned)
    if unlisted:
        raise Problem("RECORD does not list it", unlisted[0])
    return digests


def _digest(text: str, name: str) -> tuple[str, str]:
    kind, _, value = text.partition("=")
    kind, value = kind.lower(), value.rstrip("=")
    fixed = kind in hashlib.algorithms_guaranteed and not kind.startswith("shake")
    if not fixed or kind in _WEAK or not _DIGEST.fullmatch(value):
        raise Problem(f"RECORD gives no digest that can be trusted ({text[:100]!r})", name)
    return sys.intern(kind), value


def _read_scripts(text: str, entry: str) -> tuple[Script, ...]:
    from configparser import Error

    from installer.scripts import Script
    from installer.utils import parse_entrypoints

    try:
        scripts = tuple(Script(*point) for point in parse_entrypoints(text))
    except (Error, AssertionError, AttributeError) as error:
        raise Problem(f"it cannot be read: {' '.join(str(error).split()) or 'not module:function'}", entry) from None
    for script in scripts:
        if "/" in script.name:
            raise Problem(f"the name of the program {script.name!r} is a path", entry)
        check_name(script.name)
    return tuple(sorted(scripts, key=lambda script: script.name))
