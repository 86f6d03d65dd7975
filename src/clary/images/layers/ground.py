"""What a base has where files are put: folders with their owners and modes, links, files; its layers are read once.

An engine unpacks a layer by itself and lays it over the others: a folder that the layer names, or that lies above one
of its files, takes the place of the base's. So such a folder is written as the base has it, and links are followed.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clary.files import write_whole
from clary.images import places
from clary.images.added import check_apart, clash
from clary.images.base_layers import GONE, LARGEST, OPAQUE, follow, look_through
from clary.images.chunks import ChunkFile
from clary.images.layers.assembling import USUAL, Folder
from clary.images.wheels.names import folders_of

if TYPE_CHECKING:
    from clary.images.added import AddedFile
    from clary.images.base_images import BaseImage
    from clary.images.building import Progress
    from clary.images.registry.registries import Registries


@dataclass(frozen=True)
class Ground:
    """What is there before files are put. Paths are relative to the image's top."""

    folders: Mapping[str, Folder] = field(default_factory=lambda: USUAL)
    links: Mapping[str, str] = field(default_factory=dict)
    """Where symbolic links lead, as they say it."""
    files: frozenset[str] = frozenset()

    def laid(self, files: Sequence[AddedFile]) -> list[AddedFile]:
        """Return files at the places where they come to lie: through the links of the folders above them.

        A link at the very place of a file is replaced by it. Raises ConfigError ``image.bad_place`` for a file where a
        folder is, ``image.copy_clash`` for one below a file, and for two that come to one place.
        """
        found = [replace(file, path=self._place(file)) for file in files]
        check_apart([file.path for file in found])
        return found

    def digest(self, files: Sequence[AddedFile]) -> str:
        """Return the digest of what decides a layer of files that are laid, beside them, in hex."""
        paths = [file.path[1:] for file in files]
        above = [(path, *self.folders[path]) for path in sorted(folders_of(paths)) if path in self.folders]
        return hashlib.sha256(json.dumps([paths, above]).encode()).hexdigest()

    def _place(self, file: AddedFile) -> str:
        folder, _, name = file.path[1:].rpartition("/")
        path = posixpath.join(self._led(folder), name)
        if path in self.folders or (path in self.links and self._led(path) in self.folders):
            raise places.is_folder(file.path)
        for above in folders_of([path]):
            if above in self.files:
                raise clash(file.path, f"/{above} is a file of the base")
        if told := places.problem(f"/{path}"):
            raise places.refused(file.path, f"it leads to /{path}, and {told}")
        return f"/{path}"

    def _led(self, path: str) -> str:
        """Return where a path leads, every link in it followed."""
        found = follow(f"/{path}", lambda one: self.links.get(one[1:]))
        if found is None:
            raise places.refused(f"/{path}", "the base's links there lead round in a circle")
        return found[1:]


def under(
    files: Sequence[AddedFile], base: BaseImage, registries: Registries, kept: Path, progress: Progress
) -> Ground:
    """Return what a base has where files are put.

    Args:
        files: what is put.
        base: whose layers are read, once for each digest.
        registries: where it is.
        kept: the folder where findings are kept.
        progress: is told when layers are read.

    Raises ConfigError ``image.bad_layer``, ``image.layer_type``, and what the registry raises.
    """
    if not files or base.manifest.size > LARGEST:
        return Ground()
    file = kept / f"{base.manifest.digest.removeprefix('sha256:')}.ground"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _read(file)
    progress.stage("looking for the folders of the base")
    registry, seen = registries.open(base.reference), _Seen()
    look_through(
        base.manifest,
        lambda layer: registry.read_blob(base.reference.repository, layer.digest, layer.size),
        seen.read,
    )
    kept.mkdir(parents=True, exist_ok=True)
    found = seen.ground()
    form = {"folders": found.folders, "links": found.links, "files": sorted(found.files)}
    write_whole(file, json.dumps(form))
    return found


def _read(file: Path) -> Ground:
    form = json.loads(file.read_bytes())
    folders = {str(path): Folder(*map(int, row)) for path, row in form["folders"].items()}
    return Ground(folders, dict(form["links"]), frozenset(form["files"]))


class _Seen:
    """What the layers read so far hold, the later ones over the earlier."""

    def __init__(self) -> None:
        self._found: dict[str, Folder | str | None] = {}
        """By path: a folder, where a link leads, or None for a file."""

    def read(self, chunks: Iterable[bytes]) -> None:
        """Look through one layer: the chunks of a tar compressed by gzip. Raises tarfile.TarError, OSError."""
        own: dict[str, Folder | str | None] = {}
        with tarfile.open(fileobj=ChunkFile(chunks), mode="r|gz") as archive:
            for member in archive:
                path = posixpath.normpath(f"/{member.name}").lstrip("/")
                folder, _, name = path.rpartition("/")
                if name == OPAQUE:
                    self._drop(folder)
                elif name.startswith(GONE):
                    gone = posixpath.join(folder, name.removeprefix(GONE))
                    self._drop(gone)
                    self._found.pop(gone, None)
                elif member.isdir():
                    own[path] = Folder(member.mode & 0o7777, member.uid, member.gid)
                else:
                    own[path] = member.linkname if member.issym() else None
        for path, kind in own.items():
            if not isinstance(kind, Folder) and isinstance(self._found.get(path), Folder):
                self._drop(path)
        implied = dict.fromkeys(folders_of(own) - self._found.keys(), Folder(0o755))
        self._found |= {**implied, **own}

    def ground(self) -> Ground:
        """Return what the layers come to."""
        return Ground(
            {path: kind for path, kind in self._found.items() if isinstance(kind, Folder)},
            {path: kind for path, kind in self._found.items() if isinstance(kind, str)},
            frozenset(path for path, kind in self._found.items() if kind is None),
        )

    def _drop(self, folder: str) -> None:
        """Forget what lies in a folder."""
        if not isinstance(self._found.get(folder), Folder) and folder:
            return
        top = f"{folder}/" if folder else ""
        for path in [path for path in self._found if path.startswith(top)]:
            del self._found[path]
