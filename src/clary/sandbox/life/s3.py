"""Objects named by a request: addresses, prefixes, manifests, and which host gets which."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clary.sandbox.life.beneath import safe_relative
from clary.sandbox.life.failures import JobFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import PurePosixPath

    from clary.sandbox.model import ObjectAccess

_DOWNLOAD = "ClientError: Data download failed:"


@dataclass(frozen=True)
class Address:
    """A bucket and a key or prefix in it."""

    bucket: str
    key: str

    def below(self, *parts: str) -> Address:
        """Return the address of something below this one."""
        return Address(self.bucket, "/".join([*([self.key.rstrip("/")] if self.key.strip("/") else []), *parts]))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def address(uri: str) -> Address:
    """Return the parts of an ``s3://`` URI; raises JobFailed for anything else."""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise JobFailed(f"ClientError: The sandbox reads and writes s3:// addresses only, not {uri}")
    return Address(parts.netloc, uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/"))


@dataclass(frozen=True)
class Source:
    """One object and where it goes below its folder."""

    bucket: str
    key: str
    path: PurePosixPath


def sources(objects: ObjectAccess, source: Mapping[str, Any], role: str, region: str) -> list[Source]:
    """Return the objects of an S3 data source in the order of their keys. Raises JobFailed when there are none.

    ``source`` has S3Uri and S3DataType (S3Prefix or ManifestFile), as training channels and processing inputs do.
    """
    where = address(source["S3Uri"])
    kind = source.get("S3DataType", "S3Prefix")
    try:
        if kind == "S3Prefix":
            found = list(_of_prefix(objects, where))
        elif kind == "ManifestFile":
            found = list(_of_manifest(objects, where))
        else:
            raise JobFailed(f"{_DOWNLOAD}The sandbox does not run S3DataType {kind}")
    except (FileNotFoundError, PermissionError) as error:
        raise JobFailed(f"{_DOWNLOAD}{error}") from error
    except ValueError as error:
        raise JobFailed(f"{_DOWNLOAD}{error} (below {where})") from error
    if not found:
        raise JobFailed(
            f'{_DOWNLOAD}No S3 objects found under S3 URL "{where}" given in input data source. Please ensure that the '
            f"bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and that the "
            f'role "{role}" has "s3:ListBucket" permissions on bucket "{where.bucket}".'
        )
    return found


def _of_prefix(objects: ObjectAccess, where: Address) -> Iterator[Source]:
    """A prefix matches as a string; what follows its last folder becomes the path, as the service does."""
    for key, _ in objects.list(where.bucket, where.key):
        folder = where.key if key.startswith(where.key.rstrip("/") + "/") else where.key.rpartition("/")[0]
        relative = key.removeprefix(folder).lstrip("/")
        if relative and not relative.endswith("/"):
            yield Source(where.bucket, key, safe_relative(relative))


def _of_manifest(objects: ObjectAccess, where: Address) -> Iterator[Source]:
    """A manifest is ``[{"prefix": "s3://…"}, "relative/path", …]``."""
    try:
        head, *names = json.loads(objects.read(where.bucket, where.key))
        prefix = str(head["prefix"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError('a manifest is a JSON list that begins with {"prefix": "s3://…"}') from error
    base = address(prefix)
    for name in names:
        yield Source(base.bucket, base.key + str(name), safe_relative(str(name)))


def share(found: Sequence[Source], distribution: str | None, host: int, hosts: int) -> Sequence[Source]:
    """Return what one host (counted from 0) gets: everything, or every n-th object by key."""
    if distribution != "ShardedByS3Key":
        return found
    return sorted(found, key=lambda one: one.key)[host::hosts]
