"""A kept value as files that other programs read, without running any of its code or needing its libraries."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from clary.artifacts import files
from clary.artifacts.codecs import named
from clary.artifacts.content import disk_watched
from clary.artifacts.plain import from_plain, names_classes
from clary.artifacts.storing import Source
from clary.artifacts.values import PARTS, PLAIN, untrusted
from clary.errors import UsageError

if TYPE_CHECKING:
    from clary.objects import ObjectStore

_INDEX = "value.json"


class Export:
    """One value on its way out."""

    def __init__(self, encoded: dict[str, Any], store: ObjectStore, *, name: str, trust: bool) -> None:
        """Raises SerializationError (``value.untrusted``) for what only a reader who trusts its writer should have."""
        self._encoded, self._store = encoded, store
        self._source = Source(encoded, store)
        self._name = name.replace("/", "-").replace("#", "-").lstrip(".") or "value"
        self.needs_trust = _needs_trust(encoded)
        if self.needs_trust and not trust:
            raise untrusted(encoded)

    @property
    def is_folder(self) -> bool:
        """Whether it is written as a folder: one that was kept, or a container with parts."""
        return self._encoded["c"] in ("folder", PARTS)

    @property
    def is_text(self) -> bool:
        """Whether it can be shown on a terminal."""
        return self._encoded["c"] in (PLAIN, "text")

    @property
    def total(self) -> int:
        """Bytes, with those of all parts."""
        if "v" in self._encoded:
            return len(json.dumps(self._encoded["v"], separators=(",", ":")))
        return self._source.size + int(self._encoded.get("m", {}).get("bytes", 0))

    @property
    def file_name(self) -> str:
        """A name for the file or folder."""
        codec = self._encoded["c"]
        if codec in ("file", "folder"):
            return str(self._encoded["m"]["name"])
        ending = {PLAIN: ".json", PARTS: ""}.get(codec)
        return self._name + (named(codec).ending if ending is None else ending)

    def plain(self) -> Any:
        """Return the value's JSON form; types that JSON lacks are tagged. Only for plain values."""
        return self._encoded["v"] if "v" in self._encoded else json.loads(self._source.all())

    def to_stream(self, file: IO[bytes]) -> None:
        """Write the bytes of a value that is no folder."""
        if self._encoded["c"] == PLAIN:
            file.write(_readable(self.plain()))
            return
        for chunk in self._source.chunks():
            file.write(chunk)

    def to_path(self, target: Path) -> Path:
        """Write the file or folder; into ``target`` where that is a folder. Returns where it is.

        Raises UsageError (``artifact.file_exists``), and nothing is overwritten; ``artifact.bad_file`` for a place that
        cannot be written to.
        """
        target = target / self.file_name if target.is_dir() else target
        if target.exists():
            raise UsageError(
                "artifact.file_exists",
                f"{target} exists already.",
                next_step="Name another file with -f, or remove that one.",
                field="file",
            )
        try:
            with disk_watched(str(target.parent)):
                self._write(target)
        except OSError as error:
            raise UsageError(
                "artifact.bad_file",
                f"{target} cannot be written: {error.strerror or error}.",
                next_step="Name another place with -f.",
                field="file",
            ) from error
        return target

    def _write(self, target: Path) -> None:
        codec = self._encoded["c"]
        if codec == PLAIN:
            target.write_bytes(_readable(self.plain()))
        elif not self.is_folder:
            self._source.save(target)
            if codec == "file":
                target.chmod(int(self._encoded["m"]["mode"]) & 0o777)
        else:
            try:
                files.unpack(self._source, self._encoded["m"], target) if codec == "folder" else self._unpack(target)
            except BaseException:
                shutil.rmtree(target, ignore_errors=True)
                raise

    def _unpack(self, target: Path) -> None:
        """Write a container: its form, and beside it a file for each part."""
        body = json.loads(self._source.all())
        target.mkdir()
        written = []
        for number, part in enumerate(body["parts"]):
            export = Export(part, self._store, name=f"part-{number}", trust=True)
            written.append(export.to_path(target / f"part-{number}{Path(export.file_name).suffix}").name)
        if "opaque" in body:
            written.append(Export(body["opaque"], self._store, name="pickled", trust=True).to_path(target).name)
        index = {"value": body["v"], "parts": written}
        (target / _INDEX).write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _needs_trust(encoded: dict[str, Any]) -> bool:
    if encoded["c"] in (PLAIN, PARTS):
        return bool(encoded.get("m", {}).get("opaque"))
    return named(encoded["c"]).runs_code


def _readable(plain: Any) -> bytes:
    """Return a text or bytes as they are, all else as JSON."""
    if isinstance(plain, dict) and len(plain) == 1 and next(iter(plain)) in ("~bytes", "~bytearray", "~str", "~path"):
        value = from_plain(plain) if not names_classes(json.dumps(plain)) else plain
        return bytes(value) if isinstance(value, (bytes, bytearray)) else str(value).encode("utf-8", "surrogateescape")
    if isinstance(plain, str):
        return plain.encode()
    return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
