"""Where a wheel's files go in an environment, and what is written beside them. Pure: nothing is read or unpacked here.

Sources: "Binary distribution format", "Recording installed projects" and "Entry points" at packaging.python.org; the
places are those of pip in a virtual environment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from clary.errors import ConfigError
from clary.images.wheels.metadata import encoded, scripts_folder
from clary.images.wheels.names import folders_of
from clary.images.wheels.problems import Problem

if TYPE_CHECKING:
    from clary.images.layers.venv import Venv
    from clary.images.wheels.archive import Entry
    from clary.images.wheels.metadata import Metadata

INSTALLER = b"clary\n"
_REPLACED = ("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json")
"""Files of the metadata that whoever installs writes, or leaves out."""
_SETTINGS = "pyvenv.cfg"


class Placed(NamedTuple):
    """A file at its place in the environment."""

    path: str
    """Relative to the environment's prefix."""
    digest: str
    """Of its content, as RECORD has it: ``sha256=…``. RECORD itself has one too, for comparisons."""
    size: int
    executable: bool
    source: Entry | bytes
    """The file in the wheel, or what was made for it."""


def place(
    metadata: Metadata, entries: Iterable[Entry], python_scripts: Mapping[str, bytes], venv: Venv
) -> tuple[Placed, ...]:
    """Return the files that a wheel brings, and those that are made for it, in the order of their paths.

    Args:
        metadata: what the wheel says of itself.
        entries: its files.
        python_scripts: the content of its scripts that begin with ``#!python``, by name.
        venv: the environment.

    Raises Problem where two files would go to one place, or one to a place of the environment's own.
    """
    placed: dict[str, Placed] = {}
    for one in _files(metadata, entries, python_scripts, venv):
        _check_place(one, venv)
        before = placed.setdefault(one.path, one)
        if before.digest != one.digest:
            raise Problem("another of its files goes to the same place", one.path)
    record = _made(f"{venv.site_packages}/{metadata.info}/RECORD", _record(placed.values(), metadata, venv))
    placed[record.path] = record
    for path in sorted(placed.keys() & folders_of(placed)):
        raise Problem("another of its files needs a folder in the same place", path)
    return tuple(placed[path] for path in sorted(placed))


def check_together(brought: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Raise ConfigError ``image.wheels_clash`` where packages bring different files for one place.

    ``brought`` are the packages' titles, each with its files' digests by path.
    """
    owners: dict[str, tuple[str, str]] = {}
    folders: dict[str, str] = {}
    for title, files in brought:
        for path, digest in files.items():
            owner, known = owners.setdefault(path, (title, digest))
            if known != digest:
                raise _clash(path, owner, title)
        folders.update((folder, title) for folder in folders_of(files) if folder not in folders)
    for path in sorted(owners.keys() & folders.keys()):
        raise _clash(path, owners[path][0], folders[path])


def _files(
    metadata: Metadata, entries: Iterable[Entry], python_scripts: Mapping[str, bytes], venv: Venv
) -> Iterator[Placed]:
    left_out = {f"{metadata.info}/{name}" for name in _REPLACED}
    programs = scripts_folder(metadata)
    for entry in entries:
        if entry.name in left_out or "__pycache__" in entry.name.split("/")[:-1]:
            continue  # compiled modules hold times, and could hold anything: Python makes them anew
        path = _path(entry.name, metadata, venv)
        script = python_scripts.get(entry.name)
        if script is not None:
            yield _made(path, _with_interpreter(script, venv.executable), executable=True)
        else:
            executable = entry.executable or entry.name.startswith(programs)
            yield Placed(path, metadata.digest(entry.name), entry.size, executable, entry)
    yield _made(f"{venv.site_packages}/{metadata.info}/INSTALLER", INSTALLER)
    for program in metadata.scripts:
        name, text = program.generate(venv.executable, "posix")
        yield _made(f"bin/{name}", text, executable=True)


def _path(name: str, metadata: Metadata, venv: Venv) -> str:
    folder, _, rest = name.partition("/")
    if folder != metadata.data or not rest:
        return f"{venv.site_packages}/{name}"
    scheme, _, inner = rest.partition("/")
    place = {
        "purelib": f"{venv.site_packages}/",
        "platlib": f"{venv.site_packages}/",
        "scripts": "bin/",
        "headers": f"include/site/python{venv.python.version}/{metadata.name}/",
        "data": "",
    }.get(scheme)
    if place is None or not inner:
        raise Problem("it is in no folder that wheels may have there", name)
    path = place + inner
    return path.replace("lib64/", "lib/", 1) if path.startswith("lib64/") else path  # a link to lib


def _check_place(one: Placed, venv: Venv) -> None:
    taken = (*venv.links, _SETTINGS)
    if one.path in ("bin", "lib", *taken) or one.path.startswith(tuple(f"{path}/" for path in taken)):
        raise Problem("its place is one of the environment's own", one.path)


def _with_interpreter(script: bytes, executable: str) -> bytes:
    """Replace the first line, as pip does: arguments in it are dropped."""
    return f"#!{executable}\n".encode() + script.partition(b"\n")[2]


def _made(path: str, content: bytes, *, executable: bool = False) -> Placed:
    return Placed(path, f"sha256={encoded(hashlib.sha256(content).digest())}", len(content), executable, content)


def _record(files: Iterable[Placed], metadata: Metadata, venv: Venv) -> bytes:
    from installer.records import Hash, RecordEntry
    from installer.utils import Scheme, construct_record_file

    lib = Scheme("purelib")
    rows = [(lib, RecordEntry(_from_site(one.path, venv), Hash.parse(one.digest), one.size)) for one in files]
    rows.append((lib, RecordEntry(f"{metadata.info}/RECORD", None, None)))
    with construct_record_file(rows) as text:
        return text.read()


def _from_site(path: str, venv: Venv) -> str:
    """Return a path as RECORD has it: relative to where the modules are."""
    site = f"{venv.site_packages}/"
    up = "../" * site.count("/")
    return path[len(site) :] if path.startswith(site) else f"{up}{path}"


def _clash(path: str, one: str, other: str) -> ConfigError:
    return ConfigError(
        "image.wheels_clash",
        f"{one} and {other} bring different files for the same place, {path}.",
        next_step="Leave out one of the two packages, or choose versions that get along; with the builder docker "
        "the one that is installed last would win.",
        field="image.requirements",
        details={"path": path, "packages": [one, other]},
    )
