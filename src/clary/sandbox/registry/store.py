"""What is in the repositories: manifests, tags and blobs, as rows of SQLite beside the blobs' files."""

from __future__ import annotations

import json
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clary.sandbox.database import Database
from clary.sandbox.registry.blobs import KEPT_SECONDS, Blobs
from clary.sandbox.registry.names import LISTS, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_SCHEMA = """
CREATE TABLE blobs (
    place TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, added REAL NOT NULL, PRIMARY KEY (place, digest)
) WITHOUT ROWID;
CREATE INDEX blobs_by_digest ON blobs (digest);
CREATE TABLE manifests (
    id INTEGER PRIMARY KEY AUTOINCREMENT, place TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,
    body BLOB NOT NULL, pushed REAL NOT NULL, pulled REAL, UNIQUE (place, digest)
);
CREATE TABLE members (
    place TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (place, manifest, digest)
) WITHOUT ROWID;
CREATE INDEX members_by_digest ON members (place, digest);
CREATE TABLE tags (
    place TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (place, tag)
) WITHOUT ROWID;
CREATE INDEX tags_by_digest ON tags (place, digest);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_SWEEP_SECONDS = 3600


@dataclass(frozen=True)
class Manifest:
    """A manifest, or a list of manifests, as it was pushed."""

    place: Place
    digest: str
    media_type: str
    body: bytes
    pushed: float
    """Epoch seconds."""
    pulled: float | None = None

    @property
    def document(self) -> Mapping[str, Any]:
        """What it says."""
        found: Mapping[str, Any] = json.loads(self.body)
        return found

    @property
    def is_list(self) -> bool:
        """Whether it names manifests of several platforms."""
        return self.media_type in LISTS


class Store:
    """The images of every repository. Durable over kill -9; safe from any thread.

    Rows are written after the file they name and removed before it, so a blob that is listed is there whole.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.blobs = Blobs(folder)
        self._db = Database(folder / "registry.db", _SCHEMA, version=1, durable=False)
        self._lock = threading.RLock()
        self._swept = 0.0

    def close(self) -> None:
        """Close the files."""
        self._db.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nobody else remove anything meanwhile."""
        with self._lock:
            yield

    # -- blobs

    def size(self, place: Place, digest: str) -> int | None:
        """Return how many bytes a blob of the repository has, or None when it has none such."""
        row = self._db.row("SELECT size FROM blobs WHERE place=? AND digest=?", (place.key, digest))
        return int(row["size"]) if row else None

    def add_blob(self, place: Place, digest: str, source: Path) -> None:
        """Move a verified file into the repository."""
        size = source.stat().st_size
        with self._lock:
            self.blobs.keep(source, digest)
            self._link(place, digest, size)

    def _link(self, place: Place, digest: str, size: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO blobs VALUES (?,?,?,?)", (place.key, digest, size, time.time()))

    def mount(self, place: Place, source: Place, digest: str, *, unreferenced: bool) -> bool:
        """Take a blob over from another repository; returns whether it could be.

        One that no manifest there names is only taken with ``unreferenced``.
        """
        with self._lock:
            size = self.size(source, digest)
            if size is None or not (unreferenced or self._is_named(source, digest)):
                return False
            self._link(place, digest, size)
            return True

    def _is_named(self, place: Place, digest: str) -> bool:
        query = "SELECT 1 FROM members WHERE place=? AND digest=? LIMIT 1"
        return self._db.row(query, (place.key, digest)) is not None

    # -- manifests and tags

    def put(self, manifest: Manifest, members: Iterable[str], tag: str | None) -> None:
        """Keep a manifest and what it names; a tag moves to it."""
        place, digest = manifest.place.key, manifest.digest
        with self._lock, self._db.transaction():
            self._db.execute(
                "INSERT INTO manifests (place, digest, media_type, body, pushed, pulled) VALUES (?,?,?,?,?,?)"
                " ON CONFLICT DO UPDATE SET media_type=excluded.media_type",
                (place, digest, manifest.media_type, manifest.body, manifest.pushed, manifest.pulled),
            )
            self._db.many("INSERT OR IGNORE INTO members VALUES (?,?,?)", [(place, digest, one) for one in members])
            if tag is not None:
                self._db.execute("INSERT OR REPLACE INTO tags VALUES (?,?,?)", (place, tag, digest))

    def find(self, place: Place, pointer: str) -> Manifest | None:
        """Return the manifest of a digest or a tag, or None."""
        digest = pointer if ":" in pointer else self.tagged(place, pointer)
        row = self._db.row("SELECT * FROM manifests WHERE place=? AND digest=?", (place.key, digest))
        return _manifest(row) if row else None

    def manifests(self, place: Place) -> list[Manifest]:
        """Return every manifest of the repository, in the order of their pushes."""
        return [
            _manifest(row) for row in self._db.rows("SELECT * FROM manifests WHERE place=? ORDER BY id", (place.key,))
        ]

    def note_pull(self, manifest: Manifest) -> None:
        """Note that a manifest was pulled now."""
        key = (time.time(), manifest.place.key, manifest.digest)
        self._db.execute("UPDATE manifests SET pulled=? WHERE place=? AND digest=?", key)

    def tagged(self, place: Place, tag: str) -> str | None:
        """Return the digest that a tag names, or None."""
        row = self._db.row("SELECT digest FROM tags WHERE place=? AND tag=?", (place.key, tag))
        return str(row["digest"]) if row else None

    def tags(self, place: Place, digest: str | None = None) -> list[str]:
        """Return the tags of the repository, or of one image, in order."""
        if digest is None:
            rows = self._db.rows("SELECT tag FROM tags WHERE place=? ORDER BY tag", (place.key,))
        else:
            rows = self._db.rows("SELECT tag FROM tags WHERE place=? AND digest=? ORDER BY tag", (place.key, digest))
        return [str(row["tag"]) for row in rows]

    def lists_with(self, place: Place, digest: str) -> list[str]:
        """Return the lists of manifests that name this one."""
        rows = self._db.rows("SELECT manifest FROM members WHERE place=? AND digest=?", (place.key, digest))
        found = [self.find(place, str(row["manifest"])) for row in rows]
        return [one.digest for one in found if one is not None and one.is_list]

    # -- removing

    def untag(self, place: Place, tag: str) -> None:
        """Remove a tag."""
        self._db.execute("DELETE FROM tags WHERE place=? AND tag=?", (place.key, tag))

    def remove(self, place: Place, digest: str) -> None:
        """Remove a manifest with its tags, and the blobs that no other manifest of the repository names."""
        key = (place.key, digest)
        with self._lock:
            with self._db.transaction():
                rows = self._db.rows("SELECT digest FROM members WHERE place=? AND manifest=?", key)
                self._db.execute("DELETE FROM tags WHERE place=? AND digest=?", key)
                self._db.execute("DELETE FROM members WHERE place=? AND manifest=?", key)
                self._db.execute("DELETE FROM manifests WHERE place=? AND digest=?", key)
                left = [one for row in rows if not self._is_named(place, one := str(row["digest"]))]
                self._drop_blobs((place.key, one) for one in left)
            self._remove_files(left)

    def forget(self, place: Place) -> None:
        """Remove everything of a repository."""
        key = (place.key,)
        with self._lock:
            left = [str(row["digest"]) for row in self._db.rows("SELECT digest FROM blobs WHERE place=?", key)]
            with self._db.transaction():
                self._db.execute("DELETE FROM tags WHERE place=?", key)
                self._db.execute("DELETE FROM members WHERE place=?", key)
                self._db.execute("DELETE FROM manifests WHERE place=?", key)
                self._db.execute("DELETE FROM blobs WHERE place=?", key)
            self._remove_files(left)

    def _drop_blobs(self, keys: Iterable[tuple[str, str]]) -> None:
        self._db.many("DELETE FROM blobs WHERE place=? AND digest=?", keys)

    def _remove_files(self, digests: Iterable[str]) -> None:
        for digest in digests:
            if self._db.row("SELECT 1 FROM blobs WHERE digest=? LIMIT 1", (digest,)) is None:
                self.blobs.remove(digest)

    def places(self) -> list[Place]:
        """Return every repository that something is kept of."""
        rows = self._db.rows("SELECT place FROM blobs UNION SELECT place FROM manifests")
        return [Place.of_key(str(row["place"])) for row in rows]

    def sweep(self, *, files: bool = False) -> None:
        """Remove unfinished uploads, and blobs that no manifest names, after a day.

        Looks at most once an hour. ``files``: also files that no row names; only before anything is pushed.
        """
        now = time.time()
        if not files and now - self._swept < _SWEEP_SECONDS:
            return
        self._swept = now
        self.blobs.sweep_uploads()
        query = (
            "SELECT place, digest FROM blobs WHERE added<? AND NOT EXISTS"
            " (SELECT 1 FROM members WHERE place=blobs.place AND digest=blobs.digest)"
        )
        with self._lock:
            rows = self._db.rows(query, (now - KEPT_SECONDS,))
            self._drop_blobs((row["place"], row["digest"]) for row in rows)
            self._remove_files(str(row["digest"]) for row in rows)
            if files:
                self.blobs.sweep({str(row["digest"]) for row in self._db.rows("SELECT DISTINCT digest FROM blobs")})

    # -- settings, and what else is known by a name

    def setting(self, account: str, region: str, name: str) -> str | None:
        """Return a setting of a registry, or None."""
        return self.fact(f"setting:{account}/{region}/{name}")

    def set(self, account: str, region: str, name: str, value: str) -> None:
        """Keep a setting of a registry."""
        self.note(f"setting:{account}/{region}/{name}", value)

    def secret(self) -> bytes:
        """Return what tokens and addresses are signed with, made at the first use."""
        with self._lock:
            if (found := self.fact("secret")) is None:
                self.note("secret", found := secrets.token_hex(32))
            return bytes.fromhex(found)

    def fact(self, name: str) -> str | None:
        """Return what was noted under a name, or None."""
        row = self._db.row("SELECT value FROM facts WHERE name=?", (name,))
        return str(row["value"]) if row else None

    def note(self, name: str, value: str) -> None:
        """Note something under a name."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))


def _manifest(row: Any) -> Manifest:
    place = Place.of_key(row["place"])
    return Manifest(place, row["digest"], row["media_type"], bytes(row["body"]), row["pushed"], row["pulled"])


def sizes(store: Store, manifest: Manifest) -> int:
    """Return the bytes of an image: its layers and configuration; of a list those of its largest image."""
    if manifest.is_list:
        listed: Sequence[Mapping[str, Any]] = manifest.document.get("manifests") or ()
        found = [store.find(manifest.place, str(one.get("digest"))) for one in listed]
        return max((sizes(store, one) for one in found if one is not None), default=0)
    document = manifest.document
    return sum(int(one.get("size", 0)) for one in (document.get("config") or {}, *(document.get("layers") or ())))
