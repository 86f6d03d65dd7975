"""From requirements to a lock: resolved once, remembered by everything that decides it, its wheels chosen."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clary.code import snapshot
from clary.errors import ClaryError
from clary.files import write_whole
from clary.images.building import Progress, Python, Wheel
from clary.images.packages import (
    digests,
    documents,
    indexes,
    local_projects,
    pylocks,
    requirement_files,
    resolving,
    store,
)
from clary.images.packages.connections import Connections
from clary.images.packages.fetching import Fetcher
from clary.images.packages.secrecy import scrubbed
from clary.images.packages.source_builds import Workshop
from clary.images.packages.sources import OWN, Kind, Source

if TYPE_CHECKING:
    from clary.images.packages.pylocks import Raw

_FORM = 2
"""Grows when the same source gives another lock."""
_UNDECIDING = (
    "_USERNAME", "_PASSWORD", "_TIMEOUT", "_RETRIES", "_CACHE", "UV_CACHE_DIR", "UV_KEYRING_PROVIDER", "UV_LINK_MODE",
    "UV_NO_PROGRESS", "UV_OFFLINE", "UV_PYTHON_DOWNLOADS", "UV_PYTHON_INSTALL_DIR", "UV_TOOL_DIR", "UV_TOOL_BIN_DIR",
    "UV_SYSTEM_CERTS", "UV_NATIVE_TLS", "UV_INSECURE_HOST", "UV_PREVIEW",
)  # fmt: skip
"""Ends of names of uv's variables that do not decide what is resolved."""
_FILES = ("UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE")
"""Those that name files, whose content decides."""
_METADATA = ("pyproject.toml", "setup.py", "setup.cfg")
"""Where a project's own package says what it needs, for requirements such as ``-e .``."""


@dataclass(frozen=True)
class Lock:
    """What an image gets installed."""

    text: bytes
    """Our own pylock.toml for one target: the same bytes for the same packages. Empty when there are none."""
    wheels: tuple[Wheel, ...] = ()
    """What it names. Those without a URL lie in the wheel store."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it came about."""


def lock(
    source: Source,
    python: Python,
    *,
    torch: str | None,
    cache: Path,
    environment: Mapping[str, str],
    progress: Progress,
    upgrade: bool = False,
    compiler: bool = False,
    provided: tuple[str, ...] = (),
) -> Lock:
    """Return the lock of a source for a base's Python, as it was remembered or resolved now.

    Args:
        source: what is required (``sources.read``).
        python: of the base; it need not be on this machine.
        torch: uv's ``--torch-backend``.
        cache: Clary's folder for images: locks, wheels and what was built are kept below it.
        environment: uv's, with its indexes, proxies and logins.
        progress: is told when this takes long.
        upgrade: resolve anew, though nothing has changed here.
        compiler: whether the builder compiles: then packages that come as source stay in the lock as they are.
        provided: packages that the base brings: they are left out, and what only they need.

    Raises ConfigError, NotFoundError and PermissionDeniedError with codes ``image.…``; each names a next step.
    """
    record = cache / "locks" / f"{_key(source, python, torch, compiler, environment, provided)}.json"
    known = None if upgrade else _remembered(record, source, cache)
    if known is not None:
        return known
    progress.stage(f"resolving {source}")
    made, inputs = _Resolution(source, python, torch, cache, environment, progress, compiler, provided).run(upgrade)
    _remember(record, made, inputs)
    return made


class _Resolution:
    """One resolution, from uv's answer to our lock."""

    def __init__(
        self,
        source: Source,
        python: Python,
        torch: str | None,
        cache: Path,
        environment: Mapping[str, str],
        progress: Progress,
        compiler: bool,
        provided: tuple[str, ...],
    ) -> None:
        self._source = source
        self._python = python
        self._torch = torch
        self._cache = cache
        self._environment = environment
        self._progress = progress
        self._compiler = compiler
        self._provided = provided
        self._inputs: dict[str, str] = {}

    def run(self, upgrade: bool) -> tuple[Lock, dict[str, str]]:
        """Return the lock, and the digests of local folders and files that it was made from, by path."""
        self._check_python()
        resolved = resolving.resolve(
            self._source,
            self._python,
            torch=self._torch,
            environment=self._environment,
            upgrade=upgrade,
            provided=self._provided,
        )
        name = str(self._source)
        chosen = pylocks.choose(
            pylocks.parse(resolved.text, name),
            self._python,
            name,
            extras=self._source.extras if self._source.kind is Kind.PYLOCK else (),
            groups=self._source.groups if self._source.kind is Kind.PYLOCK else (),
        )
        if self._source.kind is Kind.REQUIREMENTS:
            others = (one for one in chosen if isinstance(one, Wheel) or not self._is_own(one, resolved.folder))
            digests.check(self._source, others, self._python)
        if self._source.kind is Kind.PYPROJECT:
            self._note_deciding_files(self._source.folder)
        wheels, raw = self._made(chosen, resolved.folder)
        notes = resolved.notes + self._notes()
        text = pylocks.render(wheels, raw, self._python) if wheels or raw else b""
        return Lock(text, tuple(wheels), notes), self._inputs

    def _check_python(self) -> None:
        if self._source.kind is Kind.PYPROJECT:
            assert self._source.file is not None
            required = documents.table(documents.toml(self._source.file), "project").get("requires-python")
            resolving.check_python(required, self._python, str(self._source))

    def _made(self, chosen: list[Wheel | Raw], folder: Path) -> tuple[list[Wheel], list[Raw]]:
        """Return the wheels, those of sources built, and the sources that the builder builds."""
        credentials = indexes.Credentials(indexes.named(self._source, self._environment), self._environment)
        connections = Connections(credentials, self._environment, 1)
        fetcher = Fetcher(store.wheel_store(self._cache), connections, self._progress)
        workshop = Workshop(self._cache, folder, fetcher, self._environment, self._progress)
        wheels, left = [], []
        for one in chosen:
            if isinstance(one, Wheel):
                wheels.append(self._wheel(one, folder))
            elif self._compiler and one.kind != "directory" and _local(one.place, folder) is None:
                left.append(_without_login(one))
            elif self._is_own(one, folder):
                self._note_deciding_files(self._source.project)
            else:
                wheels.append(workshop.wheel(one))
                if one.kind == "directory":
                    place, digest = workshop.directory_digest(one)
                    self._note_input(place, digest)
        return wheels, left

    def _note_deciding_files(self, project: Path) -> None:
        """Note what a project's backend reads to tell its requirements: the project's code is not noted otherwise."""
        for path in local_projects.deciding_files(project):
            self._note_input(path, _digest(path, self._cache))

    def _is_own(self, raw: Raw, folder: Path) -> bool:
        """Tell whether a local folder is the project: its code travels, so its package is not installed."""
        return raw.kind == "directory" and (folder / raw.place).resolve() == self._source.project.resolve()

    def _wheel(self, wheel: Wheel, folder: Path) -> Wheel:
        """Return a wheel as our lock names it: by a URL without a login, or in the wheel store."""
        assert wheel.url is not None
        local = _local(wheel.url, folder)
        if local is None:
            return Wheel(
                wheel.name, wheel.version, wheel.filename, wheel.sha256, wheel.size, indexes.split_login(wheel.url)[0]
            )
        try:
            sha256, size, path = store.take_in(store.wheel_store(self._cache), local)
        except FileNotFoundError:
            raise pylocks.bad_lock(str(self._source), f"{wheel.filename} is not where it says") from None
        if sha256 != wheel.sha256:
            raise pylocks.bad_lock(str(self._source), f"{wheel.filename} has the sha256 {sha256}, not {wheel.sha256}")
        self._note_input(local, sha256)
        return Wheel(wheel.name, wheel.version, wheel.filename, sha256, size, path=path)

    def _note_input(self, path: Path, digest: str) -> None:
        """Note what the lock was made from; relative, for a copy of the project is another place with the same key."""
        self._inputs[os.path.relpath(path, self._source.folder)] = digest

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self._source.mentions_own():
            notes.append(f"{OWN} is left out of the image: jobs get it beside their code, as it is here.")
        if self._provided:
            notes.append(f"Packages that come with the base are not installed again: {', '.join(self._provided)}.")
        return tuple(notes)


def _local(place: str, folder: Path) -> Path | None:
    """Return the file of this machine that a wheel's place in a lock is; None for one that is fetched."""
    from urllib.parse import unquote, urlsplit

    if "://" not in place:
        return folder / unquote(place)
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _without_login(raw: Raw) -> Raw:
    place, login = indexes.split_login(raw.place)
    user = f"{login[0]}@" if login and place.startswith("ssh://") else ""
    return replace(raw, place=place.replace("://", f"://{user}", 1))


def _key(
    source: Source,
    python: Python,
    torch: str | None,
    compiler: bool,
    environment: Mapping[str, str],
    provided: tuple[str, ...],
) -> str:
    """Return a digest of everything that decides a lock, but what is on other machines."""
    decides = hashlib.sha256()
    said: dict[str, Any] = {
        "form": _FORM,
        "uv": importlib.metadata.version("uv"),
        "python": [python.version, python.libc, python.libc_version, str(python.platform)],
        "source": [source.kind, source.listed, source.extras, source.groups, str(source)],
        "options": [torch, compiler, *provided],
        "environment": _deciding(environment),
    }
    decides.update(json.dumps(said, sort_keys=True).encode())
    for file in _deciding_files(source, environment):
        try:
            data = file.read_bytes()
        except OSError:
            continue
        decides.update(f"\0{file.name}\0{len(data)}\0".encode() + data)
    return decides.hexdigest()


def _deciding(environment: Mapping[str, str]) -> list[str]:
    return sorted(
        f"{name}={scrubbed(value)}"
        for name, value in environment.items()
        if name.startswith("UV_") and not name.endswith(_UNDECIDING)
    )


def _deciding_files(source: Source, environment: Mapping[str, str]) -> Iterator[Path]:
    if source.kind is Kind.REQUIREMENTS and source.file is not None:
        yield from requirement_files.read(source.file).files
    elif source.file is not None:
        yield source.file
    yield from (source.project / name for name in _METADATA)
    yield from indexes.settings_files(source.folder, environment)
    for variable in _FILES:
        yield from (Path(one) for one in environment.get(variable, "").split())


def _remembered(record: Path, source: Source, cache: Path) -> Lock | None:
    """Return a lock that was made before, if what it was made from on this machine is as it was."""
    try:
        kept = json.loads(record.read_bytes())
        wheels = tuple(_wheel(store.wheel_store(cache), row) for row in kept["wheels"])
        same = all(_digest(source.folder / path, cache) == digest for path, digest in kept["inputs"].items())
    except (OSError, ValueError, KeyError, TypeError, ClaryError):
        return None
    if not same or any(wheel.url is None and wheel.path is None for wheel in wheels):
        return None
    return Lock(kept["text"].encode(), wheels, tuple(kept["notes"]))


def _wheel(kept: Path, row: list[Any]) -> Wheel:
    wheel = Wheel(*row)
    return wheel if wheel.url is not None else replace(wheel, path=store.kept(kept, wheel))


def _digest(path: Path, cache: Path) -> str:
    return snapshot.take(path, cache / "trees").digest if path.is_dir() else store.digest(path)


def _remember(record: Path, made: Lock, inputs: Mapping[str, str]) -> None:
    rows = [[one.name, one.version, one.filename, one.sha256, one.size, one.url] for one in made.wheels]
    kept = {"text": made.text.decode(), "wheels": rows, "notes": made.notes, "inputs": inputs}
    record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with store.disk_errors():
        write_whole(record, json.dumps(kept))
