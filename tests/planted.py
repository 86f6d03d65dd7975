"""Planted secrets, and a search for them through all that was kept: files, databases, archives."""

from __future__ import annotations

import base64
import gzip
import io
import sqlite3
import tarfile
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

CANARY = f"canary-{uuid.uuid4().hex}"
"""The value of a secret that every run of the end-to-end lab is given, and that nothing may keep."""
KEEPERS = ("secretsmanager", "ssm")
"""The sandbox's services whose business it is to hold the value."""
_JOURNALS = ("aws.db-wal", "aws.db-shm")
"""Hold the keepers' rows too; what else they hold is read through the database."""


def forms(secret: str) -> list[bytes]:
    """Return how a value may lie in a file: as it is, in hex, in base 64 at any offset, and as URLs have it."""
    raw = secret.encode()
    found = [raw, raw.hex().encode(), quote(secret, safe="").encode(), secret.encode("utf-16-le")]
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw)
        start, end = -(-before * 4 // 3) + (before > 0), len(text) - 4
        found += [text[start:end], base64.urlsafe_b64encode(b"\0" * before + raw)[start:end]]
    return found


def traces(folder: Path, secret: str) -> list[str]:
    """Return the files below a folder that hold the value, whatever they are packed in."""
    wanted = forms(secret)
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.name.startswith(_JOURNALS):
            continue
        for where, data in _contents(path):
            if any(form in data for form in wanted):
                found.append(where)
    return found


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # a running sandbox tidies up
        return
    if data.startswith(b"SQLite format 3\0"):
        data = _rows(path)
    yield str(path), data
    if data.startswith(b"\x1f\x8b"):
        yield from _unpacked(str(path), data)


def _unpacked(where: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        inner = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return
    yield f"{where} (unpacked)", inner
    try:
        with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
            for member in archive:
                opened = archive.extractfile(member) if member.isfile() else None
                if opened is not None:
                    yield f"{where}: {member.name}", opened.read()
    except tarfile.TarError:
        return


def _rows(path: Path) -> bytes:
    """Return every row of a database (its write-ahead log included), without those of the keepers of secrets."""
    kept = io.BytesIO()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [column[1] for column in database.execute(f'PRAGMA table_info("{table}")')]
            for row in database.execute(f'SELECT * FROM "{table}"'):
                if "service" in columns and row[columns.index("service")] in KEEPERS:
                    continue
                for cell in row:
                    kept.write(cell if isinstance(cell, bytes) else str(cell).encode("utf-8", "surrogatepass"))
                    kept.write(b"\n")
    return kept.getvalue()
