"""S3 objects that survive: moto keeps the index in memory, this module keeps every object's bytes and state on disk.

After a write that moto accepted, ``capture`` compares what moto now holds for that key with what is on disk, moves new
bytes into a file of their own, commits the key's whole list of versions in one transaction, and only then is the reply
sent. moto's in-memory copy of the bytes is replaced by the file, so memory does not grow with the data. At the start
``restore`` rebuilds moto's index from the table without reading any bytes.

Uploads in parts are kept once completed; parts of an unfinished upload are forgotten by a restart, as an expired
upload is.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import threading
import uuid
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from clary.sandbox.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key TEXT NOT NULL, position INTEGER NOT NULL, file TEXT, state TEXT NOT NULL,
    PRIMARY KEY (bucket, key, position)
) WITHOUT ROWID;
"""
_STRIPES = 64
_CHUNK = 1 << 20
_PLAIN = (
    "name", "account_id", "region_name", "encryption", "kms_key_id", "bucket_key_enabled", "website_redirect_location",
    "lock_mode", "lock_legal_status", "lock_until", "checksum_value", "checksum_type", "checksum_parts",
    "checksum_algorithm",
)  # fmt: skip
"""Members of moto's object that are text, numbers or None."""


class StoredBytes:
    """Bytes in a file, with the few methods that moto uses of its own buffer."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size
        self._at = 0

    def seek(self, position: int) -> None:
        """Go to a position from the start."""
        self._at = position

    def read(self, size: int = -1) -> bytes:
        """Read from the position on."""
        left = max(self._size - self._at, 0)
        with self.path.open("rb") as file:
            file.seek(self._at)
            data = file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def open(self) -> BinaryIO:
        """Open the file; the caller closes it. It stays readable when the object is overwritten."""
        return self.path.open("rb")

    def close(self) -> None:
        """Do nothing: the file is removed when no version names it any more."""


class Objects:
    """The durable side of moto's S3. ``s3_backends`` is moto's own registry."""

    def __init__(self, folder: Path, database: Database, s3_backends: Any) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._db = database
        self._backends = s3_backends
        self._locks = [threading.RLock() for _ in range(_STRIPES)]

    @contextmanager
    def locked(self, bucket: str, keys: Iterable[str]) -> Iterator[None]:
        """Hold the locks of these keys: conditional writes are decided one after the other."""
        stripes = sorted({zlib.crc32(f"{bucket}/{key}".encode()) % _STRIPES for key in keys})
        with ExitStack() as stack:
            for stripe in stripes:
                stack.enter_context(self._locks[stripe])
            yield

    def bucket(self, name: str) -> Any | None:
        """Return moto's bucket, or None."""
        owner = self._backends.bucket_accounts.get(name)
        if owner is None:
            return None
        partition, account = owner
        return self._backends[account][partition].buckets.get(name)

    def backend(self, bucket: Any) -> Any:
        """Return moto's S3 backend of that bucket's account."""
        return self._backends[bucket.account_id][bucket.partition]

    def current(self, bucket: str, key: str, version_id: str | None = None) -> Any | None:
        """Return moto's object, or None when there is none or it is deleted."""
        holder = self.bucket(bucket)
        versions = holder.keys.getlist(key, []) if holder is not None else []
        if version_id is not None:
            versions = [version for version in versions if str(version.version_id) == version_id]
        return versions[-1] if versions and hasattr(versions[-1], "_value_buffer") else None

    # -- writing

    def capture(self, bucket: str, keys: Iterable[str]) -> None:
        """Make what moto holds for these keys durable. Call it under ``locked``, before the reply."""
        holder = self.bucket(bucket)
        dropped: list[str] = []
        with self._db.transaction():
            for key in keys:
                versions = list(holder.keys.getlist(key, [])) if holder is not None else []
                rows = [(bucket, key, n, *self._state(holder, version)) for n, version in enumerate(versions)]
                kept = {row[3] for row in rows}
                before = self._db.rows("SELECT file FROM objects WHERE bucket=? AND key=?", (bucket, key))
                dropped += [row["file"] for row in before if row["file"] and row["file"] not in kept]
                self._db.execute("DELETE FROM objects WHERE bucket=? AND key=?", (bucket, key))
                self._db.many("INSERT INTO objects VALUES (?,?,?,?,?)", rows)
        for file in dropped:
            (self._folder / file).unlink(missing_ok=True)

    def adopt(self, source: Path, bucket: str, key: str) -> None:
        """Store a file as an object without holding it in memory (the platform's own uploads).

        Raises FileNotFoundError when there is no such bucket.
        """
        holder = self.bucket(bucket)
        if holder is None:
            raise FileNotFoundError(f"NoSuchBucket: The specified bucket does not exist: {bucket}")
        name, digest = self._copy_in(source)
        with self.locked(bucket, [key]):
            fake = self.backend(holder).put_object(bucket, key, b"", etag=digest)
            fake._value_buffer.close()
            size = (self._folder / name).stat().st_size
            fake._value_buffer, fake.contentsize = StoredBytes(self._folder / name, size), size
            self.capture(bucket, [key])

    def _copy_in(self, source: Path) -> tuple[str, str]:
        import hashlib

        digest = hashlib.md5(usedforsecurity=False)
        name, path = self._new_file()
        with source.open("rb") as reader, path.open("wb") as writer:
            while chunk := reader.read(_CHUNK):
                digest.update(chunk)
                writer.write(chunk)
        return name, digest.hexdigest()

    def _new_file(self) -> tuple[str, Path]:
        name = uuid.uuid4().hex
        name = f"{name[:2]}/{name}"
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        return name, path

    def _state(self, bucket: Any, version: Any) -> tuple[str | None, str]:
        """Return the file and the state of one version; its bytes move into a file if they are not in one yet."""
        if not hasattr(version, "_value_buffer"):
            marker = {"marker": True, "version_id": version.version_id, "modified": version.last_modified.isoformat()}
            return None, json.dumps(marker)
        if not isinstance(version._value_buffer, StoredBytes):
            self._move_out(version)
        state = {member: getattr(version, member, None) for member in _PLAIN}
        state |= {
            "etag": version.etag.strip('"'),
            "size": version.size,
            "storage": version.storage_class,
            "versioned": version._is_versioned,
            "version_id": version._version_id,
            "modified": version.last_modified.isoformat(),
            "expiry": version._expiry.isoformat() if version._expiry else None,
            "metadata": dict(version.metadata),
            "tags": self.backend(bucket).tagger.get_tag_dict_for_resource(version.arn),
            "acl": _acl_to_data(version.acl),
        }
        return str(version._value_buffer.path.relative_to(self._folder)), json.dumps(state)

    def _move_out(self, version: Any) -> None:
        """Write an object's bytes to a file and let moto read them from there; its parts are not needed any more."""
        _, path = self._new_file()
        with version.lock:
            buffer = version._value_buffer
            buffer.seek(0)
            with path.open("wb") as file:
                while chunk := buffer.read(_CHUNK):
                    file.write(chunk)
            version.etag  # noqa: B018 - computed from the buffer at the first use, so use it before the buffer goes
            version._value_buffer = StoredBytes(path, version.size)
            buffer.close()
        if version.multipart:
            version.multipart.dispose()

    # -- starting

    def restore(self) -> int:
        """Give moto back every object; returns how many. Buckets must be there. Removes files that no object names."""
        files: set[str] = set()
        count = 0
        grouped: dict[tuple[str, str], list[Any]] = {}
        for row in self._db.rows("SELECT * FROM objects ORDER BY bucket, key, position"):
            holder = self.bucket(row["bucket"])
            if holder is None:
                continue
            state = json.loads(row["state"])
            versions = grouped.setdefault((row["bucket"], row["key"]), [])
            versions.append(self._rebuilt(holder, row["key"], row["file"], state, versions))
            files.add(row["file"])
            count += 1
        for (bucket, key), versions in grouped.items():
            self.bucket(bucket).keys.setlist(key, versions)  # type: ignore[union-attr]
        self._sweep(files)
        return count

    def _rebuilt(self, bucket: Any, key: str, file: str | None, state: Mapping[str, Any], earlier: list[Any]) -> Any:
        from moto.s3.models import FakeDeleteMarker, FakeKey

        if state.get("marker"):
            marker: Any = FakeDeleteMarker(key=earlier[-1] if earlier else FakeKey(key, b"", "", ""))
            marker.name = key
            marker.last_modified = dt.datetime.fromisoformat(state["modified"])
            marker._version_id = state["version_id"]
            return marker
        fake: Any = FakeKey(
            name=key,
            value=b"",
            account_id=state["account_id"],
            region_name=state["region_name"],
            storage=state["storage"],
            etag=state["etag"],
            is_versioned=state["versioned"],
            version_id=state["version_id"],
            bucket_name=bucket.name,
        )
        for member in _PLAIN:
            setattr(fake, member, state[member])
        fake._value_buffer.close()
        fake._value_buffer = StoredBytes(self._folder / str(file), state["size"])
        fake.contentsize = state["size"]
        fake.last_modified = dt.datetime.fromisoformat(state["modified"])
        fake._expiry = dt.datetime.fromisoformat(state["expiry"]) if state["expiry"] else None
        fake._metadata.update(state["metadata"])
        fake.acl = _acl_from_data(state["acl"])
        if state["tags"]:
            tagger = self.backend(bucket).tagger
            tagger.tag_resource(fake.arn, tagger.convert_dict_to_tags_input(state["tags"]))
        return fake

    def _sweep(self, files: set[str]) -> None:
        for folder in os.scandir(self._folder):
            if folder.is_dir():
                for entry in os.scandir(folder.path):
                    if f"{folder.name}/{entry.name}" not in files:
                        Path(entry.path).unlink(missing_ok=True)


def stream(buffer: StoredBytes, start: int, size: int) -> Iterator[bytes]:
    """Open the bytes now and yield that part of them in chunks."""
    file = buffer.open()
    return _chunks(file, start, size)


def _chunks(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    with file:
        file.seek(start, io.SEEK_SET)
        while size > 0 and (chunk := file.read(min(_CHUNK, size))):
            size -= len(chunk)
            yield chunk


def _acl_to_data(acl: Any) -> list[Any] | None:
    if acl is None:
        return None
    return [[[(g.id, g.uri, g.display_name) for g in grant.grantees], list(grant.permissions)] for grant in acl.grants]


def _acl_from_data(data: list[Any] | None) -> Any:
    from moto.s3.models import FakeAcl, FakeGrant, FakeGrantee

    if data is None:
        return None
    return FakeAcl([FakeGrant([FakeGrantee(*grantee) for grantee in grantees], rights) for grantees, rights in data])
